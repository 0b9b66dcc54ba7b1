import functools
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dpn import inference
from keras_dpn.inference import predict_probabilities
from keras_dpn.io.images import read_image
from keras_dpn.io.video import VideoWriter
from keras_dpn.tiles import side_for_memory
from training import predict as script
from training.cli import run
from training.predict import find_sources
from training.workdir import load_classes, load_model


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
        ({"mirror": True, "scales": (1.0, 1.5)}, "--scales, --mirror: only for pictures"),
        ({"stages": True}, "--stages: only"),
    ],
)
def test_what_is_for_pictures_alone_is_refused_for_videos(tmp_path, options, message):
    film = touch(tmp_path / "x.mp4")
    with pytest.raises(ValueError, match=message):
        script.main((film,), work_dir=(tmp_path,), out=tmp_path / "out", **options)


def test_frames_without_a_video_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--frames: goes with videos"):
        script.main((save(tmp_path / "x.png"),), work_dir=(tmp_path,), out=tmp_path, frames=True)


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
            [str(tmp_path / "in"), "--work-dir", str(finished_run), "--out", str(out), *options],
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
    expected = predict_probabilities(model, read_image(first), (1.0, 1.5), mirror=True)
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
    script.main((path,), work_dir=(finished_run,), out=tmp_path / "out")
    files = [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert sorted(files) == ["predict.json", "x.png"]


def test_no_picture_and_no_run_are_refused(finished_run, tmp_path):
    with pytest.raises(ValueError, match="No picture or video given"):
        script.main((), work_dir=(finished_run,), out=tmp_path)
    with pytest.raises(ValueError, match="model.keras"):
        script.main(
            (save(tmp_path / "x.png"),), work_dir=(tmp_path / "none",), out=tmp_path / "out"
        )


def test_a_full_disk_leaves_no_half_picture(finished_run, tmp_path, monkeypatch):
    path = save(tmp_path / "x.png")

    def full(self, content):
        self.touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        script.main((path,), work_dir=(finished_run,), out=tmp_path / "out")
    assert not [p for p in (tmp_path / "out/labels").rglob("*") if p.is_file()]


@pytest.fixture
def tiny_model(finished_run, monkeypatch):
    """Stands for that of each run."""
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(11, 1)])
    classes = load_classes(finished_run)
    monkeypatch.setattr(script, "load_ensemble", lambda runs, _: ([model] * len(runs), classes))
    return model


def test_several_runs_are_averaged_and_videos_are_for_one(finished_run, tiny_model, tmp_path):
    path, film, pair = save(tmp_path / "x.png"), touch(tmp_path / "x.mp4"), (finished_run,) * 2
    script.main((path,), work_dir=pair, out=tmp_path / "out", memory=1.0)
    labels = np.asarray(Image.open(tmp_path / "out/labels/x.png"))
    np.testing.assert_array_equal(labels, inference.predict_labels(tiny_model, read_image(path)))
    settings = json.loads((tmp_path / "out/predict.json").read_text())
    assert len(settings["models"]) == 2
    assert settings["tile"] == side_for_memory(tiny_model, 2**30)
    with pytest.raises(ValueError, match="several in --work-dir: only for pictures"):
        script.main((film,), work_dir=pair, out=tmp_path / "out")


def test_a_stopped_run_is_resumed(finished_run, tiny_model, tmp_path, monkeypatch, capfd):
    names = [save(tmp_path / f"in/{i}.png", seed=i).stem for i in range(8)]
    labelled, label = [], inference.predict_labels

    def stop_at_the_fifth(model, image, **look):
        if len(labelled) == 4:
            raise KeyboardInterrupt
        labelled.append(image)
        return label(model, image, **look)

    monkeypatch.setattr(inference, "predict_labels", stop_at_the_fifth)
    run_it = functools.partial(
        script.main, (tmp_path / "in",), work_dir=(finished_run,), out=tmp_path / "out"
    )
    with pytest.raises(KeyboardInterrupt):
        run_it()
    done = {p.stem: p.stat().st_mtime_ns for p in (tmp_path / "out/labels").iterdir()}
    assert list(done) and set(done) < set(names)
    monkeypatch.setattr(inference, "predict_labels", label)
    run_it(resume=True)
    assert f"{8 - len(done)} pictures labelled" in (printed := capfd.readouterr().out)
    assert f"{len(done)} were labelled before" in printed
    files = {p.stem: p.stat().st_mtime_ns for p in (tmp_path / "out/labels").iterdir()}
    assert sorted(files) == names
    assert {name: files[name] for name in done} == done
    run_it(resume=True, overlay=True)
    assert "8 pictures labelled" in capfd.readouterr().out, "none has an overlay"
    with pytest.raises(
        ValueError, match="labelled with another scales, mirror. Name another --out"
    ):
        run_it(resume=True, mirror=True, scales=(0.5,))
