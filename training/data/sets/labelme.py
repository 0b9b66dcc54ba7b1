"""Polygons as labelme writes them: a JSON file next to each image."""

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.io.formats import list_visible
from keras_dpn.io.images import ImageError

from ...utils.files import NamedBytes
from ..dataset import Example, read_file, read_lines
from ..io.images import read_indices
from ..io.shapes import check_size, draw_shape
from .base import FileDataset, find_file
from .voc import color_map

_BACKGROUND, _IGNORED = "_background_", "__ignore__"  # labelme's names
_SPLITS = {"valid": "val", "validation": "val"}
_CIRCLE_POINTS = 64


class LabelmeDataset(FileDataset):
    """Images with labelme's polygons, rectangles, circles and masks.

    Later shapes cover earlier ones, as labelme draws them. Shapes labelled `__ignore__` are
    ignored; label 0 is background. The colours are PASCAL VOC's.

    Args:
        data_dir: holds for each split a directory, `train/`, `val/`..., with labelme's JSON files,
            each naming its image by a path relative to it, or one that is next to it now;
            subdirectories are allowed.
            `labels.txt`, labelme's list of labels, one per line, gives the classes' order; without
            it they are sorted by name.

    Raises:
        ValueError: if there is no such file, one isn't labelme's, an image is outside of the
            directory, or a label isn't in the list.
    """

    name = "labelme"

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        self._shapes: dict[Example, tuple[tuple[int, int], list[dict[str, Any]]]] = {}
        self.splits = {}
        for folder in filter(Path.is_dir, list_visible(data_dir)):
            examples: list[Example] = []
            for file in list_visible(folder, "**/*.json"):
                example, size, shapes = _read_file(file, data_dir, len(examples))
                self._shapes[example] = size, shapes
                examples.append(example)
            if examples:
                self.splits[_SPLITS.get(folder.name, folder.name)] = tuple(examples)
        if not self.splits:
            raise ValueError(f"{data_dir}: expected train/, val/... with labelme's JSON files.")
        self.classes = self._read_classes(data_dir / "labels.txt")

    def read_labels(self, example: Example) -> np.ndarray:
        size, shapes = self._shapes[example]
        check_size(size, example)
        labels = np.zeros(size, "uint8")
        for shape in shapes:
            is_ignored = shape["label"] == _IGNORED
            label = self.classes.ignore if is_ignored else self._label(shape["label"])
            labels[_draw(shape, size, example)] = label
        return labels

    def _label(self, name: str) -> int:
        return 0 if name == _BACKGROUND else self.classes.names.index(name)

    def _read_classes(self, path: Path) -> Classes:
        used = {shape["label"] for _, shapes in self._shapes.values() for shape in shapes}
        if path.is_file():
            listed = [line.strip() for line in read_lines(path) if line.strip()]
            if unknown := sorted(used - {*listed, _IGNORED, _BACKGROUND}):
                raise ValueError(f"{path}: expected all labels, {unknown} are missing.")
        else:
            listed = sorted(used)
        names = [name for name in listed if name not in (_IGNORED, _BACKGROUND, "background")]
        try:
            return Classes(("background", *names), color_map(1 + len(names)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _read_file(
    path: Path, data_dir: Path, index: int
) -> tuple[Example, tuple[int, int], list[dict[str, Any]]]:
    """Return the example of a file, the size that it says and its shapes."""
    try:
        content = json.loads(read_file(path))
        shapes = [dict(shape) for shape in content["shapes"]]
        size = content["imageHeight"], content["imageWidth"]
        named = PurePosixPath(str(content["imagePath"]).replace("\\", "/"))
        # The second where both files were moved.
        image = find_file(path.parent / named, path.parent / named.name)
        if not all(isinstance(shape["label"], str) and shape["label"] for shape in shapes):
            raise ValueError("a shape without a label")
        is_inside = image.resolve().is_relative_to(data_dir.resolve())
    # RuntimeError: nested too deep, or links in a circle.
    except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
        raise ValueError(f"{path}: expected labelme's annotations; {error!r}.") from error
    if not is_inside:
        raise ValueError(f"{path}: expected an image in {data_dir}, received {image}.")
    name = path.relative_to(data_dir).with_suffix("").as_posix()
    return Example(name, image, path, index), size, shapes


def _draw(shape: dict[str, Any], size: tuple[int, int], example: Example) -> np.ndarray:
    """Return the pixels of a shape, bool (H, W)."""
    if shape.get("shape_type") != "mask":
        return draw_shape([_polygon(shape, example)], size, example)
    try:
        left, top = (int(value) for value in shape["points"][0])
        content = base64.b64decode(shape["mask"])
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ImageError(f"{example.label_file}: expected a mask, received {error!r}.") from error
    mask = read_indices(NamedBytes(content, f"{example.label_file}, a mask"))
    inside = np.zeros(size, bool)
    part = inside[max(top, 0) :, max(left, 0) :]
    if top < 0 or left < 0 or any(a > b for a, b in zip(mask.shape, part.shape, strict=True)):
        raise ImageError(f"{example.label_file}: a mask leads out of the image.")
    part[: mask.shape[0], : mask.shape[1]] = mask > 0
    return inside


def _polygon(shape: dict[str, Any], example: Example) -> np.ndarray:
    """Return x and y of a shape's corners in turn."""
    kind = shape.get("shape_type") or "polygon"
    try:
        points = np.array(shape["points"], "float64").reshape(-1, 2)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ImageError(f"{example.label_file}: expected points, received {error!r}.") from error
    if kind == "polygon":
        return points.ravel()
    if kind == "rectangle" and len(points) in (2, 4):
        return np.array([*_rectangle(points)]).ravel() if len(points) == 2 else points.ravel()
    if kind == "circle" and len(points) == 2:
        angles = np.linspace(0, 2 * math.pi, _CIRCLE_POINTS, endpoint=False)
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        return (points[0] + math.dist(*points) * directions).ravel()
    raise ImageError(
        f"{example.label_file}: expected polygons, rectangles, circles and masks, received "
        f"{kind!r} of {len(points)} points, label {shape['label']!r}."
    )


def _rectangle(points: np.ndarray) -> Iterator[tuple[float, float]]:
    (left, top), (right, bottom) = points
    yield from ((left, top), (right, top), (right, bottom), (left, bottom))
