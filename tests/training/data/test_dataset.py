import pytest

from training.data.io.class_files import read_classes_json


def test_unknown_split(scenes):
    with pytest.raises(ValueError, match=r"\['train', 'val'\], received 'tset'"):
        scenes.examples("tset")


def test_read_classes(folder, scenes):
    assert read_classes_json(folder / "classes.json") == (scenes.classes, None)
    (folder / "classes.json").write_text("{")
    with pytest.raises(ValueError, match="classes.json: "):
        read_classes_json(folder / "classes.json")
    with pytest.raises(ValueError, match="none.json: no such file; expected"):
        read_classes_json(folder / "none.json")
