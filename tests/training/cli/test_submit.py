import json
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dpn.inference import Predictor
from keras_dpn.inference import predictor as predictor_module
from keras_dpn.io.images import read_image
from keras_dpn.models import DPN
from keras_dpn.presets.files import write_preset
from tests.training.data.sets import trees
from training.cli import main
from training.data.registry import load_dataset
from training.data.sets.voc import CLASSES as VOC_CLASSES
from training.data.sets.voc import VOCDataset


def submit(*args):
    return main(["submit", *map(str, args)])


def network():
    """Predicts class 2 where an image is red, else class 1."""
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 1)])
    kernel, bias = np.zeros((1, 1, 3, 21)), np.full(21, -1e3)
    kernel[0, 0, 0, 2], bias[1], bias[2] = 1, 0, -127.5
    model.set_weights([kernel, bias])
    return model


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Trees are incomplete datasets."""
    monkeypatch.setattr(VOCDataset, "expected_size", {"test": 2})


@pytest.fixture
def voc_run(tmp_path):
    """The directory of a run on VOC, in tmp_path/voc."""
    trees.write_voc(tmp_path / "voc")
    (work_dir := tmp_path / "run").mkdir()
    network().save(work_dir / "model.keras")
    config = {"seed": 0, "data": {"dataset": "voc", "data_dir": str(tmp_path / "voc")}}
    for name, content in {"config": config, "classes": VOC_CLASSES.to_json()}.items():
        (work_dir / f"{name}.json").write_text(json.dumps(content))
    return work_dir


def test_averages_runs_and_applies_the_crf(voc_run, tmp_path, monkeypatch, capsys):
    out, crf, calls = tmp_path / "x.zip", tmp_path / "crf.json", []

    def reversed_classes(image, probabilities, **settings):
        calls.append(settings)
        return probabilities[..., ::-1]

    monkeypatch.setattr(predictor_module, "refine", reversed_classes)
    crf.write_text('{"bilateral": [4, 50, 5]}')
    options = ["--scales", "1.0", "2.0", "--horizontal-flip", "--crf", crf]
    assert submit(voc_run, voc_run, "--out", out, *options) == 0
    assert calls == 2 * [{"bilateral": [4, 50, 5]}]
    assert capsys.readouterr().out == f"{out}: labels of 2 images\n"
    with zipfile.ZipFile(out) as archive:
        labels = np.asarray(Image.open(archive.open(archive.namelist()[0])))
    assert set(np.unique(labels)) <= {18, 19}


def test_takes_a_preset(voc_run, tmp_path, capsys):
    keras.utils.set_random_seed(3)  # it finds several classes
    backbone = {"name": "large_fov", "fc6_kernel": 1, "fc_width": 32}
    model = DPN(21, width=0.125, backbone=backbone, pairwise=None)
    write_preset(model, tmp_path / "preset", classes=VOC_CLASSES)
    preset, out = tmp_path / "preset", tmp_path / "x.zip"
    options = ["--dataset", "voc", "--data-dir", tmp_path / "voc"]
    assert submit(preset, "--out", out, *options) == 0
    assert "labels of 2 images" in capsys.readouterr().out
    predictor = Predictor(model)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        for example in load_dataset("voc", tmp_path / "voc").unlabelled["test"]:
            path = f"results/VOC2012/Segmentation/comp6_test_cls/{example.name}.png"
            labels = np.asarray(Image.open(archive.open(path)))
            expected = predictor.labels(read_image(example.image))
            assert len(np.unique(expected)) > 1
            np.testing.assert_array_equal(labels, expected)
    assert submit(preset, "--out", out) == 2
    assert "preset: a preset names no dataset" in capsys.readouterr().err
