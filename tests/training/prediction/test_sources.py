import functools
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dpn.crf import refine
from keras_dpn.inference import predict_labels, predict_probabilities
from keras_dpn.inference.tiles import side_for_memory
from keras_dpn.io.images import read_image
from keras_dpn.io.video import VideoWriter
from keras_dpn.models import DPN, SpatialTemporalDPN
from keras_dpn.presets.files import Card, write_preset
from keras_dpn.segmenter import Segmenter
from training.cli import run
from training.prediction import sources as script
from training.prediction.sources import find_sources
from training.rundir.models import load_classes, load_model


def save(path, size=(10, 8), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), "uint8")
    Image.fromarray(pixels).save(path)
    return path


def find_images(paths, out):
    return find_sources(paths, out)[0]


def test_find_images_takes_files_folders_and_patterns(tmp_path):
    for name in ("a/one.png", "a/deep/two.JPG", "b/three.png", "b/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    paths = [tmp_path / "a", tmp_path / "b/*.png", tmp_path / "b/three.png"]
    found = find_images(paths, tmp_path / "out")
    assert found == {
        "a/deep/two": tmp_path / "a/deep/two.JPG",
        "a/one": tmp_path / "a/one.png",
        "b/three": tmp_path / "b/three.png",
    }
    assert list(find_images([tmp_path / "**/t*.png"], tmp_path / "out")) == ["three"]
    named = find_images([tmp_path / "b/notes.txt"], tmp_path / "out")
    assert list(named) == ["notes"], "a file that is named is tried, whatever its suffix"


def test_find_images_keeps_equal_stems_apart(tmp_path):
    for name in ("a/x.png", "b/x.png"):
        save(tmp_path / name)
    files = [tmp_path / "a/x.png", tmp_path / "b/x.png"]
    assert list(find_images(files, tmp_path / "out")) == ["a/x", "b/x"]
    save(tmp_path / "a/x.jpg")
    assert list(find_images([tmp_path / "a"], tmp_path / "out")) == ["x.jpg", "x.png"]


def test_find_images_leaves_out_earlier_results(tmp_path):
    save(tmp_path / "x.png")
    save(tmp_path / "labels/x.png")
    save(tmp_path / "holiday/labels/y.png")
    assert list(find_images([tmp_path], tmp_path)) == ["holiday/labels/y", "x"]


def test_find_images_refuses_to_overwrite_an_image(tmp_path):
    path = save(tmp_path / "labels/x.png")
    with pytest.raises(ValueError, match="x.png: the result would overwrite it"):
        find_images([path], tmp_path)


@pytest.mark.parametrize("name", ["missing.png", "empty", "*.tiff"])
def test_find_images_names_what_is_not_there(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture or video found"):
        find_images([tmp_path / name], tmp_path / "out")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_find_sources_tells_videos_from_pictures(tmp_path):
    picture, film = save(tmp_path / "in/a.png"), touch(tmp_path / "in/a.MP4")
    deep = touch(tmp_path / "in/deep/b.webm")
    touch(tmp_path / "in/videos/a.mp4")
    touch(tmp_path / "out/videos/a.mp4")
    pictures, videos = find_sources([tmp_path / "in"], tmp_path / "out")
    assert pictures == {"a": picture}
    assert videos == {"a": film, "deep/b": deep, "videos/a": tmp_path / "in/videos/a.mp4"}
    assert list(find_sources([tmp_path / "**/*.webm"], tmp_path)[1]) == ["b"]
    assert list(find_sources([tmp_path], tmp_path / "in")[1]) == [
        "in/a",
        "in/deep/b",
        "out/videos/a",
    ]


def test_a_folder_can_be_a_video(tmp_path):
    save(tmp_path / "shots.v1/1.png")
    picture, film = save(tmp_path / "a.png"), touch(tmp_path / "b.mp4")
    found = find_sources([tmp_path / "shots.v1", picture, film], tmp_path / "out", as_video=True)
    assert found == ({"a": picture}, {"shots.v1": tmp_path / "shots.v1", "b": film})
    with pytest.raises(ValueError, match="--as-video: expected a folder"):
        find_sources([film], tmp_path / "out", as_video=True)


@pytest.mark.parametrize("kind", ["videos/x.mp4", "overlays/x.mp4"])
def test_a_video_is_not_overwritten(tmp_path, kind):
    with pytest.raises(ValueError, match="x.mp4: the result would overwrite it"):
        find_sources([touch(tmp_path / kind)], tmp_path)
    save(tmp_path / "labels/x/000000.png")
    with pytest.raises(ValueError, match="labels/x: the result would overwrite it"):
        find_sources([tmp_path / "labels/x"], tmp_path, as_video=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probabilities": True}, "--probabilities: only for pictures, and .*x.mp4 is a video"),
        ({"stages": True}, "--stages: only"),
        ({"stages": True, "probabilities": True}, "--stages, --probabilities: only for pictures"),
    ],
)
def test_what_is_for_pictures_alone_is_refused_for_videos(tmp_path, options, message):
    film = touch(tmp_path / "x.mp4")
    with pytest.raises(ValueError, match=message):
        script.main((film,), model=(str(tmp_path),), out=tmp_path / "out", **options)


def test_frames_without_a_video_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--frames: goes with videos"):
        script.main((save(tmp_path / "x.png"),), model=("x",), out=tmp_path, frames=True)


def test_script_labels_pictures_and_videos_and_reports_broken_frames(finished_run, tmp_path, capfd):
    save(tmp_path / "in/x.png", (48, 32))
    for i in range(4):
        save(tmp_path / f"in/film/{i}.png", (48, 32), seed=i)
    with VideoWriter(tmp_path / "in/y.mp4", 10, (32, 48)) as film:
        for i in range(3):
            film.write(np.full((32, 48, 3), 60 * i, "uint8"))
    (tmp_path / "in/film/2.png").write_bytes(b"no picture")
    touch(tmp_path / "in/z.avi")
    paths = [tmp_path / "in" / name for name in ("x.png", "film", "y.mp4", "z.avi")]
    options = ["--work-dir", finished_run, "--out", tmp_path / "out", "--as-video", "--overlay"]
    with pytest.raises(SystemExit) as stopped:
        run(script.main, list(map(str, [*paths, *options])))
    assert stopped.value.code == 2
    out, err = capfd.readouterr()
    assert "1 pictures labelled" in out
    assert re.search(r"film: 3 frames labelled in .* temporal consistency \d+.\d% mIoU", out)
    assert re.search(r"y.mp4: 3 frames labelled in", out)
    assert "film: 1 frames can't be read and are left out: 2" in err
    assert "z.avi: can't be read as a video" in err
    assert "error: 2 of 4 files could not be read in full." in err
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in written) == [
        *("labels/x.png", "overlays/film.mp4", "overlays/x.png", "overlays/y.mp4", "predict.json"),
        *("videos/film.json", "videos/film.mp4", "videos/y.json", "videos/y.mp4"),
    ]


