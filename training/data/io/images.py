"""Read label maps from files of any mode, or raise a clear error."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.io.images import ImageError, open_upright

# Colours that are ignored in a colour label map, unless a class has one of them: black and white,
# and the border of PASCAL VOC.
IGNORE_COLORS = ((0, 0, 0), (255, 255, 255), (224, 224, 192))

_WHITE = (255, 255, 255)
_LOSSY = ("JPEG", "MPO", "AVIF")

Color = tuple[int, int, int]


class LabelError(ImageError):
    """A label map with values or colours that belong to no class."""


def read_label(
    path: Path,
    classes: Classes,
    values: Mapping[int, int] | None = None,
    *,
    prefers_colors: bool = False,
) -> np.ndarray:
    """Read a label map: numbers (grey or palette, 8 or 16 bits, floats) or the classes' colours.

    Args:
        path: a lossless file. Grey and palette files hold numbers. Files in RGB hold colours,
            matched exactly with `classes.colors`; `IGNORE_COLORS` that no class has are the ignore
            label. Transparent pixels are black.
        classes: the classes to expect.
        values: the label of each number, also as a grey in RGB files; None: the numbers are the
            labels. Then a grey file of 0 and 255 alone, and one in RGB of black and a white that
            is no class's, are refused: drawing programs save masks of two classes so, whose
            objects would be ignored. So is a palette with other classes' colours: programs that
            make files smaller order it as they like.
        prefers_colors: read a palette by its colours instead, if they are all classes'.

    Returns:
        uint8 (H, W): 0..L-1 or `classes.ignore`.

    Raises:
        LabelError: on a value or colour of no class, with the position of one such pixel, and on
            a mask of two classes and a palette as above.
        ImageError: if the file is missing, truncated, empty, lossy, or of another mode.
    """
    image, stretch = _open_map(path)
    labels_by_color = {color: classes.ignore for color in IGNORE_COLORS}
    labels_by_color |= {(v, v, v): label for v, label in (values or {}).items() if v < 256}
    labels_by_color |= {color: label for label, color in enumerate(classes.colors)}
    if _has_colors(image):
        labels = match_colors(_colors(image), labels_by_color, path)
        if values is None and _WHITE not in classes.colors:
            greys = np.unique(_pack(_colors(image)))
            _check_mask([_unpack(key)[0] for key in greys if _is_grey(key)], len(greys), path)
        return labels
    numbers = _indices(image, stretch, path)
    by_palette = _labels_by_palette(image, labels_by_color, classes)
    if prefers_colors and by_palette:
        return match_values(numbers, by_palette, path)
    if values is not None:
        if image.mode == "1" and 1 not in values:
            numbers = 255 * numbers  # as viewers show it
        return match_values(numbers, values, path)
    labels = match_labels(numbers, classes, path)
    _check_palette(by_palette, classes, path)
    if image.mode != "P" and classes.ignore == 255:  # tools for label maps write palettes
        present = np.unique(numbers).tolist()
        _check_mask(present, len(present), path)
    return labels


def read_indices(path: Path | BinaryIO) -> np.ndarray:
    """Read the numbers of a grey or palette map unchanged, for `match_values`.

    Args:
        path: a file, or its content as in `read_image`.

    Returns:
        uint8, int64 or, of a map of floats, float32 (H, W).

    Raises:
        ImageError: as `read_label`, and on a map in colours.
    """
    image, stretch = _open_map(path)
    if _has_colors(image):
        raise ImageError(f"{path}: expected a map in grey or palette, received mode {image.mode}.")
    return _indices(image, stretch, path)


def read_colors(path: Path) -> np.ndarray:
    """Read the colours of a map unchanged, for `match_colors`.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: as `read_label`, and on a map of numbers.
    """
    image, _ = _open_map(path)
    if not _has_colors(image):
        raise ImageError(f"{path}: expected a map in RGB, received mode {image.mode}.")
    return _colors(image)


def match_labels(values: np.ndarray, classes: Classes, path: Path | str) -> np.ndarray:
    """Return labels for numbers that are the labels themselves.

    Args:
        values: integers (H, W), 0..L-1 or `classes.ignore`.
        classes: the classes to expect.
        path: their source, which the message names.

    Returns:
        uint8 (H, W).

    Raises:
        LabelError: as `match_values`.
    """
    labels_by_id = {label: label for label in (*range(classes.num_classes), classes.ignore)}
    return match_values(values, labels_by_id, path, classes.ignore)


def match_values(
    values: np.ndarray, labels_by_id: Mapping[int, int], path: Path | str, ignore: int | None = None
) -> np.ndarray:
    """Return labels for the numbers that a dataset has in its maps.

    Args:
        values: numbers (H, W).
        labels_by_id: the label, 0..255, of each allowed number, 0 or more.
        path: their source, which the message names.
        ignore: the ignored number, for the message.

    Returns:
        uint8 (H, W).

    Raises:
        LabelError: on another number, with the position of one such pixel.
    """
    beyond = max(255, *labels_by_id) + 1
    table = np.full(beyond + 1, -1, "int16")
    table[list(labels_by_id)] = list(labels_by_id.values())
    indices = values
    if values.dtype != np.uint8:  # which the table covers
        is_covered = (values >= 0) & (values < beyond) & (values == np.floor(values))
        indices = np.where(is_covered, values, beyond).astype("int64")
    labels = table[indices]
    wrong = labels < 0
    if wrong.any():
        y, x = _first(wrong)
        expected = _ranges(value for value in labels_by_id if value != ignore)
        also = "" if ignore is None else f" or {ignore} (ignored)"
        raise LabelError(
            f"{path}: value {values[y, x]} at x={x}, y={y}; expected {expected}{also}. "
            f"All such values: {_shortened(np.unique(values[wrong]))}."
        )
    return labels.astype("uint8")


def match_colors(
    pixels: np.ndarray, labels_by_color: Mapping[Color, int], path: Path
) -> np.ndarray:
    """Return labels for the colours that a dataset has in its maps.

    Args:
        pixels: uint8 (H, W, 3).
        labels_by_color: the label, 0..255, of each allowed colour.
        path: their source, which the message names.

    Returns:
        uint8 (H, W).

    Raises:
        LabelError: on another colour, with the position of one such pixel.
    """
    keys = np.array(sorted(_pack(np.array(list(labels_by_color)))))
    packed = _pack(pixels)  # (H, W)
    indices = np.minimum(np.searchsorted(keys, packed), len(keys) - 1)
    wrong = keys[indices] != packed
    if wrong.any():
        y, x = _first(wrong)
        unknown = _shortened(np.unique(packed[wrong]), _unpack)
        raise LabelError(
            f"{path}: colour {_unpack(packed[y, x])} at x={x}, y={y} belongs to no class. "
            f"All such colours: {unknown}."
        )
    return np.array([labels_by_color[_unpack(key)] for key in keys], "uint8")[indices]


def size_message(image: Path, pixels: np.ndarray, label: Path, labels: np.ndarray) -> str:
    """Return the message for an image and a label map of different sizes."""
    (h, w), (label_h, label_w) = pixels.shape[:2], labels.shape
    return f"{label}: {label_w}x{label_h} pixels, but {image} has {w}x{h}; they must agree."


def _check_mask(greys: list[int], count: int, path: object) -> None:
    """Refuse a label map of black and white alone."""
    if count == 2 and sorted(greys) == [0, 255]:
        raise LabelError(
            f"{path}: its only values are 0 and 255, and 255 would be ignored. Write what they "
            'are into classes.json: "values": {"0": NAME, "255": NAME}, or null instead of a name '
            "for ignored pixels."
        )


def _labels_by_palette(
    image: Image.Image, labels_by_color: Mapping[Color, int], classes: Classes
) -> dict[int, int]:
    """Return the label of each number in a palette map by its colour or grey, if all have one."""
    if image.mode != "P":
        return {}
    rows: list[list[int]] = np.reshape(image.getpalette("RGB") or [], (-1, 3)).tolist()
    palette: list[Color] = [(red, green, blue) for red, green, blue in rows]
    used: list[int] = np.flatnonzero(image.histogram()).tolist()
    colors = {n: palette[n] for n in used if n < len(palette)}
    greys = {(label, label, label): label for label in range(1, classes.num_classes)}
    known: dict[Any, int] = {**greys, **labels_by_color}
    shown = {*colors.values()}
    tells = len(colors) == len(used) and shown <= known.keys()
    tells = tells and not shown.isdisjoint((*classes.colors, *greys))
    is_grey_scale = colors == {n: (n, n, n) for n in used}
    return {n: known[color] for n, color in colors.items()} if tells and not is_grey_scale else {}


def _check_palette(by_palette: Mapping[int, int], classes: Classes, path: object) -> None:
    """Refuse a map whose palette shows a number in the colour of another class."""
    for number, label in by_palette.items():
        if label not in (number, classes.ignore):
            raise LabelError(
                f"{path}: its palette shows the number {number} in the colour of "
                f"{classes.names[label]!r}, class {label}. If colours count, save it in RGB; if "
                'numbers do, write them into classes.json: "values": {"0": NAME, ...}.'
            )


def _is_grey(key: int) -> bool:
    return len(set(_unpack(key))) == 1


def _open_map(path: Path | BinaryIO) -> tuple[Image.Image, float]:
    """Open a file whose values must be exact; as `open_upright`."""
    image, stretch = open_upright(path)
    if image.format in _LOSSY or image.info.get("compression") == "jpeg":  # in a TIFF
        raise ImageError(f"{path}: {image.format} changes labels; save label maps as PNG.")
    return image, stretch


def _has_colors(image: Image.Image) -> bool:
    return image.mode in ("RGB", "RGBA")


def _colors(image: Image.Image) -> np.ndarray:
    """Return the colours of a map (H, W, 3); transparent pixels, whose colour is any, are black."""
    pixels = np.asarray(image)
    return pixels[..., :3] if image.mode == "RGB" else pixels[..., :3] * (pixels[..., 3:] > 0)


def _indices(image: Image.Image, stretch: float, path: object) -> np.ndarray:
    if image.mode not in ("1", "L", "P", "F") and not image.mode.startswith("I"):
        raise ImageError(
            f"{path}: expected a label map in grey, palette or RGB, received mode {image.mode}."
        )
    values = np.asarray(image)
    if stretch != 1:
        values = np.rint(values / stretch).astype(values.dtype)
    return values if values.dtype == np.uint8 or image.mode == "F" else values.astype("int64")


def _first(wrong: np.ndarray) -> tuple[int, int]:
    """Return row and column of the first pixel, without a list of all, which may be 100 million."""
    y, x = np.unravel_index(np.argmax(wrong), wrong.shape)
    return int(y), int(x)


def _pack(colors: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) as one number each, int32 (...)."""
    red, green, blue = np.moveaxis(colors.astype("int32"), -1, 0)
    return red << 16 | green << 8 | blue


def _unpack(number: int) -> Color:
    return int(number) >> 16, int(number) >> 8 & 255, int(number) & 255


def _ranges(values: Iterable[int]) -> str:
    """Return integers as text: 0..20, or 0..5, 7 if one is missing."""
    ends: list[list[int]] = []
    for value in sorted(values):
        if ends and value == ends[-1][1] + 1:
            ends[-1][1] = value
        else:
            ends.append([value, value])
    return ", ".join(f"{a}..{b}" if a < b else f"{a}" for a, b in ends)


def _shortened(values: np.ndarray, name: Callable[[Any], Any] = lambda value: value) -> str:
    """Return the names of the first of some numbers, which may be millions, as text."""
    shown = ", ".join(str(name(value)) for value in values[:8].tolist())
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values)} in all)"
