import re

import numpy as np
from PIL import Image

from keras_dpn.inference import predict_probabilities
from keras_dpn.io.images import read_image
from keras_dpn.io.video import VideoWriter
from keras_dpn.presets.files import Card, write_preset
from training.cli import main
from training.rundir.models import load_classes, load_model


def save(path, size=(10, 8), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), "uint8")
    Image.fromarray(pixels).save(path)
    return path


def predict(*args):
    return main(["predict", *map(str, args)])


def test_labels_images_and_videos_and_reports_broken_frames(finished_run, tmp_path, capsys):
    save(tmp_path / "in/x.png", (48, 32))
    for i in range(4):
        save(tmp_path / f"in/clip/{i}.png", (48, 32), seed=i)
    with VideoWriter(tmp_path / "in/y.mp4", 10, (32, 48)) as video:
        for i in range(3):
            video.write(np.full((32, 48, 3), 60 * i, "uint8"))
    (tmp_path / "in/clip/2.png").write_bytes(b"no image")
    (tmp_path / "in/z.avi").touch()
    paths = [tmp_path / "in" / name for name in ("x.png", "clip", "y.mp4", "z.avi")]
    options = ["--model", finished_run, "--out", tmp_path / "out", "--image-sequence", "--overlay"]
    assert predict(*paths, *options) == 2
    out, err = capsys.readouterr()
    assert f"{tmp_path}/out: labelled 1 image\n" in out
    assert re.search(r"clip: 3 frames predicted in .* temporal consistency \d+.\d% mIoU", out)
    assert re.search(r"y.mp4: 3 frames predicted in", out)
    assert "clip: 1 frame left out, unreadable: 2" in err
    assert "z.avi: can't be read as a video" in err
    assert "error: 2 of 4 files could not be read in full." in err
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in written) == [
        *("errors.jsonl", "labels/x.png", "overlays/clip.mp4", "overlays/x.png", "overlays/y.mp4"),
        *("predict.json", "sources.jsonl"),
        *("videos/clip.json", "videos/clip.mp4", "videos/y.json", "videos/y.mp4"),
    ]


def test_writes_everything_and_skips_what_it_cannot_read(finished_run, tmp_path, capsys):
    first = save(tmp_path / "in/a/x.png", (10, 8))
    save(tmp_path / "in/b/x.png", (7, 5), seed=1)
    (tmp_path / "in/a/broken.png").write_bytes(first.read_bytes()[:60])
    out = tmp_path / "out"
    options = ["--heads", "--probabilities", "--overlay", "--scales", "1.0", "1.5"]
    options += ["--horizontal-flip"]
    assert predict(tmp_path / "in", "--model", finished_run, "--out", out, *options) == 2
    printed = capsys.readouterr()
    assert "broken.png" in printed.err
    assert "error: 1 of 3 files could not be read in full." in printed.err
    assert f"{out}: labelled 2 images\n" in printed.out
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert written == [
        "errors.jsonl",
        *("heads/a/x.png", "heads/b/x.png", "labels/a/x.png", "labels/b/x.png"),
        *("overlays/a/x.png", "overlays/b/x.png", "predict.json"),
        *("probabilities/a/x.npz", "probabilities/b/x.npz", "sources.jsonl"),
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
    assert Image.open(out / "heads/b/x.png").width > 5 * 7


def test_resume_skips_what_is_done_and_a_tile_needs_no_memory(finished_run, tmp_path, capsys):
    save(tmp_path / "in/x.png")
    options = ["--model", finished_run, "--out", tmp_path / "out", "--tile", "512", "--resume"]
    for expected in ("labelled 1 image", "labelled before: 1 image"):
        assert predict(tmp_path / "in", *options) == 0
        assert expected in capsys.readouterr().out


def test_workers_are_of_a_cluster(tmp_path, capsys):
    assert predict(tmp_path, "--model", "x", "--out", tmp_path / "out", "--workers", "2") == 2
    assert "--worker-gpus: only with --ray" in capsys.readouterr().err


def test_says_what_is_unlike_the_training_images(finished_run, tmp_path, caplog):
    preset = tmp_path / "preset"
    card = Card(lowest_confidence=0.999)
    write_preset(load_model(finished_run), preset, classes=load_classes(finished_run), card=card)
    for i in range(7):
        save(tmp_path / f"in/{i}.png", seed=i)
    assert predict(tmp_path / "in", "--model", preset, "--out", tmp_path / "out") == 0
    files = ", ".join(f"{tmp_path}/in/{i}.png" for i in range(5))
    assert "7 of 7 images unlike the training images, the network is less" in caplog.text
    assert f"{files}, ...\n" in caplog.text
