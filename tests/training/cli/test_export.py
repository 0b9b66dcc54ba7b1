import json
import re

import numpy as np
import pytest
from PIL import Image

from keras_dpn import models
from keras_dpn.classes import Classes
from keras_dpn.presets import Card
from tests.keras_dpn.support import tiny_backbone
from training.cli import main

pytestmark = pytest.mark.tensorflow_only
CLASSES = Classes(("sky", "road", "car"), ((0, 0, 255), (90, 90, 90), (255, 0, 0)))


TINY = {
    "width": 0.0625,
    "backbone": "large_fov",
    "local_conv": {"window": 3},
    "contexts": {"window": 3},
}


@pytest.fixture
def run_dir(tmp_path):
    return run_of(models.DPN(3, **TINY), tmp_path)


def run_of(model, tmp_path):
    """Write what training leaves, with an untrained model."""
    work_dir = tmp_path / "run"
    work_dir.mkdir()
    model.save(work_dir / "model.keras")
    (work_dir / "classes.json").write_text(json.dumps(CLASSES.to_json()))
    (work_dir / "config.json").write_text(json.dumps({"seed": 7}))
    stages = [{"name": "final", "miou": 0.5, "accuracy": 0.75, "confusion": [[1]]}]
    (work_dir / "evaluation_test.json").write_text(json.dumps({"stages": stages}))
    return work_dir


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (19, 23, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def export(model, out, *options):
    return main(["export", "--model", str(model), "--out", str(out), *map(str, options)])


def test_exports_and_verifies(run_dir, image, tmp_path, capsys):
    out = tmp_path / "saved" / "street"
    options = ["--outputs", "label_png", "--longest-side", 64, "--max-pixels", 10_000]
    assert export(run_dir, out, "--verify-with", image, *options) == 0
    printed = capsys.readouterr().out
    assert f"{out / '1'}: exported dpn" in printed
    for signature in ("serving_default", "image"):
        assert f"1, {signature}: 100.00% of the labels agree" in printed
    stored = json.loads((out / "1" / "model.json").read_text())
    assert stored["classes"] == CLASSES.to_json() and stored["config"] == {"seed": 7}
    scores = stored["scores"]["test"]["final"]
    assert (scores["miou"], scores["accuracy"]) == (0.5, 0.75)
    assert stored["image_size"] == 64 and stored["max_pixels"] == 10_000


def test_a_presets_size_is_that_of_its_export(image, tmp_path, capsys):
    model = models.DPN(3, **TINY)
    model.save_to_preset(tmp_path / "mine", classes=CLASSES, card=Card(size=24))
    assert export(tmp_path / "mine", tmp_path / "street", "--verify-with", image) == 0
    agreement = re.findall(r"(serving_default|image): ([\d.]+)% of", capsys.readouterr().out)
    assert [name for name, _ in agreement] == ["serving_default", "image"]
    # Of an untrained network, on noise: resized colours are whole numbers in one of them.
    assert all(float(percent) > 90 for _, percent in agreement)
    assert export(tmp_path / "mine", tmp_path / "street", "--keep-size") == 0
    stored = [json.loads((tmp_path / "street" / n / "model.json").read_text()) for n in "12"]
    assert [facts["shorter_side"] for facts in stored] == [24, None]


def test_a_presets_size_does_not_hinder_a_network_of_one_size(image, tmp_path, capsys):
    model = models.DPN(3, input_shape=(16, 24, 3), **TINY)
    model.save_to_preset(tmp_path / "mine", classes=CLASSES, card=Card(size=16))
    assert export(tmp_path / "mine", tmp_path / "street", "--verify-with", image) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("100.00% of the labels agree" in line for line in lines[1:])
    stored = json.loads((tmp_path / "street/1/model.json").read_text())
    assert (stored["shorter_side"], stored["image_size"]) == (None, [16, 24])


def test_files_for_devices(run_dir, image, tmp_path, capsys):
    out = tmp_path / "street"
    options = ["--image-size", 16, 20, "--calibration-images", image.parent]
    formats = ["--formats", "litert", "litert_int8"]
    assert export(run_dir, out, "--verify-with", image, *options, *formats) == 0
    assert sorted(path.name for path in out.iterdir()) == ["model.tflite", "model_int8.tflite"]
    assert "model.tflite, model: 100.00% of the labels agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("linking", "clips"), [("flow", ["clip", "clip_with_flow"]), ("static", ["clip"])]
)
def test_a_network_for_clips_is_verified_with_an_image_that_moves(
    linking, clips, image, tmp_path, capsys
):
    settings = TINY | {"backbone": tiny_backbone((2, 2, 2))}
    model = models.SpatialTemporalDPN(3, linking=linking, pairwise="triple", **settings)
    assert export(run_of(model, tmp_path), tmp_path / "street", "--verify-with", image) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    for line, signature in zip(lines, ["serving_default", "image", *clips], strict=True):
        assert f"1, {signature}: 100.00% of the labels agree" in line


def test_a_presets_network_for_clips_is_verified(image, tmp_path, capsys):
    settings = TINY | {"backbone": tiny_backbone((2, 2, 2))}
    model = models.SpatialTemporalDPN(3, linking="static", pairwise=None, **settings)
    model.save_to_preset(tmp_path / "mine", classes=CLASSES, card=Card(size=16))
    assert export(tmp_path / "mine", tmp_path / "street", "--verify-with", image) == 0
    assert "1, clip: 100.00% of the labels agree" in capsys.readouterr().out


def test_an_unreadable_image_is_named_before_anything_is_written(run_dir, tmp_path, capsys):
    image = tmp_path / "broken.jpg"
    image.write_bytes(b"no image")
    assert export(run_dir, tmp_path / "street", "--verify-with", image) == 2
    assert "broken.jpg" in capsys.readouterr().err
    assert not (tmp_path / "street").exists()


def test_a_directory_without_a_run_is_named(tmp_path, capsys):
    assert export(tmp_path / "nothing_here", tmp_path / "street") == 2
    assert "nothing_here" in capsys.readouterr().err
    assert not (tmp_path / "street").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-size", 8, 8, "--longest-side", 8], "--image-size, --longest-side and --keep"),
        (["--formats"], "--formats: expected one or more, received none"),
        (["--keep-size", "--longest-side", 8], "--image-size, --longest-side and --keep-size"),
        (["--formats", "litert_int8"], "--calibration-images: expected a folder with litert_int8"),
    ],
)
def test_options_that_do_not_go_together(options, message, tmp_path, capsys):
    assert export(tmp_path, tmp_path / "street", *options) == 2
    assert message in capsys.readouterr().err
