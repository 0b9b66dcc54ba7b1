"""Class probabilities as NumPy arrays: from logits, to labels, and as the unary term of a CRF."""

import numpy as np
from numpy.typing import ArrayLike


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits (..., L), along the last axis."""
    exponential = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def class_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits (..., L): their softmax.

    Of one class, (..., 1), those of two labels (..., 2), not the class and the class, whose second
    is the sigmoid.
    """
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    return softmax(logits)


def to_labels(probabilities: np.ndarray) -> np.ndarray:
    """Return the most probable class: (..., L) to uint8 (...), or int32 above 256 classes."""
    dtype = np.uint8 if probabilities.shape[-1] <= 256 else np.int32
    return np.argmax(probabilities, axis=-1).astype(dtype)


def unary_from_labels(
    labels: ArrayLike, num_classes: int, certainty: float = 0.7, ignore: int | None = None
) -> np.ndarray:
    """Return log-probabilities for a label map whose labels are right with a given certainty.

    Args:
        labels: `(*S)`, integers from 0 to `num_classes - 1`, or `ignore`.
        num_classes: L, at least 2.
        certainty: probability of the given label, above 0 and below 1; the other labels
            share the remaining probability.
        ignore: label of points whose class is unknown: all labels are equally likely there.

    Returns:
        float32 `(*S, L)`.

    Raises:
        ValueError: for values out of these ranges.

    Example:

    >>> np.exp(unary_from_labels(np.array([1, 0]), num_classes=2, certainty=0.75))
    array([[0.25, 0.75],
           [0.75, 0.25]], dtype=float32)
    """
    labels = np.asarray(labels)
    if num_classes < 2:
        raise ValueError(
            "Invalid value for argument `num_classes`: expected at least 2, received "
            f"{num_classes}."
        )
    if not 0 < certainty < 1:
        raise ValueError(
            "Invalid value for argument `certainty`: expected a number above 0 and below 1, "
            f"received {certainty}."
        )
    known = np.ones(labels.shape, bool) if ignore is None else labels != ignore
    unknown = labels[known][(labels[known] < 0) | (labels[known] >= num_classes)]
    if not np.issubdtype(labels.dtype, np.integer) or unknown.size:
        raise ValueError(
            f"Invalid value for argument `labels`: expected integers from 0 to {num_classes - 1}"
            f"{'' if ignore is None else f' or {ignore}'}, received "
            f"{unknown.flat[0] if unknown.size else labels.dtype}."
        )
    others = (1 - certainty) / (num_classes - 1)
    given = np.arange(num_classes) == labels[..., None]
    probabilities = np.where(given, certainty, others)
    probabilities[~known] = 1 / num_classes
    return np.log(probabilities).astype("float32")


def unary_from_probabilities(
    probabilities: ArrayLike, scale: float = 1.0, minimum: float = 1e-5
) -> np.ndarray:
    """Return log-probabilities, optionally less certain than the given probabilities.

    Args:
        probabilities: `(*S, L)`, not negative; they need not sum to 1.
        scale: weight of the probabilities in a mixture with the uniform distribution, above 0 and
            at most 1.
        minimum: lower bound of the probabilities, above 0.

    Returns:
        float32 `(*S, L)`.

    Raises:
        ValueError: for values out of these ranges, and NaN.

    Example:

    >>> np.round(np.exp(unary_from_probabilities(np.array([1.0, 0.0]), scale=0.5)), 2)
    array([0.75, 0.25], dtype=float32)
    """
    if not 0 < scale <= 1:
        raise ValueError(
            "Invalid value for argument `scale`: expected a number above 0 and at most 1, "
            f"received {scale}."
        )
    if not minimum > 0:
        raise ValueError(
            f"Invalid value for argument `minimum`: expected a number above 0, received {minimum}."
        )
    probabilities = np.asarray(probabilities, "float32")
    if not (probabilities >= 0).all():
        invalid = probabilities[~(probabilities >= 0)].flat[0]
        raise ValueError(
            "Invalid value for argument `probabilities`: expected numbers of at least 0, received "
            f"{invalid}. Pass logits as `unary`."
        )
    mixed = scale * probabilities + (1 - scale) / probabilities.shape[-1]
    return np.log(np.maximum(mixed, minimum))


def unary_from_logits(logits: ArrayLike) -> np.ndarray:
    """Return log-probabilities of logits (*S, L), float32; raise ValueError for NaN."""
    logits = np.asarray(logits, "float32")
    if np.isnan(logits).any():
        raise ValueError("Invalid value for argument `unary`: expected numbers, received NaN.")
    finite: np.ndarray = np.clip(logits, -1e30, 1e30)
    logits = finite - finite.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
