import dataclasses
import functools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dpn.crf import refine
from keras_dpn.inference import InferenceSettings, predict_labels, predict_probabilities
from keras_dpn.inference.tiles import side_for_memory
from keras_dpn.io.images import read_image
from keras_dpn.models import DPN, SpatialTemporalDPN
from keras_dpn.presets.files import Card, write_preset
from keras_dpn.segmenter import Segmenter
from training.prediction.job import predict
from training.prediction.settings import PredictionJob
from training.rundir.models import load_classes, load_model
from training.rundir.outputs import writing

EXPORTED = str(Path(__file__).parents[3] / "saved_models/scenes")


def save(path, size=(10, 8), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), "uint8")
    Image.fromarray(pixels).save(path)
    return path


def run(paths, **options):
    return predict(PredictionJob(paths, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probabilities": True}, "--probabilities: only for images, and .*x.mp4 is a video"),
        ({"heads": True}, "--heads: only"),
        ({"heads": True, "probabilities": True}, "--heads, --probabilities: only for images"),
    ],
)
def test_options_for_images_alone_are_refused_for_videos(tmp_path, options, message):
    (tmp_path / "x.mp4").touch()
    with pytest.raises(ValueError, match=message):
        run((tmp_path / "x.mp4",), models=(str(tmp_path),), out=tmp_path / "out", **options)


def test_frames_without_a_video_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--save-frames: expected a video among the paths"):
        run((save(tmp_path / "x.png"),), models=("x",), out=tmp_path, save_frames=True)


