import os

import pytest

from training.data.dataset import read_lines
from training.data.io.class_files import read_classes_json
from training.data.io.flo import read_flo
from training.data.sets.coco import read_annotations


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


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for another program for ever
    for read in (
        read_lines,
        read_classes_json,
        read_flo,
        lambda path: read_annotations(path, dict),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match="pipe: no such file"):
            read(tmp_path / "pipe")
