"""Effective receptive fields, measured by covering parts of the image with noise."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_dpn.ops.checks import check_positive_int
from keras_dpn.receptive_field.theoretical import check_unit, map_size, output_of


def discrepancy_map(
    model: keras.Model,
    layer: str,
    image: np.ndarray,
    unit: tuple[int, int],
    *,
    channel: int | None = None,
    patch: int = 16,
    stride: int = 8,
    batch_size: int = 8,
    within: tuple[int, int, int, int] | None = None,
    seed: int = 0,
    progress: Callable[[list[Any]], Iterable[Any]] = iter,
) -> np.ndarray:
    """Return how much a unit changes when a patch of noise covers each part of an image.

    This is the experiment of Zhou et al., "Object Detectors Emerge in Deep Scene CNNs" (ICLR 2015),
    with which ParseNet shows that the effective field is about a quarter of the theoretical one
    (sec. 3.1).

    Args:
        model: a functional model of one image `(B, H, W, C)`.
        layer: name of one of its layers, whose output is `(B, h, w, channels)`.
        image: `(H, W, C)`, an input of the model.
        unit: row and column of a cell of the layer's map.
        channel: the unit's channel; None for the norm of the change of all channels.
        patch: side of the patch in pixels. Its noise is uniform between the image's smallest and
            largest value, and the same at all positions.
        stride: pixels from one position to the next, per axis.
        batch_size: images per batch.
        within: top, left, bottom and right of the part of the image to test, as `Field.box`
            returns them; outside of it the change is 0. None for the whole image.
        seed: of the noise.
        progress: function that takes the list of batches and yields them, for a progress bar.

    Returns:
        float32 `(ceil(H / stride), ceil(W / stride))`, from 0 up: the change for a patch around the
        middle of each block of stride x stride pixels.

    Raises:
        ValueError: as `theoretical_field`, and for a channel that the layer doesn't have.
    """
    image = np.asarray(image)
    for name, value in (("patch", patch), ("stride", stride), ("batch_size", batch_size)):
        check_positive_int(name, value)
    probe = _probe(model, layer, unit, channel, image.shape)
    positions = _positions(image.shape[:2], stride)
    inside = [
        position for position in positions if within is None or _touches(position, patch, within)
    ]
    rng = np.random.default_rng(seed)
    noise = rng.uniform(image.min(), image.max(), (patch, patch, image.shape[2]))
    before = _respond(probe, image[None])[0]
    changes = dict.fromkeys(positions, 0.0)
    batches = [inside[i : i + batch_size] for i in range(0, len(inside), batch_size)]
    for batch in progress(batches):
        covered = np.stack([_covered(image, noise, position) for position in batch])
        change = np.linalg.norm(_respond(probe, covered) - before, axis=-1)
        changes |= dict(zip(batch, change.tolist(), strict=True))
    shape = tuple(-(-side // stride) for side in image.shape[:2])
    return np.array([changes[position] for position in positions], "float32").reshape(shape)


def effective_field(
    discrepancy: np.ndarray, box: tuple[int, int, int, int], stride: int, threshold: float = 0.1
) -> tuple[np.ndarray, float]:
    """Return a unit's effective field, and its fraction of the theoretical field.

    Args:
        discrepancy: from `discrepancy_map`.
        box: top, left, bottom and right of the theoretical field within the image.
        stride: as for `discrepancy_map`.
        threshold: fraction of the largest change, 0 to below 1, above which a position is in the
            field.

    Returns:
        A boolean array like `discrepancy`, and the fraction of the box's pixels in the field.

    Raises:
        ValueError: for a threshold out of its range, an empty box, and a dead unit, which never
            changes.

    Example:

    >>> seen, fraction = effective_field(np.array([[0.0, 2.0], [0.1, 1.0]]), (0, 0, 8, 8), stride=4)
    >>> seen.sum(), fraction
    (np.int64(2), 0.5)
    """
    if not 0 <= threshold < 1:
        raise ValueError(
            "Invalid value for argument `threshold`: expected a number from 0 to below 1, received "
            f"{threshold}."
        )
    top, left, bottom, right = box
    if bottom <= top or right <= left:
        raise ValueError(f"Invalid value for argument `box`: no pixel is in {box}.")
    if not np.max(discrepancy) > 0:
        raise ValueError(
            "The unit never changed: it is dead, or has no pixel of the image in its field."
        )
    seen = discrepancy > threshold * np.max(discrepancy)
    pixels = np.kron(seen, np.ones((stride, stride), bool))[top:bottom, left:right]
    return seen, float(pixels.mean())


def _probe(
    model: keras.Model,
    layer: str,
    unit: tuple[int, int],
    channel: int | None,
    shape: tuple[int, ...],
) -> keras.Model:
    """Return the model up to one unit, or to all channels of its cell: (B, channels)."""
    if len(shape) != 3:
        raise ValueError(
            "Invalid value for argument `image`: expected shape (H, W, C), received "
            f"{tuple(shape)}."
        )
    row, column = check_unit(unit, map_size(model, layer, shape[:2]))
    output = output_of(model, layer)
    channels = output.shape[-1]
    if channel is not None and channel not in range(channels):
        raise ValueError(
            f"Invalid value for argument `channel`: expected 0 to {channels - 1} of layer "
            f"{layer!r}, received {channel}."
        )
    chosen = slice(None) if channel is None else slice(channel, channel + 1)
    return keras.Model(model.inputs, output[:, row, column, chosen])


def _positions(image_size: Sequence[int], stride: int) -> list[tuple[int, int]]:
    """Return the centers of the blocks of stride x stride pixels, row by row."""
    rows, columns = (range(stride // 2, side + stride // 2, stride) for side in image_size)
    return [(row, column) for row in rows for column in columns]


def _touches(position: tuple[int, int], patch: int, box: tuple[int, int, int, int]) -> bool:
    """Return whether a patch around a position overlaps a box."""
    top, left = (index - patch // 2 for index in position)
    return top < box[2] and top + patch > box[0] and left < box[3] and left + patch > box[1]


def _covered(image: np.ndarray, noise: np.ndarray, position: tuple[int, int]) -> np.ndarray:
    """Return the image with noise around a position, cropped at the image's border."""
    covered, patch = image.copy(), len(noise)
    starts = [index - patch // 2 for index in position]
    target, source = [], []
    for start, side in zip(starts, image.shape[:2], strict=True):
        first, last = max(start, 0), max(min(start + patch, side), 0)
        target.append(slice(first, last))
        source.append(slice(first - start, last - start))
    covered[tuple(target)] = noise[tuple(source)].astype(image.dtype)
    return covered


def _respond(probe: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(probe.predict_on_batch(images), "float32")
