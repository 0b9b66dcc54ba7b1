import io
import tarfile
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dpn.inference import Predictor
from tests.training.data.sets import trees
from training.data.registry import load_dataset
from training.data.sets.cityscapes import IDS, CityscapesDataset
from training.data.sets.voc import VOCDataset, color_map
from training.evaluation.evaluator import evaluate
from training.prediction.submission import submit


def red_model(num_classes):
    """Predicts class 2 where an image is red, else class 1."""
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(num_classes, 1)])
    kernel, bias = np.zeros((1, 1, 3, num_classes)), np.full(num_classes, -1e3)
    kernel[0, 0, 0, 2], bias[1], bias[2] = 1, 0, -127.5
    model.set_weights([kernel, bias])
    return model


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Trees are incomplete datasets."""
    monkeypatch.setattr(VOCDataset, "expected_size", {"test": 2})
    monkeypatch.setattr(CityscapesDataset, "expected_size", {"test": 1})


def expected_labels(example):
    return 1 + (np.asarray(Image.open(example.image))[..., 0] > 127)


@pytest.mark.parametrize(("ending", "mode"), [("tgz", "r:gz"), ("tar.gz", "r:gz"), ("tar", "r:")])
def test_voc(ending, mode, tmp_path):
    trees.write_voc(tmp_path / "data")
    dataset = load_dataset("voc", tmp_path / "data")
    out = tmp_path / f"out/results.{ending}"
    assert submit(Predictor(red_model(21)), dataset, "test", out) == 2
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    with tarfile.open(out, mode) as archive:
        contents = {name: archive.extractfile(name).read() for name in archive.getnames()}
    for example in dataset.unlabelled["test"]:
        path = f"results/VOC2012/Segmentation/comp6_test_cls/{example.name}.png"
        image = Image.open(io.BytesIO(contents.pop(path)))
        np.testing.assert_array_equal(np.asarray(image), expected_labels(example))
        assert image.mode == "P" and tuple(image.getpalette()[6:9]) == color_map(3)[2]
    assert not contents


@pytest.mark.parametrize("split", ["test", "val"])
def test_cityscapes(split, tmp_path):
    trees.write_cityscapes(tmp_path)
    dataset = load_dataset("cityscapes", tmp_path)
    assert submit(Predictor(red_model(19)), dataset, split, tmp_path / "x.zip") == 1
    (example,) = {**dataset.splits, **dataset.unlabelled}[split]
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist() == [f"{example.name}_labelIds.png"]
        image = Image.open(archive.open(archive.namelist()[0]))
        np.testing.assert_array_equal(np.asarray(image), np.array(IDS)[expected_labels(example)])
    assert image.mode == "L"


def test_cityscapes_own_tools_score_the_archive(tmp_path):
    """With `pip install --no-deps cityscapesscripts pyquaternion`."""
    name = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
    tools = pytest.importorskip(name, reason="needs cityscapesscripts")
    trees.write_cityscapes(tmp_path / "data")
    dataset = load_dataset("cityscapes", tmp_path / "data")
    predictor = Predictor(red_model(19))
    submit(predictor, dataset, "val", tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        archive.extractall(tmp_path / "results")
    truth = sorted(map(str, (tmp_path / "data/gtFine/val").glob("*/*_labelIds.png")))
    args = tools.args
    args.predictionPath, args.predictionWalk = str(tmp_path / "results"), None
    args.evalInstLevelScore = args.JSONOutput = args.colorized = False
    args.quiet = True
    predictions = [tools.getPrediction(args, path) for path in truth]
    theirs = tools.evaluateImgLists(predictions, truth, args)
    scores = evaluate(predictor, dataset, "val").head()
    assert scores.miou == pytest.approx(theirs["averageScoreClasses"], abs=1e-9)
    assert 0 < scores.miou < 1
    for label, iou in zip(dataset.classes.names, scores.iou, strict=True):
        expected = theirs["classScores"][label]
        assert np.isnan(expected) if iou is None else iou == pytest.approx(expected)


def test_what_no_server_takes(tmp_path, monkeypatch):
    trees.write_voc(tmp_path)
    dataset, predictor = load_dataset("voc", tmp_path), Predictor(red_model(21))
    with pytest.raises(ValueError, match="x.rar: expected a name that ends in .zip"):
        submit(predictor, dataset, "test", tmp_path / "x.rar")
    monkeypatch.setattr(VOCDataset, "expected_size", {"test": 1456})
    with pytest.raises(ValueError, match="voc test: expected 1456 images, received 2; unpack"):
        submit(predictor, dataset, "test", tmp_path / "x.tgz")
    with pytest.raises(ValueError, match="voc tset: expected some images, received 0"):
        submit(predictor, dataset, "tset", tmp_path / "x.tgz")
    with pytest.raises(ValueError, match=r"one of .*'cityscapes', 'voc'.*, received scenes"):
        submit(predictor, load_dataset("scenes", None), "test", tmp_path / "x.tgz")


def test_an_image_that_cant_be_read_leaves_no_archive(tmp_path):
    trees.write_voc(tmp_path / "data")
    dataset = load_dataset("voc", tmp_path / "data")
    dataset.unlabelled["test"][1].image.write_bytes(b"")
    with pytest.raises(ValueError, match="test001.jpg: can't be read"):
        submit(Predictor(red_model(21)), dataset, "test", tmp_path / "out/x.tgz")
    assert not list((tmp_path / "out").iterdir())
