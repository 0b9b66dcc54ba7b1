"""Calibration: whether the accuracy of a network agrees with its probabilities."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_dpn.metrics.confusion import check_range, is_ignored
from keras_dpn.ops.checks import check_positive_int
from keras_dpn.typing import IgnoreLabel

# Confidences are counted in steps of 2**-24, as integers: their sums are exact, in any order.
_BITS = 24
_ONE = 1 << _BITS

COUNTS = ("pixels", "right", "confidence")


def calibration_counts(
    labels: ArrayLike,
    predictions: ArrayLike,
    confidences: ArrayLike,
    ignore_label: IgnoreLabel = 255,
    bins: int = 15,
) -> np.ndarray:
    """Count the pixels, and those that are right, by the confidence of their prediction.

    Args:
        labels: integers from 0 up of any shape, or `ignore_label`.
        predictions: integers of the same shape, the most probable class of each pixel.
        confidences: floats of the same shape, 0 ... 1, the probability of that class. They are
            rounded to 2**-24.
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.
        bins: number of intervals of equal width that 0 ... 1 is divided into, each closed above.

    Returns:
        int64 `(bins, 3)`, the `COUNTS` of each interval: pixels, pixels that are right, and the sum
        of the confidences in steps of 2**-24. Add them up over images.

    Raises:
        ValueError: if shapes differ, a label is negative or a fraction, a confidence is outside 0
            ... 1, or there is no bin.

    References:
    - Guo et al., On calibration of modern neural networks (2017), section 2, for bins and ECE

    Example:

    >>> calibration_counts([0, 1, 255], [0, 0, 0], [0.75, 1.0, 0.5], bins=2)[:, :2]
    array([[0, 0],
           [2, 1]])
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    confidences = np.asarray(confidences)
    bins = check_positive_int("bins", bins)
    if not labels.shape == predictions.shape == confidences.shape:
        raise ValueError(
            "Invalid values for arguments `labels`, `predictions` and `confidences`: expected the "
            f"same shape, received {labels.shape}, {predictions.shape} and {confidences.shape}."
        )
    counted = ~is_ignored(labels, ignore_label)
    check_range("labels", labels[counted], num_classes=None)
    steps = _in_steps(confidences[counted])
    places = np.maximum((steps * bins - 1) >> _BITS, 0)
    right = places[labels[counted] == predictions[counted]]
    columns = [np.bincount(x, minlength=bins) for x in (places, right)]
    # Whole numbers, exact in float64 up to 2**53: an image of half a billion pixels.
    sums = np.bincount(places, steps, minlength=bins).astype("int64")
    return np.stack([*columns, sums], axis=1)


def calibration(counts: ArrayLike) -> dict[str, Any]:
    """Return the expected calibration error (ECE) and the reliability curve.

    ECE is the mean over all pixels of the difference, in their bin, between accuracy and mean
    confidence.

    Args:
        counts: integers `(bins, 3)` of `calibration_counts`.

    Returns:
        Dictionary: "ece", 0 ... 1, None without a pixel; and for each bin, in lists, the number of
        "pixels", their "accuracy" and mean "confidence", None where there is no pixel.

    Raises:
        ValueError: for counts of another shape.

    Example:

    >>> result = calibration(calibration_counts([0, 1], [0, 0], [0.75, 1.0], bins=2))
    >>> result["ece"], result["accuracy"], result["confidence"]
    (0.375, [None, 0.5], [None, 0.875])
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[1] != len(COUNTS):
        raise ValueError(
            f"Invalid value for argument `counts`: expected shape (bins, {len(COUNTS)}), received "
            f"{counts.shape}."
        )
    pixels, right, confidence = (column.tolist() for column in counts.T)
    gaps = sum(abs(r * _ONE - c) for r, c in zip(right, confidence, strict=True))
    return {
        "ece": _ratio(gaps, sum(pixels) * _ONE),
        "pixels": pixels,
        "accuracy": [_ratio(r, n) for r, n in zip(right, pixels, strict=True)],
        "confidence": [_ratio(c, n * _ONE) for c, n in zip(confidence, pixels, strict=True)],
    }


def _in_steps(confidences: np.ndarray) -> np.ndarray:
    """Return confidences as integer multiples of 2**-24, exact for float32 from 0.5 up."""
    wrong = ~((confidences >= 0) & (confidences < 1 + 1e-5))  # rounding may bring a softmax above 1
    if wrong.any():
        raise ValueError(
            "Invalid value for argument `confidences`: expected 0 ... 1, received "
            f"{confidences[wrong][0]} (pixels out of range: {wrong.sum()})."
        )
    return np.minimum(np.rint(confidences.astype("float64") * _ONE).astype("int64"), _ONE)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