def test_script_writes_everything_and_skips_what_it_cannot_read(finished_run, tmp_path, capfd):
    first = save(tmp_path / "in/a/x.png", (10, 8))
    save(tmp_path / "in/b/x.png", (7, 5), seed=1)
    (tmp_path / "in/a/broken.png").write_bytes(first.read_bytes()[:60])
    out = tmp_path / "out"
    options = ["--stages", "--probabilities", "--overlay", "--scales", "1.0", "1.5", "--mirror"]
    with pytest.raises(SystemExit) as stopped:
        run(
            script.main,
            [str(tmp_path / "in"), "--model", str(finished_run), "--out", str(out), *options],
        )
    assert stopped.value.code == 2
    printed = capfd.readouterr()
    assert "broken.png" in printed.err
    assert "error: 1 of 3 files could not be read in full." in printed.err
    assert "2 pictures labelled" in printed.out
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert written == [
        *("labels/a/x.png", "labels/b/x.png", "overlays/a/x.png", "overlays/b/x.png"),
        *(
            "predict.json",
            "probabilities/a/x.npz",
            "probabilities/b/x.npz",
            "stages/a/x.png",
            "stages/b/x.png",
        ),
    ]
    model, classes = load_model(finished_run), load_classes(finished_run)
    expected = predict_probabilities(model, read_image(first), (1.0, 1.5), horizontal_flip=True)
    with np.load(out / "probabilities/a/x.npz") as archive:
        assert archive["probabilities"].dtype == np.float16
        np.testing.assert_allclose(archive["probabilities"], expected, atol=1e-3)
        assert tuple(archive["names"]) == classes.names
    labels = Image.open(out / "labels/a/x.png")
    assert labels.mode == "P"
    np.testing.assert_array_equal(np.asarray(labels), expected.argmax(axis=-1))
    assert Image.open(out / "overlays/b/x.png").size == (7, 5)
    assert Image.open(out / "stages/b/x.png").width > 5 * 7


