"""Files of annotations and lists that somebody else made."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from keras_dpn.io.images import ImageError
from training.data.checks import scan_dataset
from training.data.sets.camvid import CamVidDataset
from training.data.sets.coco import CocoDataset, CocoPanopticDataset
from training.data.sets.voc import CLASSES

_OTHER_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
CATEGORIES = [
    {"id": i, "name": _OTHER_NAMES.get(name, name)} for i, name in enumerate(CLASSES.names[1:], 1)
]
SQUARE = [0, 0, 6, 0, 6, 6, 0, 6]


def coco(folder, shape, size=(8, 8), name="a.jpg"):
    """Write a dataset of one image with one object."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "train2017" / "a.jpg")
    values = {"id": 1, "image_id": 1, "category_id": 1, "area": 2000, "iscrowd": 0}
    content = {
        "categories": CATEGORIES,
        "images": [{"id": 1, "file_name": name, "height": size[0], "width": size[1]}],
        "annotations": [{**values, "segmentation": shape}],
    }
    (folder / "annotations/instances_train2017.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ([[float("nan"), *SQUARE[1:]]], (8, 8), "far outside of the image"),
        ([[float("inf"), *SQUARE[1:]]], (8, 8), "far outside of the image"),
        ([[1e9, *SQUARE[1:]]], (8, 8), "far outside of the image"),
        ([[-1e300, *SQUARE[1:]]], (8, 8), "far outside of the image"),
        ([[SQUARE, SQUARE]], (8, 8), "at least three points"),
        ([[-120_000, 0, 120_000, 0] * 10], (1, 60_000), "outline is too long"),
        ([SQUARE], (1, 100_000), "100000x1 pixels there, more than"),
        ({"counts": "o" * 300, "size": [8, 8]}, (8, 8), "too many digits"),
        ([SQUARE], (60_000, 60_000), "60000x60000 pixels there, more than"),
        ([SQUARE], (-8, 8), "expected positive integers"),
        ([SQUARE], (8.5, 8), "expected positive integers"),
        ({"counts": [64], "size": [9, 9]}, (8, 8), r"runs for \[9, 9\]"),
        ({"counts": [60], "size": [8, 8]}, (8, 8), "don't fill the image"),
        ({"counts": [-1, 65], "size": [8, 8]}, (8, 8), "don't fill the image"),
        ({"counts": "02", "size": [8, 8]}, (8, 8), "don't fill the image"),
        ({"counts": "oooooooooooooooooooo0", "size": [8, 8]}, (8, 8), "don't fill the image"),
        ({"counts": "zzz", "size": [8, 8]}, (8, 8), "don't fill the image"),
        ({"counts": "P", "size": [8, 8]}, (8, 8), "truncated"),
        ({"counts": "é", "size": [8, 8]}, (8, 8), "can't be drawn"),
        ({"counts": [64]}, (8, 8), "can't be drawn"),
        ({"size": [8, 8]}, (8, 8), "can't be drawn"),
        ("text", (8, 8), "can't be drawn"),
        (None, (8, 8), "can't be drawn"),
    ],
)
def test_a_shape_that_cannot_be_drawn_is_listed(tmp_path, shape, size, words):
    dataset = CocoDataset(coco(tmp_path, shape, size))
    [example] = dataset.splits["train"]
    with pytest.raises(ImageError, match=words):
        dataset.read_labels(example)
    assert [issue.type for issue in scan_dataset(dataset).errors] == ["unreadable"]


def test_a_shape_of_numbers_too_many_or_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected COCO's annotations"):
        CocoDataset(coco(tmp_path, [["x", 0, 6, 0, 6, 6]]))


def test_compressed_runs_are_read(tmp_path):
    mask = np.random.default_rng(0).integers(0, 2, (8, 8), "uint8")
    runs = coco_mask.encode(np.asfortranarray(mask))
    shape = {"size": [8, 8], "counts": runs["counts"].decode()}
    dataset = CocoDataset(coco(tmp_path, shape))
    np.testing.assert_array_equal(dataset.read_labels(dataset.splits["train"][0]), mask)


def test_shapes_that_can_be_drawn(tmp_path):
    for number, shape in enumerate(([SQUARE], {"counts": [0, 64], "size": [8, 8]})):
        dataset = CocoDataset(coco(tmp_path / str(number), shape))
        labels = dataset.read_labels(dataset.splits["train"][0])
        assert set(np.unique(labels)) <= {0, 1} and (labels == 1).sum() >= 36


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/secret.jpg", "a\\..\\b.jpg", "x/a.jpg", 5])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="expected the name of a file without its directory"):
        CocoDataset(coco(tmp_path, [SQUARE], name=name))
    segments = [{"id": 1, "category_id": 1, "iscrowd": 0, "area": 2000}]
    values = {"file_name": name, "segments_info": segments}
    content = {"categories": CATEGORIES, "annotations": [values]}
    (tmp_path / "annotations/panoptic_train2017.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="expected the name of a file without its directory"):
        CocoPanopticDataset(tmp_path)


def test_a_list_of_camvid_does_not_lead_elsewhere(tmp_path):
    (tmp_path / "train.txt").write_text("train/a.png trainannot/a.png\n../x.png ../y.png\n")
    with pytest.raises(ValueError, match=r"train.txt, line 2: expected a file of the dataset's"):
        CamVidDataset(tmp_path)


def test_categories_may_be_some_of_the_twenty(tmp_path):
    folder = coco(tmp_path, [SQUARE])
    path = folder / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    kept = [category for category in CATEGORIES if category["name"] != "dog"][:7]
    path.write_text(json.dumps(content | {"categories": kept}))
    dataset = CocoDataset(folder)
    assert (dataset.read_labels(dataset.splits["train"][0]) == 1).sum() >= 36
    path.write_text(json.dumps(content | {"categories": [{"id": 1, "name": "pothole"}]}))
    with pytest.raises(ValueError, match=r"expected some of PASCAL VOC's classes.*'pothole'"):
        CocoDataset(folder)
