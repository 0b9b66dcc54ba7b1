"""Trimaps: scores near the boundaries of objects, in bands of increasing width.

The distance of each pixel from the boundaries is computed once, so that all widths cost little
more than one.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from keras_dpn.metrics.confusion import confusion_matrix, is_ignored
from keras_dpn.typing import IgnoreLabel

AROUND = ("void", "boundary")


def trimap_distance(
    labels: ArrayLike,
    ignore_label: IgnoreLabel = 255,
    around: Literal["void", "boundary"] = "void",
    max_width: int = 40,
) -> np.ndarray:
    """Return each pixel's distance from void or a boundary: the narrowest band that contains it.

    The band of width w contains the pixels with a distance of 1 ... w.

    * Around "void" these are the pixels other than void with a void pixel in the square of 2w + 1
      pixels around them: the dilated void without the void, as in the DeepLab author's code. Use it
      for datasets that mark object boundaries as void, such as PASCAL VOC.
    * Around a "boundary" they are the w pixels on either side of it, for datasets with little or
      no void: at w = 1 the pixels with another label above, below, left or right of them,
      at w the dilation of these by a square of 2w - 1. Void counts as one more label here.

    Args:
        labels: integers `(H, W)`.
        ignore_label: the void label; a tuple of several; None without void.
        around: "void" or "boundary".
        max_width: the widest band, in pixels, 1 or more.

    Returns:
        int32 `(H, W)`: 0 at void pixels with `around="void"`; `max_width + 1` beyond all bands.

    Raises:
        ValueError: for labels of another rank, an unknown `around`, a width below 1.

    References:
    - DeepLab v1 (https://arxiv.org/abs/1412.7062), section 5, Fig. 5
    - Kohli, Ladicky and Torr, Robust higher order potentials for enforcing label consistency (2009)

    Example:

    >>> trimap_distance([[0, 0, 0, 255, 1]], max_width=2)
    array([[3, 2, 1, 0, 1]], dtype=int32)
    >>> trimap_distance([[0, 0, 0, 1, 1]], around="boundary", max_width=2)
    array([[3, 2, 1, 1, 2]], dtype=int32)
    """
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise ValueError(
            "Invalid value for argument `labels`: expected one label map (height, width), received "
            f"shape {labels.shape}."
        )
    if around not in AROUND:
        raise ValueError(
            f"Invalid value for argument `around`: expected one of {AROUND}, received {around!r}."
        )
    if max_width < 1:
        raise ValueError(
            f"Invalid value for argument `max_width`: expected 1 or more, received {max_width}."
        )
    void = is_ignored(labels, ignore_label)
    if around == "void":
        reached, first = void, 0
    else:
        reached, first = sides(np.where(void, -1, labels.astype("int64"))), 1
    distance = np.full(labels.shape, first, "int32")
    for _ in range(first, max_width + 1):
        distance += ~reached
        reached = _grown(reached)
    return distance


def trimap_confusions(
    labels: ArrayLike,
    predictions: ArrayLike,
    num_classes: int,
    ignore_label: IgnoreLabel = 255,
    around: Literal["void", "boundary"] = "void",
    max_width: int = 40,
) -> np.ndarray:
    """Return the confusion matrix within the band of each width; add them up over images.

    Args:
        labels: integers `(H, W)`; `ignore_label` or 0 ... num_classes - 1.
        predictions: integers `(H, W)`, 0 ... num_classes - 1.
        num_classes: L.
        ignore_label: the void label, of pixels that don't count; a tuple of several; None without
            void.
        around: "void" or "boundary", as in `trimap_distance`.
        max_width: the widest band, in pixels.

    Returns:
        int64 `(max_width, L, L)`, `[w - 1, truth, prediction]` within the band of width w.

    Raises:
        ValueError: as `trimap_distance` and `confusion_matrix`.

    Example:

    >>> counts = trimap_confusions([[0, 0, 255, 1]], [[0, 1, 1, 1]], num_classes=2, max_width=2)
    >>> counts.tolist()
    [[[0, 1], [0, 1]], [[1, 1], [0, 1]]]
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    distance = trimap_distance(labels, ignore_label, around, max_width)
    if predictions.shape != labels.shape:
        raise ValueError(
            "Invalid values for arguments `labels` and `predictions`: expected the same shape, "
            f"received {labels.shape} and {predictions.shape}."
        )
    rings = [distance == width for width in range(1, max_width + 1)]
    counts = [
        confusion_matrix(labels[ring], predictions[ring], num_classes, ignore_label)
        for ring in rings
    ]
    return np.cumsum(counts, axis=0)


def sides(labels: np.ndarray) -> np.ndarray:
    """Return whether the pixel above, below, left or right has another label."""
    sides = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        label_before, label_after = _halves(labels, axis)
        before, after = _halves(sides, axis)
        before |= label_before != label_after
        after |= label_before != label_after
    return sides


def _grown(mask: np.ndarray) -> np.ndarray:
    """Return a mask dilated by one pixel, diagonally too."""
    for axis in (0, 1):
        grown = mask.copy()
        (into_before, into_after), (before, after) = _halves(grown, axis), _halves(mask, axis)
        into_before |= after
        into_after |= before
        mask = grown
    return mask


def _halves(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return views without the last and without the first row (axis 0) or column (axis 1)."""
    return (array[:-1], array[1:]) if axis == 0 else (array[:, :-1], array[:, 1:])
