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
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from pycocotools import mask as coco_mask

from keras_dpn.io.images import ImageError, open_header

from ..dataset import Example
from ..io.images import Color, match_colors, read_colors
from .base import FileDataset
from .voc import CLASSES

MIN_PIXELS = 1000
# Label maps of up to N pixels are drawn even if the image is smaller, or missing.
_MIN_LIMIT = 2**22

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


class _Object(NamedTuple):
    """One object, or a crowd, and its shape: polygons, or runs as a dictionary."""

    label: int
    is_crowd: bool
    shape: list[np.ndarray] | dict[str, Any]


class CocoDataset(FileDataset):
    """COCO's instances.

    Pixels where objects of two classes overlap, and in crowds, are ignored: the files don't say
    which object is in front, nor which pixels of a crowd are objects.

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
        self._objects: dict[str, tuple[tuple[int, int], list[_Object]]] = {}
        for split, path in _find_files(data_dir, "instances").items():
            objects = _read_file(path, _list_objects)
            self._objects |= objects
            self.splits[split] = tuple(
                Example(Path(name).stem, data_dir / f"{split}2017" / name, path, index)
                for index, name in enumerate(objects)
            )

    def read_labels(self, example: Example) -> np.ndarray:
        size, objects = self._objects[example.image_file.name]
        _check_size(size, example)
        labels = np.zeros(size, "uint8")
        for item in sorted(objects, key=lambda item: item.is_crowd):
            inside = _draw(item, size, example)
            if item.is_crowd:
                labels[inside & (labels == 0)] = CLASSES.ignore
            else:
                other = inside & (labels != 0) & (labels != item.label)
                labels[inside] = item.label
                labels[other] = CLASSES.ignore
        return labels


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
            segments = _read_file(path, _list_segments)
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


def _read_file(path: Path, list_labels: Callable[[dict[str, Any]], dict[str, T]]) -> dict[str, T]:
    """Return what a function extracts from a file of annotations."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # Unicode's errors are ValueErrors too
        raise ValueError(f"{path}: expected JSON, received {error}.") from None
    try:
        return list_labels(content)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected COCO's annotations; {error!r}.") from error


def _file_name(name: Any) -> str:
    """Return a file's name; ValueError if it has a directory, which could be any."""
    if not isinstance(name, str) or Path(name).name != name or "\\" in name:
        raise ValueError(f"expected the name of a file without its directory, received {name!r}")
    return name


def _list_objects(content: dict[str, Any]) -> dict[str, tuple[tuple[int, int], list[_Object]]]:
    """Return size and objects of each image that has enough labels, by its file's name."""
    labels = _labels_by_category(content)
    annotations = [a for a in content["annotations"] if a["category_id"] in labels]
    pixels: Counter[int] = Counter()
    for annotation in annotations:
        pixels[annotation["image_id"]] += 0 if annotation["iscrowd"] else annotation["area"]
    objects: defaultdict[int, list[_Object]] = defaultdict(list)
    for annotation in annotations:
        if pixels[annotation["image_id"]] >= MIN_PIXELS:
            label, shape = labels[annotation["category_id"]], annotation["segmentation"]
            if isinstance(shape, list):
                shape = [
                    np.array(polygon, "float64") for polygon in shape
                ]  # an eighth of a list's memory
            item = _Object(label, bool(annotation["iscrowd"]), shape)
            objects[annotation["image_id"]].append(item)
    return {
        _file_name(image["file_name"]): ((image["height"], image["width"]), objects[image["id"]])
        for image in content["images"]
        if image["id"] in objects
    }


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
    classes = enumerate(CLASSES.names[1:], start=1)
    return {ids[_COCO_NAMES.get(name, name)]: label for label, name in classes}


def _color(segment: int) -> Color:
    """Return the colour of a segment: its number is red + 256 green + 65536 blue."""
    return segment & 255, segment >> 8 & 255, segment >> 16


def _check_size(size: tuple[Any, Any], example: Example) -> None:
    """Check what the annotations say against the image's header, before memory is taken."""
    if any(not isinstance(side, int) or side < 1 for side in size):
        raise ImageError(
            f"{example.label_file}: image {example.name} has the height and width {size}; expected "
            "positive integers."
        )
    limit = _MIN_LIMIT
    if example.image_file.is_file():
        limit = max(limit, 4 * math.prod(open_header(example.image_file)))
    if math.prod(size) > limit:
        raise ImageError(
            f"{example.label_file}: image {example.name} has {size[1]}x{size[0]} pixels there, "
            f"more than {example.image_file}; they must agree."
        )


def _draw(item: _Object, size: tuple[int, int], example: Example) -> np.ndarray:
    """Return the pixels of an object, bool (H, W)."""
    try:
        mask = coco_mask.decode(_runs(item.shape, size)).astype(bool)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ImageError(
            f"{example.label_file}: image {example.name} has an object whose shape can't be drawn "
            f"({error})."
        ) from error
    return mask


def _runs(shape: Any, size: tuple[int, int]) -> Any:
    """Return the runs of an object for pycocotools, which takes any number without a check."""
    if isinstance(shape, list):
        if not shape or any(p.ndim != 1 or len(p) < 6 or len(p) % 2 for p in shape):
            raise ValueError("a polygon that isn't at least three points of two numbers each")
        # Further out, the time and the memory of drawing grow with the distance.
        if not all((np.abs(polygon) <= 2 * max(size)).all() for polygon in shape):
            raise ValueError("a polygon with a number that is far outside of the image")
        return coco_mask.merge(coco_mask.frPyObjects(shape, *size))
    if tuple(shape["size"]) != size:
        raise ValueError(f"runs for {shape['size']}, the image has {list(size)}")
    counts = shape["counts"]
    if not isinstance(counts, list):
        counts = _uncompressed(counts.encode("ascii"))
    if any(not isinstance(n, int) or n < 0 for n in counts) or sum(counts) != size[0] * size[1]:
        raise ValueError("runs that don't fill the image")
    return coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)


def _uncompressed(text: bytes) -> list[int]:
    """Return the lengths of the runs in pycocotools' text, which it decodes without a check.

    Each is the difference to the length two runs before, in groups of five bits, the lowest first;
    48 + 32 marks that another group follows, and the highest bit of the last is the sign.
    """
    counts: list[int] = []
    number = shift = 0
    for code in text:
        number |= (code - 48 & 31) << shift
        shift += 5
        if code - 48 & 32:
            continue
        if code - 48 & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("runs whose text is truncated")
    return counts
