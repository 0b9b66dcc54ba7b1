"""Polygons in COCO's format with classes of their own, as CVAT, Roboflow and others export them."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.io.formats import list_visible

from ..dataset import Example
from .base import FileDataset, find_file
from .coco import AnnotatedObject, draw_objects, extract, objects_by_image, read_annotations
from .voc import color_map

_BACKGROUND = "background"
# Names of splits in exports, by those of this package.
_SPLITS = {"valid": "val", "validation": "val"}


class CocoJsonDataset(FileDataset):
    """Images with objects in files of COCO's format; their categories are the classes.

    Label 0 is background, also where no category is named so; then come the categories in the
    order of their numbers, without those that are only another's supercategory. Pixels where
    objects of two classes overlap, in crowds, and in the boxes of objects that have nothing but a
    box are ignored. The colours are PASCAL VOC's.

    Args:
        data_dir: holds for each split either `SPLIT/_annotations.coco.json` next to its images
            (Roboflow), or `annotations/instances_SPLIT.json` (CVAT, Datumaro) or `SPLIT.json`,
            whose images are in `images/SPLIT/`, `images/` or `SPLIT/`. "valid" is the split "val".

    Raises:
        ValueError: if there is no such file, one isn't in COCO's format, or an image's name leads
            out of the directory.
    """

    name = "coco_json"

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        contents = {
            split: (path, read_annotations(path, lambda content: content))
            for split, path in _find_files(data_dir)
        }
        if not contents:
            raise ValueError(
                f"{data_dir}: expected SPLIT/_annotations.coco.json, "
                "annotations/instances_SPLIT.json or SPLIT.json; none there."
            )
        self.classes = _read_classes([content for _, content in contents.values()], data_dir)
        self._objects: dict[Example, tuple[tuple[int, int], list[AnnotatedObject]]] = {}
        self.splits = {
            split: self._list_examples(data_dir, split, path, content)
            for split, (path, content) in contents.items()
        }

    def read_labels(self, example: Example) -> np.ndarray:
        size, objects = self._objects[example]
        return draw_objects(objects, size, example, self.classes.ignore)

    def _list_examples(
        self, data_dir: Path, split: str, path: Path, content: dict[str, Any]
    ) -> tuple[Example, ...]:
        folders = [path.parent] if path.name.startswith("_") else []
        folders += [data_dir / "images" / path.stem.removeprefix("instances_")]
        folders += [data_dir / "images" / split, data_dir / "images", data_dir / split, data_dir]

        def list_images(content: dict[str, Any]) -> dict[Example, Any]:
            labels = {
                category["id"]: self.classes.names.index(category["name"])
                for category in content["categories"]
                if category["name"] in self.classes.names
            }
            objects = objects_by_image(content["annotations"], labels)
            found = {}
            for index, image in enumerate(content["images"]):
                name = _file_below(image["file_name"])
                file = find_file(*(folder / name for folder in folders))
                example = Example(name.with_suffix("").as_posix(), file, path, index)
                found[example] = (image["height"], image["width"]), objects[image["id"]]
            return found

        examples = extract(path, content, list_images)
        self._objects |= examples
        return tuple(examples)


def _find_files(data_dir: Path) -> Iterator[tuple[str, Path]]:
    """Yield splits and their files of annotations."""
    for path in list_visible(data_dir, "*/_annotations.coco.json"):
        yield _SPLITS.get(path.parent.name, path.parent.name), path
    for path in list_visible(data_dir / "annotations", "instances_*.json"):
        split = path.stem.removeprefix("instances_")
        yield _SPLITS.get(split, split), path
    for path in list_visible(data_dir, "*.json"):
        yield _SPLITS.get(path.stem, path.stem), path


def _read_classes(contents: list[dict[str, Any]], data_dir: Path) -> Classes:
    """Return background and the categories of all splits, in the order of their numbers."""
    try:
        categories = sorted(
            {(c["id"], c["name"]) for content in contents for c in content["categories"]}
        )
        used = {a["category_id"] for content in contents for a in content["annotations"]}
        groups = {
            c.get("supercategory")
            for content in contents
            for c in content["categories"]
            if c.get("supercategory") != c["name"]
        }
        names = [name for number, name in categories if number in used or name not in groups]
        classes = dict.fromkeys([_BACKGROUND, *names])
        return Classes(tuple(classes), color_map(len(classes)))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{data_dir}: expected COCO's categories; {error!r}.") from error


def _file_below(name: Any) -> PurePosixPath:
    """Return an image's name, with its directories below that of the images."""
    path = PurePosixPath(name) if isinstance(name, str) else PurePosixPath("..")
    if path.is_absolute() or ".." in path.parts or "\\" in str(name) or ":" in str(name):
        raise ValueError(
            f"expected the name of a file below the images' directory, received {name!r}"
        )
    return path
