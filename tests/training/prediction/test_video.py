import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from keras_dpn import viz
from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor
from keras_dpn.io import flow as flow_module
from keras_dpn.io.video import ImageSequence, VideoReader
from keras_dpn.models import SpatialTemporalDPN
from keras_dpn.segmenter import Segmenter
from training.prediction import video as predict_video
from training.prediction.video import label_video, label_videos

CLASSES = Classes(("dark", "bright"), ((10, 20, 120), (240, 200, 40)))
TINY = {
    "trunk": "large_fov",
    "width": 0.0625,
    "fc_width": 16,
    "triple_window": 5,
    "context_window": 3,
    "mixtures": 1,
    "pairwise_stride": 4,
}
SIZE = (33, 48)  # an odd height


@pytest.fixture(scope="module")
def segmenter():
    """Bright pixels are of class 1."""
    inputs = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(2, 1)(inputs)
    model = keras.Model(inputs, logits)
    kernel = np.array([[[[-1.0, 1.0]] * 3]], "float32") / 3
    model.layers[-1].set_weights([kernel, np.array([127.0, -127.0])])
    return Segmenter(model, CLASSES)


def frame(index, flicker=()):
    """A bright square that moves to the right on dark ground."""
    pixels = np.random.default_rng(0).integers(0, 60, (*SIZE, 3), "uint8")
    pixels[8:20, 4 + 2 * index : 18 + 2 * index] += 150
    if index in flicker:
        pixels[22:30] += 150
    return pixels


def film_of(folder, indices, **options):
    folder.mkdir(parents=True)
    for index in indices:
        Image.fromarray(frame(index, **options)).save(folder / f"{index}.png")
    return folder


def silent():
    return Console(stderr=True, quiet=True)


def square(pixels):
    """Where the square is, (H, W), and the column where it begins."""
    inside = pixels.mean(axis=-1) > 127
    inside[20:] = False  # what flickers
    return inside, np.flatnonzero(inside.any(axis=0))[0]


def exact(first, second):
    """The flow from one of these frames to another."""
    (inside, begin), (_, end) = square(first), square(second)
    return np.where(inside[..., None], (float(end) - float(begin), 0), (0, 0)).astype("float32")


@pytest.fixture(autouse=True)
def exact_flow(monkeypatch):
    monkeypatch.setattr(predict_video, "dis_flow", exact)


def test_the_video_shows_the_film_beside_its_labels(segmenter, tmp_path):
    source = film_of(tmp_path / "film", range(5))
    report = label_video(segmenter, source, tmp_path / "out", "a/film", console=silent())
    path = tmp_path / "out/videos/a/film.mp4"
    assert json.loads(path.with_suffix(".json").read_text()) == report
    assert (report["frames"], report["complete"], report["fps"]) == (5, True, 25)
    shown = list(VideoReader(path))
    assert len(shown) == 5
    labels = (frame(4).mean(axis=-1) > 127).astype("uint8")
    expected = viz.labelled_frame(frame(4), labels, CLASSES.names, CLASSES.colors)
    assert shown[4].shape[:2] == tuple(n + n % 2 for n in expected.shape[:2])
    difference = np.abs(shown[4][: expected.shape[0]] - expected.astype(int)).mean()
    assert difference < 8, "all but what the codec loses"


def test_a_prediction_that_moves_with_the_film_is_consistent(segmenter, tmp_path):
    scores = []
    for name, flicker in (("still", ()), ("flicker", (2,))):
        source = film_of(tmp_path / name, range(5), flicker=flicker)
        report = label_video(segmenter, source, tmp_path, name, console=silent(), frames=True)
        scores.append(report["temporal_consistency"]["miou"])
    assert scores[0] == 1
    assert scores[1] < 0.9


