"""Confusion matrices of label maps in NumPy, and the scores computed from them.

Rows are the truth, columns the prediction. A class that neither occurs nor is predicted has no
IoU (NaN) and doesn't enter means.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_dpn.ops.label_maps import ignore_labels, range_message
from keras_dpn.typing import IgnoreLabel


def confusion_matrix(
    labels: ArrayLike, predictions: ArrayLike, num_classes: int, ignore_label: IgnoreLabel = 255
) -> np.ndarray:
    """Count the pixels of every pair of true and predicted class.

    Args:
        labels: integers of any shape; `ignore_label` or 0 ... num_classes - 1.
        predictions: integers of the same shape, 0 ... num_classes - 1.
        num_classes: L.
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.

    Returns:
        int64 array `(L, L)`, `[truth, prediction]`.

    Raises:
        ValueError: if shapes differ, or a value is outside the classes or a fraction.

    Example:

    >>> confusion_matrix([[0, 1, 255]], [[0, 0, 1]], num_classes=2)
    array([[1, 0],
           [1, 0]])
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(
            "Invalid values for arguments `labels` and `predictions`: expected the same shape, "
            f"received {labels.shape} and {predictions.shape}."
        )
    counted = ~is_ignored(labels, ignore_label)
    truth = check_range("labels", labels[counted], num_classes)
    predicted = check_range("predictions", predictions[counted], num_classes)
    pairs = truth * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_per_class(confusion: ArrayLike) -> np.ndarray:
    """Return the intersection over union of each class, `(L,)`, NaN for absent classes."""
    confusion = np.asarray(confusion, "float64")
    hits = np.diag(confusion)
    return _ratio(hits, confusion.sum(axis=0) + confusion.sum(axis=1) - hits)


def mean_iou(confusion: ArrayLike) -> float:
    """Return the mean IoU over the classes that occur or are predicted (mIoU)."""
    return _mean(iou_per_class(confusion))


def pixel_accuracy(confusion: ArrayLike) -> float:
    """Return the fraction of the counted pixels whose label is right."""
    return float(_ratio(np.trace(confusion), np.sum(confusion)))


def mean_accuracy(confusion: ArrayLike) -> float:
    """Return the mean recall over the classes that occur."""
    confusion = np.asarray(confusion, "float64")
    return _mean(_ratio(np.diag(confusion), confusion.sum(axis=1)))


def frequency_weighted_iou(confusion: ArrayLike) -> float:
    """Return the mean IoU, each class weighted by its fraction of the counted pixels."""
    truth = np.asarray(confusion, "float64").sum(axis=1)
    return float(_ratio(np.nansum(truth * iou_per_class(confusion)), truth.sum()))


def scores(confusion: ArrayLike) -> dict[str, Any]:
    """Return all scores of one confusion matrix, as numbers and lists for JSON.

    Returns:
        Dictionary with `miou`, `accuracy`, `mean_accuracy`, `frequency_weighted_iou` in 0 ... 1,
        and `iou`, a list with None for absent classes. A score without a pixel is None.
    """
    return {
        "miou": _jsonable(mean_iou(confusion)),
        "accuracy": _jsonable(pixel_accuracy(confusion)),
        "mean_accuracy": _jsonable(mean_accuracy(confusion)),
        "frequency_weighted_iou": _jsonable(frequency_weighted_iou(confusion)),
        "iou": [_jsonable(value) for value in iou_per_class(confusion)],
    }


def is_ignored(labels: np.ndarray, ignore_label: IgnoreLabel) -> np.ndarray:
    """Return whether each label of an array is an ignore label: an integer, several, or None."""
    ignored = np.zeros(labels.shape, bool)
    for label in ignore_labels(ignore_label):
        ignored |= labels == label
    return ignored


def check_range(name: str, values: np.ndarray, num_classes: int | None) -> np.ndarray:
    """Return the values as int64; raise ValueError unless all are classes, or >= 0 for None."""
    is_class = values >= 0
    if num_classes is not None:
        is_class &= values < num_classes
    if values.dtype.kind == "f":
        is_class &= values == np.floor(values)
    if not is_class.all():
        raise ValueError(range_message(name, values[~is_class], num_classes))
    return values.astype("int64")


def _ratio(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    part, whole = np.asarray(part, "float64"), np.asarray(whole, "float64")
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.any(~np.isnan(values)) else float("nan")


def _jsonable(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
