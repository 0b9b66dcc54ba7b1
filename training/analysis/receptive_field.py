"""What a unit of a network sees of an image: in theory, and in fact (ParseNet, section 3.1)."""

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import track

from keras_dpn.receptive_field import (
    discrepancy_map,
    effective_field,
    map_size,
    theoretical_field,
)


def measure(
    model: keras.Model,
    image: np.ndarray,
    layer: str,
    *,
    unit: tuple[int, int] | None = None,
    channel: int | None = None,
    patch: int = 16,
    stride: int = 8,
    batch_size: int = 8,
    threshold: float = 0.1,
    seed: int = 0,
) -> tuple[dict[str, Any], np.ndarray]:
    """Both fields of a unit.

    Args:
        model: a functional model of images.
        image: uint8 (H, W, 3).
        layer: name of one of its layers.
        unit: row and column of the unit's cell; the middle one of the map by default.
        channel: as in `discrepancy_map`, as the others.
        patch: side of the patch.
        stride: from place to place.
        batch_size: images at a time.
        threshold: as in `effective_field`.
        seed: of the noise.

    Returns:
        What the JSON file says, and the changes, float32 (rows, columns) of places.

    Raises:
        ValueError: as `theoretical_field`, `discrepancy_map` and `effective_field`.
    """
    size = image.shape[:2]
    cells = map_size(model, layer, size)
    unit = unit or tuple(n // 2 for n in cells)
    field = theoretical_field(model, layer, unit, size)
    box = field.box(size)
    changes = discrepancy_map(
        model,
        layer,
        image,
        unit,
        channel=channel,
        patch=patch,
        stride=stride,
        batch_size=batch_size,
        within=box,
        seed=seed,
        progress=functools.partial(
            track, description="covering places", console=Console(stderr=True)
        ),
    )
    seen, share = effective_field(changes, box, stride, threshold)
    limited = not field.unlimited
    found = {
        "layer": layer,
        "map_size": list(cells),
        "unit": list(unit),
        "channel": channel,
        "image_size": list(size),
        "theoretical_size": [int(side) for side in field.size] if limited else None,
        "unlimited": list(field.unlimited),
        "box": list(box),
        "effective_share": share,
        "effective_box": _box_around(seen, box, stride),
        "threshold": threshold,
        "patch": patch,
        "stride": stride,
        "seed": seed,
        "changes": changes.tolist(),
    }
    return found, changes


def _box_around(seen: np.ndarray, box: tuple[int, int, int, int], stride: int) -> list[int]:
    """Top, left, bottom and right of the smallest rectangle around all that is seen, in the box."""
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    first = [int(rows[0]) * stride, int(columns[0]) * stride]
    last = [(int(rows[-1]) + 1) * stride, (int(columns[-1]) + 1) * stride]
    return [max(a, b) for a, b in zip(first, box[:2], strict=True)] + [
        min(a, b) for a, b in zip(last, box[2:], strict=True)
    ]


def describe(found: dict[str, Any]) -> str:
    """The result in a line."""
    sides = found["theoretical_size"]
    top, left, bottom, right = found["box"]
    inside = f"{bottom - top}x{right - left}"
    if sides is None:
        theory = f"the whole image, {inside} pixels"
    else:
        theory = f"{sides[0]}x{sides[1]} pixels, {inside} of them in the image"
    share = 100 * found["effective_share"]
    return f"{found['layer']}: in theory {theory}; in fact {share:.0f}% of that"


def load_file(path: Path) -> keras.Model:
    """Load a model from a .keras file; ValueError names another one."""
    if not path.is_file() or path.suffix != ".keras":
        raise ValueError(f"{path}: expected a .keras file or the directory of a run.")
    return keras.saving.load_model(path, compile=False)