def test_by_default_only_labels_are_written(finished_run, tmp_path):
    path = save(tmp_path / "x.png")
    script.main((path,), model=(str(finished_run),), out=tmp_path / "out")
    files = [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert sorted(files) == ["predict.json", "x.png"]


def test_no_picture_and_no_run_are_refused(finished_run, tmp_path):
    with pytest.raises(ValueError, match="No picture or video given"):
        script.main((), model=(str(finished_run),), out=tmp_path)
    path, none = save(tmp_path / "x.png"), str(tmp_path / "none")
    with pytest.raises(ValueError, match=f"a directory, or .*, received '{none}'"):
        script.main((path,), model=(none,), out=tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=f"{none}: expected a preset .* or .*model.keras"):
        script.main((path,), model=(none,), out=tmp_path / "out")
    with pytest.raises(ValueError, match="Expected a preset or a training run, received none"):
        script.main((path,), model=(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_half_picture(finished_run, tmp_path, monkeypatch):
    path = save(tmp_path / "x.png")

    def full(self, content):
        self.touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        script.main((path,), model=(str(finished_run),), out=tmp_path / "out")
    assert not [p for p in (tmp_path / "out/labels").rglob("*") if p.is_file()]


@pytest.fixture
def tiny_run(finished_run, tmp_path):
    """A run whose network is one convolution, and that network."""
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(11, 1)])
    (run_dir := tmp_path / "run").mkdir()
    model.save(run_dir / "model.keras")
    (run_dir / "classes.json").symlink_to(finished_run / "classes.json")
    return str(run_dir), model


def test_several_runs_are_averaged(tiny_run, finished_run, tmp_path):
    path, models = save(tmp_path / "x.png", (48, 32)), (tiny_run[0], str(finished_run))
    script.main((path,), model=models, out=tmp_path / "out", memory=1.0)
    labels = np.asarray(Image.open(tmp_path / "out/labels/x.png"))
    networks = [tiny_run[1], load_model(finished_run)]
    np.testing.assert_array_equal(labels, predict_labels(networks, read_image(path)))
    settings = json.loads((tmp_path / "out/predict.json").read_text())
    assert len(settings["models"]) == 2
    assert settings["tile"] == side_for_memory(networks, 2**30)


def test_videos_too_are_seen_in_several_views_by_several_networks(tiny_run, finished_run, tmp_path):
    paths = [save(tmp_path / f"film/{i}.png", (48, 32), seed=i) for i in range(2)]
    models, views = (tiny_run[0], str(finished_run)), {"scales": (0.5, 1.0), "mirror": True}
    options = {"out": tmp_path / "out", "as_video": True, "frames": True, "tile": 512}
    script.main((tmp_path / "film",), model=models, **views, **options)
    networks = [tiny_run[1], load_model(finished_run)]
    for i, path in enumerate(paths):
        labels = np.asarray(Image.open(tmp_path / f"out/labels/film/{i:06}.png"))
        expected = predict_labels(networks, read_image(path), (0.5, 1.0), horizontal_flip=True)
        np.testing.assert_array_equal(labels, expected)


def test_a_network_for_clips_sees_videos_as_they_are(finished_run, tmp_path):
    model = SpatialTemporalDPN(11, width=0.02, fc6_kernel=1, fc_width=8, pairwise=None)
    write_preset(model, tmp_path / "preset", classes=load_classes(finished_run))
    (tmp_path / "x.mp4").touch()
    for name, options in {"one": {"scales": (0.5, 1.0)}, "two": {"mirror": True}}.items():
        with pytest.raises(ValueError, match="A network for clips predicts frames as they are"):
            script.main(
                (tmp_path / "x.mp4",),
                model=(str(tmp_path / "preset"),),
                out=tmp_path / name,
                **options,
            )


def test_a_preset_says_the_size_that_its_network_sees(finished_run, tmp_path):
    keras.utils.set_random_seed(1)  # it finds several classes
    model = DPN(11, width=0.125, trunk="large_fov", fc6_kernel=1, fc_width=32, pairwise=None)
    classes, preset = load_classes(finished_run), tmp_path / "preset"
    write_preset(model, preset, classes=classes, card=Card(size=24))
    path, out = save(tmp_path / "x.png", (48, 32)), tmp_path / "out"
    options = {"model": (str(preset),), "out": out}
    script.main((path,), **options)
    expected = Segmenter(model, classes, size=24).labels(path)
    whole = predict_labels(model, read_image(path))
    assert (expected != whole).any()
    np.testing.assert_array_equal(Image.open(out / "labels/x.png"), expected)
    assert json.loads((out / "predict.json").read_text())["size"] == 24
    with pytest.raises(ValueError, match="predict.json: .* with another size"):
        script.main((path,), **options, keep_size=True, resume=True)
    script.main((path,), **options, keep_size=True)
    np.testing.assert_array_equal(Image.open(out / "labels/x.png"), whole)


def test_a_crf_has_the_last_word(tiny_run, tmp_path):
    path, out, crf = save(tmp_path / "x.png"), tmp_path / "out", tmp_path / "crf.json"
    settings = {"num_iterations": 2, "bilateral": [4.0, 3.0, 60.0], "filter": "exact"}
    crf.write_text(json.dumps(settings))
    options = {"model": (tiny_run[0],), "out": out, "probabilities": True}
    script.main((path,), crf=crf, **options)
    image = read_image(path)
    expected = refine(image, predict_probabilities(tiny_run[1], image), **settings)
    with np.load(out / "probabilities/x.npz") as archive:
        np.testing.assert_allclose(archive["probabilities"], expected, atol=1e-3)
    np.testing.assert_array_equal(Image.open(out / "labels/x.png"), expected.argmax(axis=-1))
    assert json.loads((out / "predict.json").read_text())["crf"] == settings
    with pytest.raises(ValueError, match="predict.json: .* with another crf"):
        script.main((path,), resume=True, **options)


def test_a_stopped_run_is_resumed(tiny_run, tmp_path, monkeypatch, capfd):
    names = [save(tmp_path / f"in/{i}.png", seed=i).stem for i in range(8)]
    labelled, label = [], Segmenter.labels

    def stop_at_the_fifth(segmenter, image):
        if len(labelled) == 4:
            raise KeyboardInterrupt
        labelled.append(image)
        return label(segmenter, image)

    monkeypatch.setattr(Segmenter, "labels", stop_at_the_fifth)
    run_it = functools.partial(
        script.main, (tmp_path / "in",), model=(tiny_run[0],), out=tmp_path / "out"
    )
    with pytest.raises(KeyboardInterrupt):
        run_it()
    done = {p.stem: p.stat().st_mtime_ns for p in (tmp_path / "out/labels").iterdir()}
    assert list(done) and set(done) < set(names)
    monkeypatch.setattr(Segmenter, "labels", label)
    run_it(resume=True)
    assert f"{8 - len(done)} pictures labelled" in (printed := capfd.readouterr().out)
    assert f"{len(done)} were labelled before" in printed
    files = {p.stem: p.stat().st_mtime_ns for p in (tmp_path / "out/labels").iterdir()}
    assert sorted(files) == names
    assert {name: files[name] for name in done} == done
    run_it(resume=True, overlay=True)
    assert "8 pictures labelled" in capfd.readouterr().out, "none has an overlay"
    with pytest.raises(
        ValueError, match="labelled with another scales, horizontal_flip. Name another --out"
    ):
        run_it(resume=True, mirror=True, scales=(0.5,))
