"""COCO 2017 with PASCAL VOC's 20 classes and background, for pre-training.

From https://cocodataset.org: train2017.zip and val2017.zip with annotations_trainval2017.zip
(instances) or panoptic_annotations_trainval2017.zip, unpacked in one directory, and so are the
archives that the latter holds. The annotations are under CC BY 4.0; the images are from Flickr,
whose terms of use hold for them. Names and palette of the classes are VOC's.

    split  images, before those with few labels are left out
    train    118287
    val        5000

An image is in a split if its objects of the 20 classes, without crowds, have at least `MIN_PIXELS`
pixels, by the areas in COCO's files. Objects of COCO's other categories are background, as in VOC.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..dataset import Example, read_file
from ..io.images import Color, match_colors, read_colors
from ..io.shapes import check_size, draw_shape
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


class AnnotatedObject(NamedTuple):
    """One object, or a crowd, and its shape: polygons, or runs as a dictionary."""

    label: int
    is_crowd: bool
    shape: list[np.ndarray] | dict[str, Any]


def draw_objects(
    objects: Iterable[AnnotatedObject], size: tuple[int, int], example: Example, ignore: int
) -> np.ndarray:
    """Draw objects on background, label 0.

    Args:
        objects: the objects. Pixels of objects of two classes, and of crowds, are ignored.
        size: height and width of the image.
        example: the image, and the file of annotations.
        ignore: the ignore label.

    Returns:
        uint8 (H, W).

    Raises:
        ImageError: if a shape can't be drawn, or the size can't be the image's.
    """
    check_size(size, example)
    labels = np.zeros(size, "uint8")
    for item in sorted(objects, key=lambda item: item.is_crowd):
        inside = draw_shape(item.shape, size, example)
        if item.is_crowd:
            labels[inside & (labels == 0)] = ignore
        else:
            other = inside & (labels != 0) & (labels != item.label)
            labels[inside] = item.label
            labels[other] = ignore
    return labels


class CocoDataset(FileDataset):
    """COCO's instances.

    Pixels where objects of two classes overlap, in crowds and in boxes without a shape are ignored:
    the files don't say which object is in front, nor which pixels of a crowd are objects.

    Args:
        data_dir: holds `annotations/instances_train2017.json` or `..._val2017.json` or both, and
            `train2017/` and `val2017/`. Reading the training file takes about 20 s and 3 GB.

    Raises:
        ValueError: if neither file is there, or one isn't in COCO's format.
    """

    name = "coco"
    classes = CLASSES

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        self.splits = {}
        self._objects: dict[str, tuple[tuple[int, int], list[AnnotatedObject]]] = {}
        for split, path in _find_files(data_dir, "instances").items():
            objects = read_annotations(path, _list_objects)
            self._objects |= objects
            self.splits[split] = tuple(
                Example(Path(name).stem, data_dir / f"{split}2017" / name, path, index)
                for index, name in enumerate(objects)
            )

    def read_labels(self, example: Example) -> np.ndarray:
        size, objects = self._objects[example.image_file.name]
        return draw_objects(objects, size, example, CLASSES.ignore)


class CocoPanopticDataset(FileDataset):
    """COCO's panoptic annotations, which label every pixel.

    Pixels without an annotation, and crowds, are ignored.

    Args:
        data_dir: holds `annotations/panoptic_train2017.json` or `..._val2017.json` or both, each
            next to a directory of that name with PNG files, and `train2017/` and `val2017/`.

    Raises:
        ValueError: if neither file is there, or one isn't in COCO's format.
    """

    name = "coco_panoptic"
    classes = CLASSES

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        self.splits = {}
        self._labels_by_color: dict[str, dict[Color, int]] = {}
        for split, path in _find_files(data_dir, "panoptic").items():
            segments = read_annotations(path, _list_segments)
            self._labels_by_color |= segments
            self.splits[split] = tuple(
                Example(
                    Path(name).stem,
                    data_dir / f"{split}2017" / f"{Path(name).stem}.jpg",
                    path.with_suffix("") / name,
                    index,
                )
                for index, name in enumerate(segments)
            )

    def read_labels(self, example: Example) -> np.ndarray:
        pixels = read_colors(example.label_file)
        return match_colors(
            pixels, self._labels_by_color[example.label_file.name], example.label_file
        )


def _find_files(data_dir: Path, annotations: str) -> dict[str, Path]:
    paths = {
        split: data_dir / "annotations" / f"{annotations}_{split}2017.json"
        for split in ("train", "val")
    }
    present = {split: path for split, path in paths.items() if path.is_file()}
    if not present:
        names = " or ".join(path.name for path in paths.values())
        raise ValueError(f"{data_dir / 'annotations'}: expected COCO's {names}; neither there.")
    return present


def read_annotations(path: Path, list_labels: Callable[[dict[str, Any]], T]) -> T:
    """Return what a function extracts from a file of annotations.

    Raises:
        ValueError: naming the file, if it isn't JSON, or the function raises KeyError, ValueError,
            TypeError, AttributeError or OverflowError.
    """
    try:
        content = json.loads(read_file(path))
    except (ValueError, RecursionError) as error:  # Unicode's errors are ValueErrors too
        raise ValueError(f"{path}: expected JSON, received {error}.") from None
    return extract(path, content, list_labels)


def extract(path: Path, content: Any, list_labels: Callable[[dict[str, Any]], T]) -> T:
    """Return what a function extracts from the content of a file, as `read_annotations`."""
    try:
        return list_labels(content)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected COCO's annotations; {error!r}.") from error


def _file_name(name: Any) -> str:
    """Return a file's name; ValueError if it has a directory, which could be any."""
    if not isinstance(name, str) or Path(name).name != name or "\\" in name:
        raise ValueError(f"expected the name of a file without its directory, received {name!r}")
    return name