def test_frames_are_not_written_over_the_labels_of_images(tmp_path):
    """A video next to the folder of its frames: both are labelled in labels/drive."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/drive.mp4").touch()
    save(tmp_path / "in/drive/000000.png")
    job = PredictionJob((tmp_path / "in",), ("x",), tmp_path / "out", save_frames=True)
    with pytest.raises(ValueError, match="--save-frames: .*drive.mp4 and of .*000000.png would"):
        job.find_sources()
    assert len(dataclasses.replace(job, save_frames=False).find_sources()) == 2


def test_by_default_only_labels_are_written(finished_run, tmp_path):
    path = save(tmp_path / "x.png")
    run((path,), models=(str(finished_run),), out=tmp_path / "out")
    files = [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert sorted(files) == ["predict.json", "sources.jsonl", "x.png"]


def test_no_image_and_no_run_are_refused(finished_run, tmp_path):
    with pytest.raises(ValueError, match="No image or video given"):
        run((), models=(str(finished_run),), out=tmp_path)
    path, none = save(tmp_path / "x.png"), str(tmp_path / "none")
    with pytest.raises(ValueError, match=f"{none}: no such directory, and no preset"):
        run((path,), models=(none,), out=tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=f"{none}: expected a preset .* or .*model.keras"):
        run((path,), models=(none,), out=tmp_path / "out")
    with pytest.raises(
        ValueError, match="Expected a preset or a training run, received none; .* --model"
    ):
        run((path,), models=(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": InferenceSettings(memory_gib=2.0)}, "--memory-gib: not with an exported"),
        ({"heads": True, "models": (EXPORTED, "x")}, "several models, --heads: not with an exp"),
    ],
)
def test_options_that_an_exported_model_does_not_have(options, message, tmp_path):
    options = {"models": (EXPORTED,), "out": tmp_path / "out"} | options
    with pytest.raises(ValueError, match=message):
        run((save(tmp_path / "x.png"),), **options)


def test_a_full_disk_leaves_no_half_file(finished_run, tmp_path, monkeypatch):
    path = save(tmp_path / "x.png")

    def full(self, content):
        self.touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        run((path,), models=(str(finished_run),), out=tmp_path / "out")
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
    settings = InferenceSettings(memory_gib=1.0)
    run((path,), models=models, out=tmp_path / "out", settings=settings)
    labels = np.asarray(Image.open(tmp_path / "out/labels/x.png"))
    networks = [tiny_run[1], load_model(finished_run)]
    np.testing.assert_array_equal(labels, predict_labels(networks, read_image(path)))
    manifest = json.loads((tmp_path / "out/predict.json").read_text())
    assert len(manifest["models"]) == 2
    assert manifest["tile"] == side_for_memory(networks, 2**30)


def test_videos_are_averaged_over_scales_and_networks_too(tiny_run, finished_run, tmp_path):
    paths = [save(tmp_path / f"clip/{i}.png", (48, 32), seed=i) for i in range(2)]
    settings = InferenceSettings(scales=(0.5, 1.0), horizontal_flip=True, tile=512)
    options = {"out": tmp_path / "out", "image_sequence": True, "save_frames": True}
    models = (tiny_run[0], str(finished_run))
    run((tmp_path / "clip",), models=models, settings=settings, **options)
    networks = [tiny_run[1], load_model(finished_run)]
    for i, path in enumerate(paths):
        labels = np.asarray(Image.open(tmp_path / f"out/labels/clip/{i:06}.png"))
        expected = predict_labels(networks, read_image(path), (0.5, 1.0), horizontal_flip=True)
        np.testing.assert_array_equal(labels, expected)


def test_a_network_for_clips_sees_videos_as_they_are(finished_run, tmp_path):
    model = SpatialTemporalDPN(
        11, width=0.02, backbone={"fc6_kernel": 1, "fc_width": 8}, pairwise=None
    )
    write_preset(model, tmp_path / "preset", classes=load_classes(finished_run))
    (tmp_path / "x.mp4").touch()
    for name, options in {"one": {"scales": (0.5, 1.0)}, "two": {"horizontal_flip": True}}.items():
        with pytest.raises(ValueError, match="A network for clips doesn.t support other models"):
            run(
                (tmp_path / "x.mp4",),
                models=(str(tmp_path / "preset"),),
                out=tmp_path / name,
                settings=InferenceSettings(**options),
            )


def test_a_preset_says_the_size_that_its_network_sees(finished_run, tmp_path):
    keras.utils.set_random_seed(1)  # it finds several classes
    backbone = {"name": "large_fov", "fc6_kernel": 1, "fc_width": 32}
    model = DPN(11, width=0.125, backbone=backbone, pairwise=None)
    classes, preset = load_classes(finished_run), tmp_path / "preset"
    write_preset(model, preset, classes=classes, card=Card(size=24))
    path, out = save(tmp_path / "x.png", (48, 32)), tmp_path / "out"
    options = {"models": (str(preset),), "out": out}
    run((path,), **options)
    expected = Segmenter(model, classes, size=24).labels(path)
    whole = predict_labels(model, read_image(path))
    assert (expected != whole).any()
    np.testing.assert_array_equal(Image.open(out / "labels/x.png"), expected)
    assert json.loads((out / "predict.json").read_text())["size"] == 24
    with pytest.raises(ValueError, match="predict.json: .* with another size"):
        run((path,), **options, keep_size=True, resume=True)
    run((path,), **options, keep_size=True)
    np.testing.assert_array_equal(Image.open(out / "labels/x.png"), whole)


def test_a_crf_refines_the_prediction(tiny_run, tmp_path):
    path, out = save(tmp_path / "x.png"), tmp_path / "out"
    settings = {"num_iterations": 2, "bilateral": [4.0, 3.0, 60.0], "filter": "exact"}
    options = {"models": (tiny_run[0],), "out": out, "probabilities": True}
    run((path,), crf=settings, **options)
    image = read_image(path)
    expected = refine(image, predict_probabilities(tiny_run[1], image), **settings)
    with np.load(out / "probabilities/x.npz") as archive:
        np.testing.assert_allclose(archive["probabilities"], expected, atol=1e-3)
    np.testing.assert_array_equal(Image.open(out / "labels/x.png"), expected.argmax(axis=-1))
    assert json.loads((out / "predict.json").read_text())["crf"] == settings
    with pytest.raises(ValueError, match="predict.json: .* with another crf"):
        run((path,), resume=True, **options)


def test_an_interrupted_run_is_resumed(tiny_run, tmp_path, monkeypatch):
    names = [save(tmp_path / f"in/{i}.png", seed=i).stem for i in range(8)]
    labelled, label = [], Segmenter.image

    def stop_at_the_fifth(segmenter, image):
        if len(labelled) == 4:
            raise KeyboardInterrupt
        labelled.append(image)
        return label(segmenter, image)

    monkeypatch.setattr(Segmenter, "image", stop_at_the_fifth)
    run_it = functools.partial(run, (tmp_path / "in",), models=(tiny_run[0],), out=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        run_it()
    done = {p.stem: p.stat().st_mtime_ns for p in (tmp_path / "out/labels").iterdir()}
    assert list(done) and set(done) < set(names)
    monkeypatch.setattr(Segmenter, "image", label)
    summary = run_it(resume=True)
    assert (summary.num_images, summary.num_skipped) == (8 - len(done), len(done))
    files = {p.stem: p.stat().st_mtime_ns for p in (tmp_path / "out/labels").iterdir()}
    assert sorted(files) == names
    assert {name: files[name] for name in done} == done
    assert run_it(resume=True, overlay=True).num_images == 8, "none has an overlay"
    with pytest.raises(
        ValueError, match="predicted with another scales, horizontal_flip. Name another --out"
    ):
        run_it(
            resume=True,
            settings=InferenceSettings(scales=(0.5,), horizontal_flip=True, memory_gib=4.0),
        )


def test_ground_truth_is_not_replaced(tiny_run, tmp_path):
    """`predict mydata/images --out mydata` would put its labels where the dataset has its own."""
    save(tmp_path / "images/a.png"), save(tmp_path / "images/b.png", seed=1)
    truth = save(tmp_path / "labels/b.png", seed=2)
    before = truth.read_bytes()
    run_it = functools.partial(run, (tmp_path / "images",), models=(tiny_run[0],), out=tmp_path)
    for options in ({}, {"resume": True}):
        with pytest.raises(ValueError, match=r"labels/b.png: would be replaced, .* --force"):
            run_it(**options)
    assert truth.read_bytes() == before
    assert not (tmp_path / "labels/a.png").exists() and not (tmp_path / "predict.json").exists()
    run_it(force=True)
    assert truth.read_bytes() != before
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "labels").iterdir()}
    assert run_it(resume=True).num_skipped == 2
    run_it()
    assert all(path.stat().st_mtime_ns > time for path, time in times.items())
    truth.write_bytes(before)
    with pytest.raises(ValueError, match=r"labels/b.png: would be replaced"):
        run_it()


def test_other_files_are_not_replaced(tmp_path):
    """They are found before the model is loaded."""
    image, clip = save(tmp_path / "x.png"), tmp_path / "clip"
    save(clip / "0.png")
    options = {"models": ("none",), "overlay": True}
    sequence = {"image_sequence": True, **options}
    for number, (path, name, chosen) in enumerate(
        [
            (image, "predict.json", options),
            (image, "overlays/x.png", options),
            (clip, "videos/clip.mp4", sequence),
            (clip, "videos/clip.json", sequence),
            (clip, "overlays/clip.mp4", sequence),
            (clip, "labels/clip/000007.png", {"save_frames": True, **sequence}),
        ]
    ):
        out = tmp_path / str(number)
        (file := out / name).parent.mkdir(parents=True)
        file.write_text("precious")
        with pytest.raises(ValueError, match=f"{name}: would be replaced"):
            run((path,), out=out, **chosen)
        assert file.read_text() == "precious"


def test_one_run_at_a_time_writes_to_a_directory(tmp_path):
    path = save(tmp_path / "x.png")
    with writing(tmp_path / "out", "predict"), pytest.raises(ValueError, match="out: in use by"):
        run((path,), models=("none",), out=tmp_path / "out")


def test_frames_and_videos_are_own_files(tiny_run, tmp_path):
    save(tmp_path / "clip/0.png"), save(tmp_path / "clip/1.png", seed=1)
    options = {"models": (tiny_run[0],), "out": tmp_path / "out", "image_sequence": True}
    for save_frames in (False, False, True, True):
        run((tmp_path / "clip",), **options, overlay=True, save_frames=save_frames)
    frame = tmp_path / "out/labels/clip/000001.png"
    frame.write_bytes(b"corrected")
    with pytest.raises(ValueError, match=r"000001.png: would be replaced"):
        run((tmp_path / "clip",), **options, save_frames=True)
    assert frame.read_bytes() == b"corrected"


def test_the_manifest_lists_what_was_written_also_before(tiny_run, tmp_path):
    for i in range(3):
        save(tmp_path / f"in/{i}.png", (9, 7), seed=i)
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    out, manifest = tmp_path / "out", tmp_path / "lists/all.jsonl"
    run_it = functools.partial(run, (tmp_path / "in",), models=(tiny_run[0],), out=out)
    run_it(manifest=manifest)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [row["path"] for row in rows] == [str(tmp_path / f"in/{i}.png") for i in range(3)]
    for row in rows:
        labels = np.asarray(Image.open(row["result"]))
        assert (row["height"], row["width"]) == labels.shape == (7, 9)
        fractions = np.bincount(labels.ravel(), minlength=11) / labels.size
        np.testing.assert_array_equal(list(row["fractions"].values()), fractions)
    (error,) = (out / "errors.jsonl").read_text().splitlines()
    assert json.loads(error)["path"] == str(tmp_path / "in/broken.png")
    assert "can't be read as an image" in json.loads(error)["cause"]
    Path(rows[1]["result"]).unlink()
    save(tmp_path / "in/broken.png", (9, 7), seed=3)
    summary = run_it(manifest=manifest, resume=True)
    assert (summary.num_images, summary.num_skipped, summary.unreadable) == (2, 2, ())
    again = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert len(again) == 4
    assert again[0] == rows[0] | {"confidence": None}, "its label map doesn't have it"
    assert again[1] == rows[1], "predicted again"
    assert (out / "errors.jsonl").read_bytes() == b"", "that list was of the earlier run"
    summary = run((manifest,), models=(tiny_run[0],), out=tmp_path / "again")
    assert summary.num_images == 4, "a manifest is an input"


def test_images_unlike_the_training_images_are_named(finished_run, tmp_path):
    """As far as the preset knows the lowest confidence of its validation images."""
    model, classes = load_model(finished_run), load_classes(finished_run)
    write_preset(model, tmp_path / "p", classes=classes, card=Card(lowest_confidence=0.999))
    path = save(tmp_path / "x.png")
    options = {"models": (str(tmp_path / "p"),), "out": tmp_path / "out"}
    summary = run((path,), **options, manifest=tmp_path / "all.jsonl")
    assert summary.unfamiliar == (path,)
    confidence = Segmenter.from_preset(tmp_path / "p")(path).confidence
    assert json.loads((tmp_path / "all.jsonl").read_text())["confidence"] == confidence
    manifest = json.loads((tmp_path / "out/predict.json").read_text())
    assert manifest["classes"] == classes.to_json()
    assert run((path,), models=(str(finished_run),), out=tmp_path / "run").unfamiliar == ()


def test_of_large_images_only_the_labels_are_predicted(finished_run, tmp_path, monkeypatch):
    path = save(tmp_path / "x.png")
    written = []
    for kept in (2**24, 10):
        monkeypatch.setattr("training.prediction.images._KEPT", kept)
        out = tmp_path / str(kept)
        run((path,), models=(str(finished_run),), out=out, manifest=out / "all.jsonl")
        row = json.loads((out / "all.jsonl").read_text())
        assert (row["confidence"] is None) == (kept == 10)
        written.append((out / "labels/x.png").read_bytes())
    assert written[0] == written[1]


def test_results_of_other_files_are_not_kept(tiny_run, tmp_path, messages):
    """Cameras give the same names in each folder; and a file may be replaced."""
    first, second = (save(tmp_path / day / "img_1.png", seed=i) for i, day in enumerate("ab"))
    out, manifest = tmp_path / "out", tmp_path / "all.jsonl"
    run_it = functools.partial(
        run, models=(tiny_run[0],), out=out, resume=True, manifest=manifest, overlay=True
    )
    run_it((first,))
    before = (out / "labels/img_1.png").read_bytes()
    assert run_it((first,)).num_skipped == 1
    summary = run_it((second,), overlay=False)
    assert (summary.num_images, summary.num_skipped) == (1, 0)
    assert json.loads(manifest.read_text())["path"] == str(second)
    assert (out / "labels/img_1.png").read_bytes() != before
    assert not (out / "overlays/img_1.png").exists(), "it was of the first"
    assert "1 result of other files, or of files that have changed" in messages()
    second.write_bytes(b"no image")
    assert run_it((second,)).unreadable == (second,)
    assert not (out / "labels/img_1.png").exists() and not manifest.read_text()


def test_results_without_a_record_are_kept(tiny_run, tmp_path):
    """Of version 0.1, which wrote none."""
    path, options = save(tmp_path / "x.png"), {"models": (tiny_run[0],), "out": tmp_path / "out"}
    run((path,), **options)
    (tmp_path / "out/sources.jsonl").unlink()
    assert run((path,), **options, resume=True).num_skipped == 1
    save(path, (20, 8))
    assert run((path,), **options, resume=True).num_skipped == 0


def test_label_maps_of_a_longer_video_are_removed(tiny_run, tmp_path):
    for i in range(3):
        save(tmp_path / f"clip/{i}.png", (48, 32), seed=i)
    options = {"models": (tiny_run[0],), "out": tmp_path / "out", "image_sequence": True}
    run((tmp_path / "clip",), **options, save_frames=True)
    (tmp_path / "clip/2.png").unlink()
    run((tmp_path / "clip",), **options, save_frames=True)
    maps = sorted(path.name for path in (tmp_path / "out/labels/clip").iterdir())
    assert maps == ["000000.png", "000001.png"]


def test_a_video_is_resumed_unless_it_is_complete(tiny_run, tmp_path):
    for i in range(3):
        save(tmp_path / f"clip/{i}.png", (48, 32), seed=i)
    options = {"models": (tiny_run[0],), "out": tmp_path / "out", "image_sequence": True}
    run_it = functools.partial(run, (tmp_path / "clip",), resume=True, save_frames=True, **options)
    manifest = tmp_path / "all.jsonl"
    assert run_it().num_skipped_videos == 0
    assert run_it(manifest=manifest).num_skipped_videos == 1
    row = json.loads(manifest.read_text())
    assert (row["frames"], row["height"], row["width"]) == (3, 32, 48)
    assert row["result"] == str(tmp_path / "out/labels/clip")
    maps = [np.asarray(Image.open(tmp_path / f"out/labels/clip/{i:06}.png")) for i in range(3)]
    fractions = np.bincount(np.ravel(maps), minlength=11) / np.size(maps)
    np.testing.assert_array_equal(list(row["fractions"].values()), fractions)
    (tmp_path / "out/labels/clip/000001.png").unlink()
    assert run_it().num_skipped_videos == 0


def test_results_in_the_manifest_are_absolute(tiny_run, tmp_path, monkeypatch):
    """A manifest may be in any directory."""
    monkeypatch.chdir(tmp_path)
    path, manifest = save(tmp_path / "x.png"), Path("out/all.jsonl")
    run((path,), models=(tiny_run[0],), out=Path("out"), manifest=manifest)
    assert json.loads(manifest.read_text())["result"] == str(tmp_path / "out/labels/x.png")


def test_results_are_files(tmp_path):
    for name in ("errors.jsonl", "sources.jsonl"):
        with pytest.raises(ValueError, match=f"--manifest: expected another name than {name}"):
            run((tmp_path / "x.png",), models=("x",), out=tmp_path, manifest=tmp_path / name)
    with pytest.raises(ValueError, match="--out: expected a directory, received s3:/bucket"):
        run((save(tmp_path / "x.png"),), models=("x",), out=Path("s3://bucket/out"))
    with pytest.raises(ValueError, match="all.csv: expected a manifest that ends in .jsonl or"):
        run((tmp_path / "x.png",), models=("x",), out=tmp_path, manifest=tmp_path / "all.csv")
