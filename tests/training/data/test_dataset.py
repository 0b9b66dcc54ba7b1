import pytest

from training.data.dataset import read_classes


def test_unknown_split(scenes):
    with pytest.raises(ValueError, match=r"\['train', 'val'\], received 'tset'"):
        scenes.examples("tset")


def test_read_classes(folder, scenes):
    assert read_classes(folder / "classes.json") == scenes.classes
    (folder / "classes.json").write_text("{")
    with pytest.raises(ValueError, match="classes.json: "):
        read_classes(folder / "classes.json")
    with pytest.raises(ValueError, match="none.json: no such file; expected"):
        read_classes(folder / "none.json")
