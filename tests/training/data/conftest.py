"""A tiny data set of files."""

import pytest

from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_dataset


@pytest.fixture
def scenes() -> ScenesDataset:
    return ScenesDataset({"train": 5, "val": 3}, size=(48, 64), seed=3)


@pytest.fixture
def folder(tmp_path, scenes):
    """The directory of `scenes`, written as files."""
    write_dataset(scenes, tmp_path / "set")
    return tmp_path / "set"
