import itertools
import json

import numpy as np
import pytest
from PIL import Image

from keras_dpn import models
from keras_dpn.inference import predict_probabilities
from training import export
from training.data.dataset import Classes

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
    return work_dir


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (19, 23, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def test_exports_and_checks(run_dir, picture, tmp_path, capsys):
    out = tmp_path / "saved" / "street"
    export.main(work_dir=run_dir, out=out, check=picture)
    printed = capsys.readouterr().out
    assert f"{out / '1'}: exported dpn" in printed and "100.00% of the labels agree" in printed
    stored = json.loads((out / "1" / "model.json").read_text())
    assert stored["classes"] == CLASSES.to_json() and stored["config"] == {"seed": 7}
    export.main(work_dir=run_dir, out=out)
    assert "agree" not in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["1", "2"]


def test_an_export_that_computes_something_else_is_reported(run_dir, picture, tmp_path):
    export.main(work_dir=run_dir, out=tmp_path / "street")
    image = np.asarray(Image.open(picture))
    expected = predict_probabilities(export.load_model(run_dir), image)
    asked = {"serving_default": ({"images": image[None]}, np.roll(expected, 1, -1))}
    with pytest.raises(ValueError, match="street.1, serving_default: the export doesn't .* 0.00% "):
        list(export.compare(tmp_path / "street" / "1", asked))


@pytest.mark.parametrize(
    ("linking", "signatures"),
    [("flow", ["serving_default", "with_flow"]), ("static", ["serving_default"])],
)
def test_a_network_for_clips_is_checked_on_a_picture_that_moves(
    linking, signatures, picture, tmp_path, capsys
):
    model = models.SpatialTemporalDPN(3, linking=linking, pairwise="triple", **TINY)
    export.main(work_dir=run_of(model, tmp_path), out=tmp_path / "street", check=picture)
    lines = capsys.readouterr().out.splitlines()[1:]
    for line, signature in zip(lines, signatures, strict=True):
        assert f"1, {signature}: 100.00% of the labels agree" in line


def test_the_moving_picture_moves_along_its_flow(picture):
    image = np.asarray(Image.open(picture))
    frames = export.moving(image, 3)
    np.testing.assert_array_equal(frames[1], image)
    for before, after in itertools.pairwise(frames):
        np.testing.assert_array_equal(before[:, : -export.MOTION], after[:, export.MOTION :])
    model = models.SpatialTemporalDPN(3, pairwise=None, **TINY)
    inputs, _ = export.questions(model, image)["with_flow"]
    assert (inputs["forward_flow"] == [export.MOTION, 0]).all()
    assert (inputs["backward_flow"] == [-export.MOTION, 0]).all()


def test_an_unreadable_picture_is_named_before_anything_is_written(run_dir, tmp_path):
    picture = tmp_path / "broken.jpg"
    picture.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="broken.jpg"):
        export.main(work_dir=run_dir, out=tmp_path / "street", check=picture)
    assert not (tmp_path / "street").exists()


def test_a_directory_without_a_run_is_named(tmp_path):
    with pytest.raises((ValueError, OSError), match="nothing_here"):
        export.main(work_dir=tmp_path / "nothing_here", out=tmp_path / "street")
    assert not (tmp_path / "street").exists()
