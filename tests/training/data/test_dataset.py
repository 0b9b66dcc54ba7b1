import pytest

from training.data.registry import load_dataset


def test_unknown_split(scenes):
    with pytest.raises(ValueError, match=r"\['train', 'val'\], received 'tset'"):
        scenes.examples("tset")


def test_load_dataset(folder):
    assert load_dataset("folder", folder).name == "folder"
    assert load_dataset("scenes", None, seed=4).seed == 4


def test_load_dataset_rejects():
    with pytest.raises(ValueError, match="'vco'"):
        load_dataset("vco", None)
    with pytest.raises(ValueError, match="--data-dir"):
        load_dataset("camvid", None)
