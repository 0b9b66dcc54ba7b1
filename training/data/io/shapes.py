"""Draw the polygons and runs of annotations, which anyone may have written, as masks."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from keras_dpn.io.images import ImageError, open_header
from keras_dpn.limits import MAX_PIXELS, padded_pixels

from ..dataset import Example

# Label maps of up to N pixels are drawn even if the image is smaller, or missing.
_MIN_LIMIT = 2**22
# pycocotools draws an outline in steps of a fifth of a pixel, at 16 bytes per step: of one polygon,
# and where it gets no memory, it ends the process.
_STEPS_PER_PIXEL, _MAX_STEPS = 5, 2**24
# Bits of a run's length; they are read at a cost that grows with their square.
_MAX_BITS = 128


def check_size(size: tuple[Any, Any], example: Example) -> None:
    """Check what annotations say against the image's header, before memory is taken.

    Args:
        size: height and width that they say.
        example: the image, and the file of annotations.

    Raises:
        ImageError: if they aren't positive integers, or far more than the image's.
    """
    if any(not isinstance(side, int) or side < 1 for side in size):
        raise ImageError(
            f"{example.label_file}: image {example.name} has the height and width {size}; expected "
            "positive integers."
        )
    limit = _MIN_LIMIT
    if example.image_file.is_file():
        limit = max(limit, 4 * padded_pixels(*open_header(example.image_file)))
    if padded_pixels(*size) > min(limit, MAX_PIXELS):
        raise ImageError(
            f"{example.label_file}: image {example.name} has {size[1]}x{size[0]} pixels there, "
            f"more than {example.image_file}; they must agree."
        )


def draw_shape(shape: Any, size: tuple[int, int], example: Example) -> np.ndarray:
    """Return the pixels of an object, bool (H, W).

    Args:
        shape: polygons, a list of arrays (2 N,) of x and y in turn, or COCO's runs.
        size: the image's height and width.
        example: its image and file of annotations, for messages.

    Raises:
        ImageError: if it can't be drawn.
    """
    try:
        mask = coco_mask.decode(_runs(shape, size)).astype(bool)
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
        if any(_drawing_steps(polygon) > _MAX_STEPS for polygon in shape):
            raise ValueError("a polygon whose outline is too long")
        return coco_mask.merge(coco_mask.frPyObjects(shape, *size))
    if tuple(shape["size"]) != size:
        raise ValueError(f"runs for {shape['size']}, the image has {list(size)}")
    counts = shape["counts"]
    if not isinstance(counts, list):
        counts = _uncompressed(counts.encode("ascii"))
    if any(not isinstance(n, int) or n < 0 for n in counts) or sum(counts) != size[0] * size[1]:
        raise ValueError("runs that don't fill the image")
    return coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)


def _drawing_steps(polygon: np.ndarray) -> float:
    points = polygon.reshape(-1, 2)
    edges = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
    return _STEPS_PER_PIXEL * float(edges.sum()) + len(points)


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
        if shift > _MAX_BITS:
            raise ValueError("a run of too many digits")
        if code - 48 & 32:
            continue
        if code - 48 & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("runs whose text is truncated")
    return counts
