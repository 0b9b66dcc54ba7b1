import os
from unicodedata import normalize

import pytest

from keras_dpn.io.images import ImageError
from tests.training.data.sets import trees
from training.data.dataset import Example
from training.data.sets import base
from training.data.sets.base import list_examples, read_names
from training.data.sets.voc import VOCDataset


def test_pictures_and_labels_of_different_sizes(tmp_path):
    trees.write_voc(tmp_path)
    dataset = VOCDataset(tmp_path)
    example = dataset.splits["train"][0]
    trees.picture(example.image, (4, 6))
    with pytest.raises(ImageError, match="000.png: 16x12 pixels, but .*000.jpg has 6x4; they must"):
        dataset.read(example)


def test_examples_by_name(tmp_path):
    found = list_examples(["a{}"], (tmp_path, ".jpg"), (tmp_path / "b", "_L.png"), first=3)
    assert found == (Example("a{}", tmp_path / "a{}.jpg", tmp_path / "b/a{}_L.png", 3),)


def test_names_in_another_form_of_unicode_are_listed_once(tmp_path, monkeypatch):
    names = [f"caf\u00e9{i}.png" for i in range(3)]
    for name in names:
        (tmp_path / normalize("NFD", name)).touch()
    listed, listdir = [], os.listdir
    monkeypatch.setattr(base.os, "listdir", lambda path: listed.append(path) or listdir(path))
    found = [base.find_file(tmp_path / name) for name in names]
    assert [path.name for path in found] == [normalize("NFD", name) for name in names]
    assert listed == [tmp_path]


@pytest.mark.parametrize("entry", ["../a", "/a", "a/b"])
def test_names_are_names(entry, tmp_path):
    (tmp_path / "x.txt").write_text(f"b\n\n {entry}\n")
    with pytest.raises(ValueError, match=f"x.txt: expected an image's name .* '{entry}'"):
        read_names(tmp_path / "x.txt")
