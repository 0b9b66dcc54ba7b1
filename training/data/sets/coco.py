"""COCO 2017 with PASCAL VOC's 20 classes and background, for pre-training.

From https://cocodataset.org: train2017.zip and val2017.zip with annotations_trainval2017.zip
(instances) or panoptic_annotations_trainval2017.zip, unpacked in one directory, and so are the
archives that the latter holds. The annotations are under CC BY 4.0; the pictures are from Flickr,
whose terms of use hold for them. Names and palette of the classes are VOC's.

    split  pictures, before those with few labels are left out
    train    118287
    val        5000

A picture is in a split where things of the 20 classes, crowds not counted, have `MIN_PIXELS` or
more, by the areas in COCO's files. Things of COCO's other categories are background, as in VOC.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pycocotools import mask as coco_mask

from keras_dpn.io.images import ImageError

from ..dataset import Example
from ..io.images import Color, match_colors, read_colors
from .base import FileDataset
from .voc import CLASSES

MIN_PIXELS = 1000

T = TypeVar("T")

# COCO's names of VOC's classes, where they differ.
_COCO_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


class _Thing(NamedTuple):
    """One thing, or a crowd, and its shape: polygons, or runs as a dictionary."""

    label: int
    is_crowd: bool
    shape: list[np.ndarray] | dict[str, Any]


class CocoDataset(FileDataset):
    """COCO's instances.

    Where things of two classes overlap, and in crowds, pixels are ignored: the files do not say
    what is in front, nor what in a crowd is the thing.

    Args:
        data_dir: holds `annotations/instances_train2017.json` or `..._val2017.json` or both, and
            `train2017/` and `val2017/`. To read the training file takes about 20 s and 3 GB.

    Raises:
        ValueError: where neither file is there, or one is not in COCO's format.
    """

    name = "coco"
    classes = CLASSES

    def __init__(self, data_dir: Path):
        data_dir = Path(data_dir)
        self.splits, self._found = {}, {}
        for split, path in _find_files(data_dir, "instances").items():
            found = _read_file(path, _list_things)
            self._found |= found
            self.splits[split] = tuple(
                Example(Path(name).stem, data_dir / f"{split}2017" / name, path, index)
                for index, name in enumerate(found)
            )

    def read_labels(self, example: Example) -> np.ndarray:
        size, things = self._found[example.image.name]
        labels = np.zeros(size, "uint8")
        for thing in sorted(things, key=lambda thing: thing.is_crowd):
            inside = _draw(thing, size, example)
            if thing.is_crowd:
                labels[inside & (labels == 0)] = CLASSES.ignore
            else:
                other = inside & (labels != 0) & (labels != thing.label)
                labels[inside] = thing.label
                labels[other] = CLASSES.ignore
        return labels


class CocoPanopticDataset(FileDataset):
    """COCO's panoptic annotations, which say of each pixel what is there.

    Pixels that have no annotation, and crowds, are ignored.

    Args:
        data_dir: holds `annotations/panoptic_train2017.json` or `..._val2017.json` or both, beside
            each a directory of that name with PNG files, and `train2017/` and `val2017/`.

    Raises:
        ValueError: where neither file is there, or one is not in COCO's format.
    """

    name = "coco_panoptic"
    classes = CLASSES

    def __init__(self, data_dir: Path):
        data_dir = Path(data_dir)
        self.splits, self._labels_of = {}, {}
        for split, path in _find_files(data_dir, "panoptic").items():
            found = _read_file(path, _list_segments)
            self._labels_of |= found
            self.splits[split] = tuple(
                Example(
                    Path(name).stem,
                    data_dir / f"{split}2017" / f"{Path(name).stem}.jpg",
                    path.with_suffix("") / name,
                    index,
                )
                for index, name in enumerate(found)
            )

    def read_labels(self, example: Example) -> np.ndarray:
        pixels = read_colors(example.label)
        return match_colors(pixels, self._labels_of[example.label.name], example.label)


def _find_files(data_dir: Path, kind: str) -> dict[str, Path]:
    paths = {
        split: data_dir / "annotations" / f"{kind}_{split}2017.json" for split in ("train", "val")
    }
    found = {split: path for split, path in paths.items() if path.is_file()}
    if not found:
        names = " or ".join(path.name for path in paths.values())
        raise ValueError(f"{data_dir / 'annotations'}: expected COCO's {names}; neither there.")
    return found


def _read_file(path: Path, list_labels: Callable[[dict], dict[str, T]]) -> dict[str, T]:
    """What `list_labels` makes of a file of annotations."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # Unicode's errors are ValueErrors too
        raise ValueError(f"{path}: expected JSON, found {error}.") from None
    try:
        return list_labels(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected COCO's annotations; {error!r}.") from error


def _list_things(content: dict[str, Any]) -> dict[str, tuple[tuple[int, int], list[_Thing]]]:
    """Size and things of each picture that has enough labels, by its file's name."""
    labels_of = _labels_of_categories(content)
    annotations = [found for found in content["annotations"] if found["category_id"] in labels_of]
    pixels = Counter()
    for found in annotations:
        pixels[found["image_id"]] += 0 if found["iscrowd"] else found["area"]
    things = defaultdict(list)
    for found in annotations:
        if pixels[found["image_id"]] >= MIN_PIXELS:
            label, shape = labels_of[found["category_id"]], found["segmentation"]
            if isinstance(shape, list):
                shape = [np.array(polygon, "float64") for polygon in shape]  # an eighth of a list
            things[found["image_id"]].append(_Thing(label, bool(found["iscrowd"]), shape))
    return {
        image["file_name"]: ((image["height"], image["width"]), things[image["id"]])
        for image in content["images"]
        if image["id"] in things
    }


def _list_segments(content: dict[str, Any]) -> dict[str, dict[Color, int]]:
    """The label of each colour in each label map that has enough labels, by its file's name."""
    labels_of = _labels_of_categories(content)
    found = {}
    for annotation in content["annotations"]:
        colors, pixels = {(0, 0, 0): CLASSES.ignore}, 0
        for segment in annotation["segments_info"]:
            label = labels_of.get(segment["category_id"], 0)
            colors[_color(segment["id"])] = CLASSES.ignore if segment["iscrowd"] else label
            pixels += segment["area"] if label and not segment["iscrowd"] else 0
        if pixels >= MIN_PIXELS:
            found[annotation["file_name"]] = colors
    return found


def _labels_of_categories(content: dict[str, Any]) -> dict[int, int]:
    ids = {category["name"]: category["id"] for category in content["categories"]}
    classes = enumerate(CLASSES.names[1:], start=1)
    return {ids[_COCO_NAMES.get(name, name)]: label for label, name in classes}


def _color(segment: int) -> Color:
    """The colour of a segment: its number is red + 256 green + 65536 blue."""
    return segment & 255, segment >> 8 & 255, segment >> 16


def _draw(thing: _Thing, size: tuple[int, int], example: Example) -> np.ndarray:
    """The thing's pixels, bool (H, W)."""
    shape = thing.shape
    if isinstance(shape, list):
        if not shape or any(len(polygon) < 6 or len(polygon) % 2 for polygon in shape):
            raise ImageError(
                f"{example.label}: picture {example.name} has a polygon that is not three points "
                "or more, each of two numbers."
            )
        shape = coco_mask.merge(coco_mask.frPyObjects(shape, *size))
    elif isinstance(shape["counts"], list):
        shape = coco_mask.frPyObjects(shape, *size)
    return coco_mask.decode(shape).astype(bool)
