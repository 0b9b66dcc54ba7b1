import json
import re

import numpy as np
import pytest
from PIL import Image

from keras_dpn.io.images import ImageError
from training.data.sets.folder import FolderDataset


def test_round_trip_of_scenes(folder, scenes):
    dataset = FolderDataset(folder)
    assert dataset.classes == scenes.classes
    assert {split: len(examples) for split, examples in dataset.splits.items()} == {
        "train": 5,
        "val": 3,
    }
    for split, examples in scenes.splits.items():
        for ours, theirs in zip(dataset.splits[split], examples, strict=True):
            assert (ours.name, ours.index) == (theirs.name, theirs.index)
            for a, b in zip(dataset.read(ours), scenes.read(theirs), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("entry", ["train_00001", "train_00001.png", "  train_00001\n\n"])
def test_names_with_and_without_suffix(folder, entry):
    (folder / "splits" / "one.txt").write_text(entry)
    (example,) = FolderDataset(folder).splits["one"]
    assert example.image == folder / "images" / "train_00001.png"
    assert example.label == folder / "labels" / "train_00001.png"


def test_color_labels_subfolders_and_dots(folder, scenes):
    example = scenes.splits["val"][0]
    image, labels = scenes.read(example)
    colors = np.array(scenes.classes.colors, "uint8")[labels]
    for kind, array, suffix in (("images", image, "bmp"), ("labels", colors, "png")):
        (folder / kind / "city").mkdir()
        Image.fromarray(array).save(folder / kind / "city" / f"frame.01.{suffix}")
    for entry in ("city/frame.01", "city\\frame.01", "city\\frame.01.bmp"):
        (folder / "splits" / "one.txt").write_text(entry)
        dataset = FolderDataset(folder)
        np.testing.assert_array_equal(dataset.read(dataset.splits["one"][0])[1], labels)


def test_other_files_are_passed_over(folder):
    (folder / "images" / "train_00000.txt").write_text("a note")
    (folder / "images" / ".train_00000.png").write_text("a thumbnail")
    assert FolderDataset(folder).splits["train"][0].image.name == "train_00000.png"


def test_missing_files_show_on_reading(folder):
    (folder / "splits" / "one.txt").write_text("nobody\ntrain_00000.jpg")
    dataset = FolderDataset(folder)
    for example, name in zip(dataset.splits["one"], ("nobody.*", "train_00000.jpg"), strict=True):
        with pytest.raises(ImageError, match=f"images/{re.escape(name)}: no such file"):
            dataset.read(example)


def test_a_list_in_another_encoding(folder):
    (folder / "splits" / "one.txt").write_bytes(b"stra\xdfe")
    with pytest.raises(ValueError, match="one.txt: expected text in UTF-8"):
        FolderDataset(folder)


def test_a_name_that_fits_two_files(folder):
    Image.new("RGB", (4, 4)).save(folder / "images" / "train_00000.bmp")
    with pytest.raises(ValueError, match="train_00000.bmp and train_00000.png"):
        FolderDataset(folder)


@pytest.mark.parametrize("entry", ["/etc/passwd", "../labels/train_00000.png", "..\\labels\\x.png"])
def test_names_outside_are_refused(folder, entry):
    (folder / "splits" / "one.txt").write_text(entry)
    with pytest.raises(ValueError, match="one.txt: expected file names below"):
        FolderDataset(folder)


@pytest.mark.parametrize("name", ["images", "labels", "splits", "classes.json"])
def test_missing_parts(folder, name):
    (folder / name).rename(folder / "elsewhere")
    with pytest.raises(ValueError, match=name):
        FolderDataset(folder)


@pytest.mark.parametrize("text", ["{", json.dumps({"names": ["a"], "colors": []}), "[1]", "\xff"])
def test_broken_classes(folder, text):
    (folder / "classes.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="classes.json: "):
        FolderDataset(folder)
