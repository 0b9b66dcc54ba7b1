"""Label maps: which pixels count, and which labels are out of range."""

import operator
from typing import Any

import numpy as np
from keras import ops

from keras_dpn.ops.checks import known_values
from keras_dpn.typing import IgnoreLabel, Tensor


def standardize_ignore_label(ignore_label: Any) -> int | tuple[int, ...] | None:
    """Return an integer, a tuple of integers or None; raise ValueError for anything else."""
    if ignore_label is None:
        return None
    several = isinstance(ignore_label, (tuple, list, set, frozenset))
    try:
        return tuple(map(operator.index, ignore_label)) if several else operator.index(ignore_label)
    except TypeError:
        raise ValueError(
            "Invalid value for argument `ignore_label`: expected an integer, a tuple of integers "
            f"or None, received {ignore_label!r}."
        ) from None


def ignore_labels(ignore_label: IgnoreLabel) -> tuple[int, ...]:
    """Return what `standardize_ignore_label` takes as a tuple of integers, () for None."""
    standard = standardize_ignore_label(ignore_label)
    if standard is None:
        return ()
    return standard if isinstance(standard, tuple) else (standard,)


def read_labels(
    labels: Tensor, num_classes: int, ignore_label: IgnoreLabel, name: str = "y_true"
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the pixels that count, and those whose label is out of range.

    Args:
        labels: tensor of any shape and dtype.
        num_classes: L.
        ignore_label: an integer, a tuple of integers, or None.
        name: of the argument that has the labels, for the message.

    Returns:
        Triple of tensors of the labels' shape: the class, int32, 0 where the pixel does not count;
        whether it counts, bool; and whether its label is out of range, bool: neither one of the
        whole numbers 0 ... L-1 nor an ignore label.

    Raises:
        ValueError: if a label is out of range, if labels are known. In a compiled step they are
            not; such a pixel does not count then.
    """
    labels = ops.cast(labels, "float32")
    ignored = ops.zeros_like(labels, dtype="bool")
    for label in ignore_labels(ignore_label):
        ignored = ops.logical_or(ignored, labels == label)
    is_class = ops.logical_and(labels >= 0, labels < num_classes)
    is_class = ops.logical_and(is_class, labels == ops.floor(labels))
    out_of_range = ops.logical_not(ops.logical_or(is_class, ignored))
    _check_range(labels, out_of_range, num_classes, name)
    counted = ops.logical_and(is_class, ops.logical_not(ignored))
    return ops.cast(ops.where(counted, labels, 0.0), "int32"), counted, out_of_range


def range_message(name: str, wrong: np.ndarray, num_classes: int | None) -> str:
    """Return the message for values `wrong`, a NumPy array, that are out of range."""
    classes = "from 0 up" if num_classes is None else f"0 ... {num_classes - 1}"
    return (
        f"Invalid value for argument `{name}`: expected integers {classes}, received {wrong[0]:g} "
        f"(pixels out of range: {wrong.size})."
    )


def _check_range(labels: Tensor, out_of_range: Tensor, num_classes: int, name: str) -> None:
    wrong = known_values(out_of_range, "bool")
    values = known_values(labels, "float32") if wrong is not None and wrong.any() else None
    if values is not None:
        wrong = values[wrong]
        raise ValueError(
            f"{range_message(name, wrong, num_classes)} Correct these labels, or name them as "
            "labels to ignore."
        )
