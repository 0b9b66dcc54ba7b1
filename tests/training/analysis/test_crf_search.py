import itertools
import json

import numpy as np
import pytest

from keras_dpn.classes import Classes
from training.analysis import crf_search as script
from training.analysis.cached_predictions import (
    cache_predictions,
    digest_predictions,
    read_prediction,
)
from training.analysis.crf_search import SearchConditions, search
from training.data.dataset import Dataset, Example

CLASSES = Classes(("dark", "red"), ((0, 0, 0), (255, 0, 0)), ignore=7)
FIXED = {"num_iterations": 10, "spatial": [3.0, 3.0]}


class Images(Dataset):
    """Seven grey images of growing size; the right half is red, but for void pixels."""

    name = "images"
    classes = CLASSES
    splits = {"val": tuple(Example(str(i), index=i) for i in range(7)), "train": (), "test": ()}

    def read(self, example):
        labels = np.repeat([[0, 0, 1, 1]], 40 + example.index, axis=0).astype("uint8")
        labels[0, 0] = 7
        return np.full((*labels.shape, 3), 10 * example.index, "uint8"), labels


class Network:
    """Predicts dark everywhere, more surely further down; counts its calls."""

    def __init__(self):
        self.calls = self.loaded = 0

    def load(self):
        self.loaded += 1
        return self

    def __call__(self, image):
        self.calls += 1
        dark = np.linspace(0.5, 1, image.shape[0])[:, None] * np.ones(image.shape[1])
        return np.stack([dark, 1 - dark], axis=-1).astype("float32")


class CRF:
    """Finds more of the red half the closer the setting is to (6, 50, 6); counts its calls."""

    def __init__(self, stop_after=10**9):
        self.calls, self.stop_after = 0, stop_after

    def __call__(self, image, probabilities, bilateral, **fixed):
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        assert fixed == FIXED
        far = np.abs(np.log(np.array(bilateral) / (6, 50, 6))).sum()
        red = np.arange(image.shape[0]) / image.shape[0] >= far / 2
        found = np.zeros_like(probabilities)
        found[..., 0] = 0.5
        found[red, 2:, 1] = 0.6
        return found


@pytest.fixture
def network_file(tmp_path):
    (tmp_path / "model.keras").write_text("weights")
    return tmp_path / "model.keras"


@pytest.fixture
def predictions(tmp_path, network_file):
    return cache_predictions(Images(), "val", 3, tmp_path / "kept", network_file, Network().load)


def run_search(predictions, path, rounds=1, fixed=FIXED):
    digest = digest_predictions(predictions)
    conditions = SearchConditions("images", "val", None, len(predictions), digest, fixed)
    axes = ((5.0, 10.0), (30.0, 60.0), (6.0,))
    return search(predictions, CLASSES, path, conditions, axes=axes, rounds=rounds)


def test_predictions_are_cached_for_evenly_spaced_images(predictions, network_file):
    names = ["val_00000.npz", "val_00003.npz", "val_00006.npz"]
    assert [file.name for file in predictions] == names
    assert sorted(predictions[0].parent.iterdir()) == predictions
    image, labels = Images().read(Images.splits["val"][3])
    for cached, expected in zip(
        read_prediction(predictions[1]), (image, labels, Network()(image)), strict=True
    ):
        np.testing.assert_array_equal(cached, expected)
    folder = predictions[0].parent
    everything = cache_predictions(Images(), "val", 50, folder, network_file, Network().load)
    assert len(everything) == 7


def test_images_are_predicted_once_unless_network_or_images_change(predictions, network_file):
    def predict():
        network = Network()
        folder = predictions[0].parent
        cache_predictions(Images(), "val", 3, folder, network_file, network.load)
        return network.loaded, network.calls

    assert predict() == (0, 0)
    predictions[1].unlink()
    assert predict() == (1, 1)
    network_file.write_text("other weights")
    assert predict() == (1, 3)
    assert predict() == (0, 0)


@pytest.mark.parametrize(
    ("split", "num_images", "message"),
    [
        ("test", 3, "`split`: expected 'train' or 'val', received 'test'"),
        ("train", 3, "'train' of images has no images"),
        ("val", 0, "`num_images`: expected 1 or more, not 0"),
    ],
)
def test_settings_are_not_chosen_on_the_test_split(
    split, num_images, message, tmp_path, network_file
):
    with pytest.raises(ValueError, match=message):
        cache_predictions(Images(), split, num_images, tmp_path, network_file, Network().load)


def test_the_search_refines_around_the_best(predictions, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "refine", CRF())
    path = tmp_path / "search.json"
    record = run_search(predictions, path)
    written = json.loads(path.read_text())
    tried = [scores.bilateral for scores in record.settings]
    assert tried == [tuple(row["bilateral"]) for row in written["settings"]]
    assert tried[:4] == list(itertools.product((5, 10), (30, 60), (6,)))
    finest = itertools.product((3.54, 5, 7.07), (42.4, 60, 84.9), (6,))
    assert tried[4:] == [setting for setting in finest if setting not in tried[:4]]
    assert record.best.bilateral == (5, 42.4, 6)
    assert record.best == max(record.settings, key=lambda scores: scores.miou)
    assert written["best"] == record.best.to_json()
    assert written["images"] == 3 and written["fixed"] == FIXED
    # Without a CRF all is dark: half of the pixels, and one void pixel per image.
    dark = 2 * (40 + 43 + 46)
    assert record.baseline.confusion == written["baseline"]["confusion"]
    assert record.baseline.confusion == [[dark - 3, 0], [dark, 0]]
    assert record.baseline.miou == pytest.approx((dark - 3) / (2 * dark - 3) / 2)


def test_an_interrupted_search_continues(predictions, tmp_path, monkeypatch):
    path = tmp_path / "search.json"
    monkeypatch.setattr(script, "refine", CRF())
    expected = run_search(predictions, tmp_path / "other.json")
    monkeypatch.setattr(script, "refine", CRF(stop_after=7))
    with pytest.raises(KeyboardInterrupt):
        run_search(predictions, path)
    assert len(json.loads(path.read_text())["settings"]) == 2
    monkeypatch.setattr(script, "refine", crf := CRF())
    assert run_search(predictions, path) == expected
    assert crf.calls == 3 * (len(expected.settings) - 2)
    monkeypatch.setattr(script, "refine", CRF(stop_after=0))
    assert run_search(predictions, path) == expected


def test_a_search_under_other_conditions_starts_again(predictions, tmp_path, monkeypatch):
    path = tmp_path / "search.json"
    monkeypatch.setattr(script, "refine", CRF())
    run_search(predictions, path, rounds=0)
    run_search(predictions[:2], path, rounds=0)
    assert json.loads(path.read_text())["images"] == 2
    monkeypatch.setattr(script, "refine", crf := CRF())
    run_search(predictions[:2], path, rounds=1)
    assert crf.calls == 2 * 8


def test_images_without_labels_are_refused(tmp_path, network_file):
    images = Images()
    images.read = lambda example: (np.zeros((2, 2, 3), "uint8"), np.full((2, 2), 7, "uint8"))
    files = cache_predictions(images, "val", 1, tmp_path / "kept", network_file, Network().load)
    with pytest.raises(ValueError, match="labelled pixel"):
        run_search(files, tmp_path / "search.json")