def _list_objects(
    content: dict[str, Any],
) -> dict[str, tuple[tuple[int, int], list[AnnotatedObject]]]:
    """Return size and objects of each image that has enough labels, by its file's name."""
    labels = _labels_by_category(content)
    annotations = [a for a in content["annotations"] if a["category_id"] in labels]
    pixels: Counter[int] = Counter()
    for annotation in annotations:
        pixels[annotation["image_id"]] += 0 if annotation["iscrowd"] else annotation["area"]
    enough = (a for a in annotations if pixels[a["image_id"]] >= MIN_PIXELS)
    objects = objects_by_image(enough, labels)
    return {
        _file_name(image["file_name"]): ((image["height"], image["width"]), objects[image["id"]])
        for image in content["images"]
        if image["id"] in objects
    }


def objects_by_image(
    annotations: Iterable[dict[str, Any]], labels: Mapping[int, int]
) -> defaultdict[int, list[AnnotatedObject]]:
    """Return the objects of COCO's annotations by their images' numbers.

    Args:
        annotations: of objects.
        labels: the label of each category.
    """
    objects: defaultdict[int, list[AnnotatedObject]] = defaultdict(list)
    for annotation in annotations:
        label, is_crowd = labels[annotation["category_id"]], bool(annotation.get("iscrowd", 0))
        shape = annotation.get("segmentation") or []  # null, too
        if shape == [] and annotation.get("bbox"):
            # Which pixels of the box are the object's isn't known, as in a crowd.
            (x, y, width, height), is_crowd = annotation["bbox"], True
            right, bottom = x + width, y + height
            shape = [[x, y, right, y, right, bottom, x, bottom]]
        if isinstance(shape, list):
            # An eighth of a list's memory.
            shape = [np.array(polygon, "float64") for polygon in shape]
        objects[annotation["image_id"]].append(AnnotatedObject(label, is_crowd, shape))
    return objects


def _list_segments(content: dict[str, Any]) -> dict[str, dict[Color, int]]:
    """Return the label of each colour in each map with enough labels, by its file's name."""
    labels = _labels_by_category(content)
    maps = {}
    for annotation in content["annotations"]:
        colors, pixels = {(0, 0, 0): CLASSES.ignore}, 0
        for segment in annotation["segments_info"]:
            label = labels.get(segment["category_id"], 0)
            colors[_color(segment["id"])] = CLASSES.ignore if segment["iscrowd"] else label
            pixels += segment["area"] if label and not segment["iscrowd"] else 0
        if pixels >= MIN_PIXELS:
            maps[_file_name(annotation["file_name"])] = colors
    return maps


def _labels_by_category(content: dict[str, Any]) -> dict[int, int]:
    ids = {category["name"]: category["id"] for category in content["categories"]}
    names = {
        _COCO_NAMES.get(name, name): label for label, name in enumerate(CLASSES.names) if label
    }
    labels = {ids[name]: label for name, label in names.items() if name in ids}
    if not labels:
        raise ValueError(
            f"expected some of PASCAL VOC's classes among the categories, received {[*ids]}; the "
            "dataset coco_json takes a file's own categories"
        )
    return labels


def _color(segment: int) -> Color:
    """Return the colour of a segment: its number is red + 256 green + 65536 blue."""
    return segment & 255, segment >> 8 & 255, segment >> 16
