import itertools
import json

import numpy as np
import pytest
from PIL import Image

from keras_dpn import models
from keras_dpn.classes import Classes
from training.export import exporter as export

pytestmark = pytest.mark.tensorflow_only
CLASSES = Classes(("sky", "road", "car"), ((0, 0, 255), (90, 90, 90), (255, 0, 0)))


TINY = {"width": 0.0625, "trunk": "large_fov", "triple_window": 3, "context_window": 3}


@pytest.fixture
def run_dir(tmp_path):
    return run_of(models.DPN(3, **TINY), tmp_path)


def run_of(model, tmp_path):
    """What training leaves, with an untrained model."""
    work_dir = tmp_path / "run"
    work_dir.mkdir()
    model.save(work_dir / "model.keras")
    (work_dir / "classes.json").write_text(json.dumps(CLASSES.to_json()))
    (work_dir / "config.json").write_text(json.dumps({"seed": 7}))
    stages = [{"name": "final", "miou": 0.5, "accuracy": 0.75, "confusion": [[1]]}]
    (work_dir / "evaluation_test.json").write_text(json.dumps({"stages": stages}))
    return work_dir


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (19, 23, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def test_exports_and_checks(run_dir, picture, tmp_path, capsys):
    out = tmp_path / "saved" / "street"
    settings = {"outputs": ("label_png",), "longest_side": 64, "max_pixels": 10_000}
    export.main(model=str(run_dir), out=out, check=picture, **settings)
    printed = capsys.readouterr().out
    assert f"{out / '1'}: exported dpn" in printed
    for signature in ("serving_default", "image"):
        assert f"1, {signature}: 100.00% of the labels agree" in printed
    stored = json.loads((out / "1" / "model.json").read_text())
    assert stored["classes"] == CLASSES.to_json() and stored["config"] == {"seed": 7}
    assert stored["scores"] == {"test": {"final": {"miou": 0.5, "accuracy": 0.75}}}
    assert stored["image_size"] == 64 and stored["max_pixels"] == 10_000


def test_files_for_devices(run_dir, picture, tmp_path, capsys):
    out = tmp_path / "street"
    formats = ("litert", "litert_int8")
    settings = {"image_size": (16, 20), "representative": picture.parent}
    export.main(model=str(run_dir), out=out, formats=formats, check=picture, **settings)
    assert sorted(path.name for path in out.iterdir()) == ["model.tflite", "model_int8.tflite"]
    assert "model.tflite, model: 100.00% of the labels agree" in capsys.readouterr().out


def test_an_export_that_computes_something_else_is_reported(tmp_path):
    asked = {"image": ({}, np.zeros((1, 2, 2), "uint8"))}
    wrong = np.ones((1, 2, 2), "uint8")
    with pytest.raises(ValueError, match="street.1, image: the export doesn't .* 0.00% "):
        list(export.compare(lambda *_: wrong, asked, tmp_path / "street" / "1", least=0.5))


@pytest.mark.parametrize(
    ("linking", "clips"), [("flow", ["clip", "clip_with_flow"]), ("static", ["clip"])]
)
def test_a_network_for_clips_is_checked_on_a_picture_that_moves(
    linking, clips, picture, tmp_path, capsys
):
    model = models.SpatialTemporalDPN(3, linking=linking, pairwise="triple", **TINY)
    export.main(model=str(run_of(model, tmp_path)), out=tmp_path / "street", check=picture)
    lines = capsys.readouterr().out.splitlines()[1:]
    for line, signature in zip(lines, ["serving_default", "image", *clips], strict=True):
        assert f"1, {signature}: 100.00% of the labels agree" in line


def test_the_moving_picture_moves_along_its_flow(picture):
    image = np.asarray(Image.open(picture))
    frames = export.moving(image, 3)
    np.testing.assert_array_equal(frames[1], image)
    for before, after in itertools.pairwise(frames):
        np.testing.assert_array_equal(before[:, : -export.MOTION], after[:, export.MOTION :])
    model = models.SpatialTemporalDPN(3, pairwise=None, **TINY)
    inputs, _ = export.questions(model, image)["clip_with_flow"]
    assert (inputs["forward_flow"] == [export.MOTION, 0]).all()
    assert (inputs["backward_flow"] == [-export.MOTION, 0]).all()


def test_an_unreadable_picture_is_named_before_anything_is_written(run_dir, tmp_path):
    picture = tmp_path / "broken.jpg"
    picture.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="broken.jpg"):
        export.main(model=str(run_dir), out=tmp_path / "street", check=picture)
    assert not (tmp_path / "street").exists()


def test_a_directory_without_a_run_is_named(tmp_path):
    with pytest.raises((ValueError, OSError), match="nothing_here"):
        export.main(model=str(tmp_path / "nothing_here"), out=tmp_path / "street")
    assert not (tmp_path / "street").exists()


def test_options_that_do_not_go_together(tmp_path):
    paths = {"model": str(tmp_path), "out": tmp_path / "street"}
    with pytest.raises(ValueError, match="--image-size and --longest-side"):
        export.main(**paths, image_size=(8, 8), longest_side=8)
    with pytest.raises(ValueError, match="--representative: expected a folder with litert_int8"):
        export.main(**paths, formats=("litert_int8",))
    with pytest.raises(ValueError, match="found none in it"):
        export.main(**paths, formats=("litert_int8",), representative=tmp_path)
