import itertools
import json
from contextlib import ExitStack
from dataclasses import asdict

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dpn import viz
from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor
from keras_dpn.io import flow as flow_module
from keras_dpn.io.video import ImageSequence, VideoReader, VideoWriter
from keras_dpn.models import SpatialTemporalDPN
from keras_dpn.segmenter import Segmenter
from training.prediction import video as module
from training.prediction.drawn_video import DrawnVideo
from training.prediction.video import predict_video, predict_videos
from training.utils.files import json_bytes

CLASSES = Classes(("dark", "bright"), ((10, 20, 120), (240, 200, 40)))
TINY = {
    "backbone": {"name": "large_fov", "fc_width": 16},
    "width": 0.0625,
    "local_conv": {"window": 5},
    "contexts": {"window": 3, "mixtures": 1},
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


def video_of(folder, indices, **options):
    folder.mkdir(parents=True)
    for index in indices:
        Image.fromarray(frame(index, **options)).save(folder / f"{index}.png")
    return folder


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
    monkeypatch.setattr(module, "dis_flow", exact)


def test_the_video_shows_the_frames_next_to_their_labels(segmenter, tmp_path):
    source = video_of(tmp_path / "clip", range(5))
    report = predict_video(segmenter, source, tmp_path / "out", "a/clip")
    path = tmp_path / "out/videos/a/clip.mp4"
    assert path.with_suffix(".json").read_bytes() == json_bytes(asdict(report))
    assert (report.frames, report.complete, report.fps) == (5, True, 25)
    shown = list(VideoReader(path))
    assert len(shown) == 5
    labels = (frame(4).mean(axis=-1) > 127).astype("uint8")
    expected = viz.labelled_frame(frame(4), labels, CLASSES.names, CLASSES.colors)
    assert shown[4].shape[:2] == tuple(n + n % 2 for n in expected.shape[:2])
    difference = np.abs(shown[4][: expected.shape[0]] - expected.astype(int)).mean()
    assert difference < 8, "all but what the codec loses"


def test_a_prediction_that_moves_with_the_video_is_consistent(segmenter, tmp_path):
    scores = []
    for name, flicker in (("still", ()), ("flicker", (2,))):
        source = video_of(tmp_path / name, range(5), flicker=flicker)
        report = predict_video(segmenter, source, tmp_path, name, save_frames=True)
        scores.append(report.temporal_consistency["miou"])
    assert scores[0] == 1
    assert scores[1] < 0.9


def test_frames_are_numbered_as_in_the_source(segmenter, tmp_path, capsys, messages):
    source = video_of(tmp_path / "clip", (0, 2, 3))
    (source / "1.png").write_bytes(b"broken")
    out = tmp_path / "out"
    incomplete = predict_videos(segmenter, {"clip": source}, out, save_frames=True, overlay=True)
    assert incomplete == [source]
    printed = capsys.readouterr().out
    assert "clip: 3 frames predicted in" in printed
    assert "temporal consistency 100.0% mIoU" in printed
    first, last = messages().splitlines()
    assert "25 frames per second assumed" in first
    assert "1 frame left out, unreadable: 1" in last
    maps = sorted((out / "labels/clip").iterdir())
    assert [path.name for path in maps] == ["000000.png", "000002.png", "000003.png"]
    label_map = Image.open(maps[2])
    assert label_map.mode == "P"
    np.testing.assert_array_equal(np.asarray(label_map), frame(3).mean(axis=-1) > 127)
    assert VideoReader(out / "overlays/clip.mp4").size == (34, 48)
    assert [path.name for path in (out / "videos").iterdir()] == ["clip.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_ctrl_c_leaves_a_playable_file(segmenter, tmp_path, monkeypatch, messages, error):
    source, out = video_of(tmp_path / "clip", range(6)), tmp_path / "out"
    missing = tmp_path / "missing.mp4"

    def interrupted(first, second):
        if (second == frame(3)).all():
            raise error
        return exact(first, second)

    monkeypatch.setattr(module, "dis_flow", interrupted)
    with pytest.raises(error):
        predict_videos(segmenter, {"missing": missing, "clip": source}, out, overlay=True)
    printed = messages()
    assert f"clip: stopped; 3 frames of it are in {out}" in printed
    assert "missing.mp4: no such file" in printed
    for path in (out / "videos/clip.mp4", out / "overlays/clip.mp4"):
        assert len(list(VideoReader(path))) == 3
    report = json.loads((out / "videos/clip.json").read_text())
    assert (report["frames"], report["complete"]) == (3, False)
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_a_truncated_video_is_reported_and_the_rest_written(
    segmenter, tmp_path, monkeypatch, messages
):
    class Short(ImageSequence):
        def __iter__(self):
            yield from itertools.islice(super().__iter__(), 2)
            self.index, self.truncated = 1, True

    source = video_of(tmp_path / "clip", range(4))
    monkeypatch.setattr(module, "ImageSequence", Short)
    assert predict_videos(segmenter, {"clip": source}, tmp_path / "out") == [source]
    assert "clip: 4 frames declared, 2 read" in messages()
    assert len(list(VideoReader(tmp_path / "out/videos/clip.mp4"))) == 2


def test_a_video_of_one_frame_has_no_consistency(segmenter, tmp_path, capsys):
    source = video_of(tmp_path / "clip", [3])
    assert predict_videos(segmenter, {"clip": source}, tmp_path / "out") == []
    assert "temporal consistency none, of one frame" in capsys.readouterr().out
    report = json.loads((tmp_path / "out/videos/clip.json").read_text())
    assert report["temporal_consistency"]["miou"] is None


def test_a_video_too_narrow_for_the_network_stops_nothing(segmenter, tmp_path, messages):
    (strip := tmp_path / "strip").mkdir()
    Image.new("RGB", (20_000, 1)).save(strip / "0.png")
    sources = {"strip": strip, "clip": video_of(tmp_path / "clip", [3])}
    resized = Segmenter(segmenter.predictor.models, CLASSES, size=96)
    assert predict_videos(resized, sources, tmp_path / "out") == [strip]
    assert f"skipped: {strip}: " in messages() and "resized to a shorter side" in messages()
    assert (tmp_path / "out/videos/clip.mp4").exists()


def read_times(path):
    reader, times = VideoReader(path), []
    for _ in reader:
        times.append(reader.time)
    return times


def test_videos_keep_the_times_of_the_source(segmenter, tmp_path):
    times = (0, 0.1, 0.2, 0.9, 1.7)
    with VideoWriter(tmp_path / "pauses.mp4", 10, (32, 48)) as writer:
        for index, time in enumerate(times):
            writer.write(frame(index)[:32], time)
    report = predict_video(segmenter, tmp_path / "pauses.mp4", tmp_path, "clip", overlay=True)
    assert (report.frames, report.complete, report.problems()) == (5, True, [])
    for folder in ("videos", "overlays"):
        assert read_times(tmp_path / folder / "clip.mp4") == pytest.approx(times)


def test_a_frame_that_is_left_out_shifts_no_other(segmenter, tmp_path):
    source = video_of(tmp_path / "clip", (0, 1, 2, 3))
    (source / "1.png").write_bytes(b"broken")
    predict_video(segmenter, source, tmp_path / "out", "clip")
    expected = pytest.approx([0, 0.08, 0.12])
    assert read_times(tmp_path / "out/videos/clip.mp4") == expected


def test_identical_frames_get_a_warning(segmenter, tmp_path, messages):
    source = video_of(tmp_path / "clip", [3])
    (source / "4.png").write_bytes((source / "3.png").read_bytes())
    assert predict_videos(segmenter, {"clip": source}, tmp_path / "out") == []
    assert "clip: its 2 frames are identical; is it the right file?" in messages()
    assert json.loads((tmp_path / "out/videos/clip.json").read_text())["is_static"]


def test_a_drawn_video_without_a_frame_is_no_file(tmp_path):
    with ExitStack() as stack:
        DrawnVideo(stack, tmp_path / "none.mp4", 25)
        video = DrawnVideo(stack, tmp_path / "one.mp4", 25)
        video.write(frame(0))
    assert [path.name for path in tmp_path.iterdir()] == ["one.mp4"]
    assert len(list(VideoReader(tmp_path / "one.mp4"))) == 1


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("linking", ["flow", "static"])
def test_a_spatial_temporal_network_labels_a_video(tmp_path, monkeypatch, linking):
    network = SpatialTemporalDPN(2, linking=linking, **TINY)
    source, requests = video_of(tmp_path / "clip", range(4)), []

    def flow(first, second):
        requests.append((int(square(first)[1]), int(square(second)[1])))
        return exact(first, second)

    monkeypatch.setattr(module, "dis_flow", flow)
    segmenter = Segmenter(network, CLASSES)
    report = predict_video(segmenter, source, tmp_path, "clip", save_frames=True, overlay=True)
    assert report.frames == 4
    assert len(requests) == len(set(requests)) == 6, "the network and the metric share the flow"
    assert len(list(VideoReader(tmp_path / "overlays/clip.mp4"))) == 4
    expected = Predictor(network).video([frame(i) for i in range(4)], exact)
    for i, maps in enumerate(expected):
        labels = Image.open(tmp_path / f"labels/clip/{i:06}.png")
        np.testing.assert_array_equal(labels, maps["final"].argmax(axis=-1))


@pytest.mark.usefixtures("eager")
def test_a_network_that_sees_smaller_frames_has_their_flow(tmp_path, monkeypatch):
    network, sizes = SpatialTemporalDPN(2, **TINY), {"network": [], "metric": []}

    def flow_of(who):
        def flow(first, second):
            sizes[who].append(first.shape[:2])
            return np.zeros((*first.shape[:2], 2), "float32")

        return flow

    monkeypatch.setattr(module, "dis_flow", flow_of("metric"))
    monkeypatch.setattr(flow_module, "dis_flow", flow_of("network"))
    source = video_of(tmp_path / "clip", range(3))
    segmenter = Segmenter(network, CLASSES, size=22)
    report = predict_video(segmenter, source, tmp_path, "clip", save_frames=True)
    assert report.frames == 3
    assert sizes == {"network": 4 * [(22, 32)], "metric": 4 * [SIZE]}
    assert Image.open(tmp_path / "labels/clip/000002.png").size == SIZE[::-1]
