"""Tagging, localisation and boundary accuracy of the objects in label maps (TA, LA, BA)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_dpn.metrics.confusion import check_range, is_ignored
from keras_dpn.metrics.trimap import sides
from keras_dpn.typing import IgnoreLabel

COUNTS = (
    "box_intersection",
    "true_box",
    "predicted_box",
    "true_boundary",
    "true_boundary_found",
    "predicted_boundary",
    "predicted_boundary_right",
)

_GROUP = 32  # classes whose boundaries are dilated together, one in each bit of a word


def object_counts(
    labels: ArrayLike,
    predictions: ArrayLike,
    num_classes: int,
    ignore_label: IgnoreLabel = 255,
    tolerance: float = 0.0075,
) -> np.ndarray:
    """Return the counts from which tags, boxes and boundaries of one image's classes are scored.

    All regions of a class in an image are one object, as label maps don't tell instances apart.

    * Its box is the smallest rectangle around its pixels; void pixels are in neither box.
    * Its boundary is the set of its pixels with another label above, below, left or right of them,
      where void is one more label of the truth. A boundary pixel is right if the other map has one
      of the same class within `tolerance`. Predictions on void pixels count only if right.

    Args:
        labels: integers `(H, W)`, 0 ... num_classes - 1 or `ignore_label`: a whole image, without
            padding.
        predictions: integers `(H, W)`, 0 ... num_classes - 1.
        num_classes: L.
        ignore_label: the void label; a tuple of several; None without void.
        tolerance: largest distance between boundaries, as a fraction of the image's diagonal.

    Returns:
        int64 `(L, 7)`: for each class the numbers of pixels of `COUNTS`; those of a box are its
        area. Stack those of several images for `object_scores`.

    Raises:
        ValueError: if sizes differ, a label is outside the classes or a fraction, or the tolerance
            is not a number from 0 up.

    References:
    - Deep Parsing Network (https://arxiv.org/abs/1509.02634), section 5, which names the scores but
      defines neither the boxes nor the tolerance
    - Hariharan et al., Semantic contours from inverse detectors (2011), for boundaries and their
      tolerance; pixels are not paired one to one here

    Example:

    >>> counts = object_counts([[0, 0, 1, 1]], [[0, 1, 1, 1]], num_classes=2)
    >>> dict(zip(COUNTS[:3], counts[1].tolist()))
    {'box_intersection': 2, 'true_box': 2, 'predicted_box': 3}
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 2 or labels.shape != predictions.shape:
        raise ValueError(
            "Invalid values for arguments `labels` and `predictions`: expected two label maps "
            f"(height, width) of one size, received {labels.shape} and {predictions.shape}."
        )
    if not 0 <= tolerance < math.inf:
        raise ValueError(
            "Invalid value for argument `tolerance`: expected a fraction of the diagonal from 0 "
            f"up, received {tolerance}."
        )
    if not labels.size:
        return np.zeros((num_classes, len(COUNTS)), "int64")
    counted = ~is_ignored(labels, ignore_label)
    true = np.full(labels.shape, num_classes)
    true[counted] = check_range("labels", labels[counted], num_classes)
    predictions = check_range("predictions", predictions, num_classes)
    edges = sides(labels) & counted, sides(predictions)
    radius = tolerance * math.hypot(*labels.shape)
    groups = []
    for first in range(0, num_classes, _GROUP):
        size = min(_GROUP, num_classes - first)
        words = np.zeros(num_classes + 1, "uint32")  # the last is void's
        words[first : first + size] = np.uint32(1) << np.arange(size, dtype="uint32")
        bits = words[true], words[predictions]
        boxes = _box_counts(bits[0], np.where(counted, bits[1], 0), size)
        boundaries = _boundary_counts(bits, edges, counted, radius, size)
        groups.append(np.stack([*boxes, *boundaries], axis=1))
    return np.concatenate(groups)


def object_scores(counts: ArrayLike, threshold: float = 0.5) -> dict[str, Any]:
    """Return tagging, localisation and boundary accuracy of a set of images.

    * TA of a class is the fraction of the images in which truth and prediction agree on whether it
      is present, even with a single pixel.
    * LA is the mean IoU of its true and predicted boxes over the images in which it is present, 0
      where it is not predicted.
    * BA is the F-measure of its boundaries, the harmonic mean of precision and recall of the
      boundary pixels, over the images in which it is localised: where the boxes have an IoU of
      `threshold` or more.

    Args:
        counts: integers `(N, L, 7)`, the `object_counts` of N images in any order; concatenate
            those of several sets.
        threshold: IoU of the boxes of an object that is localised, 0 ... 1.

    Returns:
        Dictionary: "ta", "la" and "ba", in 0 ... 1, means over the classes that have one, None
        without such a class; and "per_class": the three as lists, None for classes without one.
        TA needs a class that is present or predicted, LA one that is present, BA one that is
        localised and has a boundary.

    Raises:
        ValueError: for counts of another shape, and a threshold outside 0 ... 1.

    Example:

    >>> result = object_scores([object_counts([[0, 0, 1, 1]], [[0, 1, 1, 1]], num_classes=2)])
    >>> result["ta"], result["per_class"]["la"]
    (1.0, [0.5, 0.6666666666666666])
    """
    counts = np.asarray(counts)
    if counts.ndim != 3 or counts.shape[-1] != len(COUNTS):
        raise ValueError(
            "Invalid value for argument `counts`: expected shape (images, classes, "
            f"{len(COUNTS)}), received {counts.shape}."
        )
    if not 0 <= threshold <= 1:
        raise ValueError(
            "Invalid value for argument `threshold`: expected a number from 0 to 1, received "
            f"{threshold}."
        )
    per_class: dict[str, list[float | None]] = {"ta": [], "la": [], "ba": []}
    for label in range(counts.shape[1]):
        box_intersection, true_box, predicted_box = counts[:, label, :3].T
        shown = true_box > 0
        iou = box_intersection / np.maximum(true_box + predicted_box - box_intersection, 1)
        localized = shown & (iou >= threshold)
        per_class["ta"].append(_agreement(shown, predicted_box > 0))
        # fsum is exact, so the images' order doesn't matter
        per_class["la"].append(_mean(iou[shown].tolist()))
        per_class["ba"].append(_f_measure(*counts[localized, label, 3:].sum(axis=0).tolist()))
    return {**{name: _mean(scores) for name, scores in per_class.items()}, "per_class": per_class}


def _box_counts(true_bits: np.ndarray, predicted_bits: np.ndarray, size: int) -> list[np.ndarray]:
    true, predicted = _boxes(true_bits, size), _boxes(predicted_bits, size)
    inner = np.maximum(true[:2], predicted[:2]), np.minimum(true[2:], predicted[2:])
    boxes = (true[:2], true[2:]), (predicted[:2], predicted[2:])
    return [_areas(*corners) for corners in (inner, *boxes)]


def _boxes(bits: np.ndarray, size: int) -> np.ndarray:
    """Return top, left, bottom and right of each class, `(4, size)`; the last two exclusive."""
    firsts, lasts = [], []
    for axis in (1, 0):
        lines = np.bitwise_or.reduce(bits, axis)
        seen = lines[:, None] >> np.arange(size, dtype="uint32") & 1
        firsts.append(np.argmax(seen, axis=0))
        lasts.append(np.where(seen.any(axis=0), len(lines) - np.argmax(seen[::-1], axis=0), 0))
    return np.array([*firsts, *lasts])


def _areas(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(last - first, 0), axis=0)


def _boundary_counts(
    bits: tuple[np.ndarray, np.ndarray],
    edges: tuple[np.ndarray, np.ndarray],
    counted: np.ndarray,
    radius: float,
    size: int,
) -> list[np.ndarray]:
    true, predicted = (np.where(*pair, 0) for pair in zip(edges, bits, strict=True))
    found, right = true & _grown(predicted, radius), predicted & _grown(true, radius)
    judged = np.where(counted, predicted, right)
    return [_count_bits(words, size) for words in (true, found, judged, right)]


def _count_bits(words: np.ndarray, size: int) -> np.ndarray:
    """Return how many words have each bit set, if none has more than one."""
    _, bits = np.frexp(words[words > 0].astype("float64"))  # a power of two is 0.5 * 2**bits
    return np.bincount(bits - 1, minlength=size)


def _grown(bits: np.ndarray, radius: float) -> np.ndarray:
    """Return all bits within a radius of each pixel: a dilation by a disc, row by row.

    It starts at the narrowest row of the disc, so that each row widens the one before.
    """
    height, width = bits.shape
    grown, row, reached = np.zeros_like(bits), bits.copy(), 0
    for step in range(math.floor(radius), -1, -1):
        reach = math.floor(math.sqrt(radius**2 - step**2))
        for shift in range(reached + 1, min(reach, width - 1) + 1):
            row[:, shift:] |= bits[:, :-shift]
            row[:, :-shift] |= bits[:, shift:]
        reached = reach
        if step < height:
            grown[step:] |= row[: height - step]
            grown[: height - step] |= row[step:]
    return grown


def _agreement(shown: np.ndarray, predicted: np.ndarray) -> float | None:
    return float(np.mean(shown == predicted)) if np.any(shown | predicted) else None


def _f_measure(true: int, found: int, predicted: int, right: int) -> float | None:
    """Return the harmonic mean of recall and precision; None without a boundary."""
    if not true and not predicted:
        return None
    recall, precision = found / max(true, 1), right / max(predicted, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