def test_frames_are_numbered_as_in_the_film(segmenter, tmp_path, capfd):
    source = film_of(tmp_path / "film", (0, 2, 3))
    (source / "1.png").write_bytes(b"broken")
    out = tmp_path / "out"
    left = label_videos(segmenter, {"film": source}, out, frames=True, overlay=True)
    assert left == [source]
    printed = capfd.readouterr()
    assert "film: 3 frames labelled in" in printed.out
    assert "temporal consistency 100.0% mIoU" in printed.out
    assert "1 frames can't be read and are left out: 1" in printed.err
    assert "25 frames a second assumed" in printed.err
    maps = sorted((out / "labels/film").iterdir())
    assert [path.name for path in maps] == ["000000.png", "000002.png", "000003.png"]
    picture = Image.open(maps[2])
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), frame(3).mean(axis=-1) > 127)
    assert VideoReader(out / "overlays/film.mp4").size == (34, 48)
    assert [path.name for path in (out / "videos").iterdir()] == ["film.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_ctrl_c_leaves_a_playable_file(segmenter, tmp_path, monkeypatch, capfd, error):
    source, out = film_of(tmp_path / "film", range(6)), tmp_path / "out"
    missing = tmp_path / "missing.mp4"

    def interrupted(first, second):
        if (second == frame(3)).all():
            raise error
        return exact(first, second)

    monkeypatch.setattr(predict_video, "dis_flow", interrupted)
    with pytest.raises(error):
        label_videos(segmenter, {"missing": missing, "film": source}, out, overlay=True)
    printed = capfd.readouterr().err
    assert f"film: stopped; 3 frames of it are in {out}" in printed
    assert "missing.mp4: no such file" in printed
    for path in (out / "videos/film.mp4", out / "overlays/film.mp4"):
        assert len(list(VideoReader(path))) == 3
    report = json.loads((out / "videos/film.json").read_text())
    assert (report["frames"], report["complete"]) == (3, False)
    assert not [path for path in out.rglob("*") if "partial" in path.name]


def test_a_truncated_film_is_reported_and_the_rest_written(segmenter, tmp_path, monkeypatch, capfd):
    class Short(ImageSequence):
        def __iter__(self):
            yield from list(super().__iter__())[:2]
            self.index, self.truncated = 1, True

    source = film_of(tmp_path / "film", range(4))
    monkeypatch.setattr(predict_video, "ImageSequence", Short)
    assert label_videos(segmenter, {"film": source}, tmp_path / "out") == [source]
    assert "film: 4 frames announced, 2 found" in capfd.readouterr().err
    assert len(list(VideoReader(tmp_path / "out/videos/film.mp4"))) == 2


def test_a_film_of_one_frame_has_no_consistency(segmenter, tmp_path, capfd):
    source = film_of(tmp_path / "film", [3])
    assert label_videos(segmenter, {"film": source}, tmp_path / "out") == []
    assert "temporal consistency none, of one frame" in capfd.readouterr().out
    report = json.loads((tmp_path / "out/videos/film.json").read_text())
    assert report["temporal_consistency"]["miou"] is None


def test_progress_tells_frames_a_second_and_time_left(segmenter, tmp_path):
    source = film_of(tmp_path / "film", range(4))
    with open(tmp_path / "log", "w") as stream:
        console = Console(file=stream, force_terminal=True, width=100)
        label_video(segmenter, source, tmp_path / "out", "film", console=console)
    text = Path(tmp_path / "log").read_text()
    assert "4/4" in text and "frames/s" in text and "0:00:00" in text


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("linking", ["flow", "static"])
def test_a_spatial_temporal_network_labels_a_film(tmp_path, monkeypatch, linking):
    network = SpatialTemporalDPN(2, linking=linking, **TINY)
    source, asked = film_of(tmp_path / "film", range(4)), []

    def flow(first, second):
        asked.append((int(square(first)[1]), int(square(second)[1])))
        return exact(first, second)

    monkeypatch.setattr(predict_video, "dis_flow", flow)
    segmenter = Segmenter(network, CLASSES)
    report = label_video(
        segmenter, source, tmp_path, "film", console=silent(), frames=True, overlay=True
    )
    assert report["frames"] == 4
    assert len(asked) == len(set(asked)) == 6, "the network and the metric share the flow"
    assert len(list(VideoReader(tmp_path / "overlays/film.mp4"))) == 4
    expected = Predictor(network).video([frame(i) for i in range(4)], exact)
    for i, maps in enumerate(expected):
        labels = Image.open(tmp_path / f"labels/film/{i:06}.png")
        np.testing.assert_array_equal(labels, maps["final"].argmax(axis=-1))


@pytest.mark.usefixtures("eager")
def test_a_network_that_sees_smaller_frames_has_their_flow(tmp_path, monkeypatch):
    network, sizes = SpatialTemporalDPN(2, **TINY), {"network": [], "metric": []}

    def flow_of(who):
        def flow(first, second):
            sizes[who].append(first.shape[:2])
            return np.zeros((*first.shape[:2], 2), "float32")

        return flow

    monkeypatch.setattr(predict_video, "dis_flow", flow_of("metric"))
    monkeypatch.setattr(flow_module, "dis_flow", flow_of("network"))
    source = film_of(tmp_path / "film", range(3))
    segmenter = Segmenter(network, CLASSES, size=22)
    report = label_video(segmenter, source, tmp_path, "film", console=silent(), frames=True)
    assert report["frames"] == 3
    assert sizes == {"network": 4 * [(22, 32)], "metric": 4 * [SIZE]}
    assert Image.open(tmp_path / "labels/film/000002.png").size == SIZE[::-1]
