import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from keras_dpn.classes import Classes
from training.configs.recipes import RECIPES
from training.data.checks import DatasetScan
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_dataset
from training.data.registry import load_dataset
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
    monkeypatch.setattr("training.engine.checks.scan_dataset", lambda *_: scan)
    with pytest.raises(ValueError, match=f"roads {empty}: expected labels, all pixels are ignored"):
        check_data(dataset("road", "rest"), CONFIG)
    counts[empty][0, 0] = 1
    assert check_data(dataset("road", "rest"), CONFIG)[2].tolist() == [[3, 4]]


def test_only_the_splits_that_are_used_are_checked(tmp_path):
    """A list of both, the lists of other folds or an empty one don't hinder training."""
    write_dataset(ScenesDataset({"train": 2, "val": 1}, size=(48, 64)), tmp_path)
    splits = tmp_path / "splits"
    names = [(splits / f"{split}.txt").read_text().strip() for split in ("train", "val")]
    (splits / "trainval.txt").write_text("\n".join(names))
    (splits / "test.txt").write_text("missing\n")
    data = dataclasses.replace(CONFIG.data, dataset="folder", data_dir=str(tmp_path))
    config = dataclasses.replace(CONFIG, data=data)
    assert check_data(load_dataset("folder", tmp_path), config)[2].tolist() == [[48, 64]]
    (tmp_path / f"labels/{names[1]}.png").unlink()
    command = f"`keras-dpn check-data folder --data-dir {tmp_path}` lists all"
    with pytest.raises(ValueError, match=f": 1 issue, the first: val: missing: .* {command}"):
        check_data(load_dataset("folder", tmp_path), config)
