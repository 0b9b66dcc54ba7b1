from types import SimpleNamespace

import numpy as np
import pytest

from keras_dpn.classes import Classes
from training.configs.recipes import RECIPES
from training.data.checks import DatasetScan
from training.engine.checks import check_data

CONFIG = RECIPES["dpn/folder"]


def dataset(*names):
    colors = tuple((i, i, i) for i in range(len(names)))
    return SimpleNamespace(
        name="roads", classes=Classes(names, colors), examples=lambda split: ("example",)
    )


def test_one_class_is_refused():
    """Its scores would be an error after the first stage."""
    with pytest.raises(ValueError, match="roads: expected 2 classes or more, received road alone"):
        check_data(dataset("road"), CONFIG)


@pytest.mark.parametrize("empty", ["train", "val"])
def test_a_split_without_a_label_is_refused(monkeypatch, empty):
    counts = {split: np.array([[5, 7]]) * (split != empty) for split in ("train", "val")}
    sizes = {split: np.array([[3, 4]]) for split in counts}
    scan = DatasetScan([], counts, {}, {}, sizes)
    monkeypatch.setattr("training.engine.checks.scan_dataset", lambda _: scan)
    with pytest.raises(ValueError, match=f"roads {empty}: expected labels, all pixels are ignored"):
        check_data(dataset("road", "rest"), CONFIG)
    counts[empty][0, 0] = 1
    assert check_data(dataset("road", "rest"), CONFIG)[2].tolist() == [[3, 4]]
