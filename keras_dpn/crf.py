"""The fully connected CRF as post-processing of class probabilities, on NumPy arrays."""

import functools
import json
from collections.abc import Callable
from typing import Any, TypeAlias, overload

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_dpn.graph import trace_for_any_size
from keras_dpn.layers import MeanFieldCRF
from keras_dpn.probabilities import softmax

# One array per image.
Arrays: TypeAlias = list[np.ndarray] | tuple[np.ndarray, ...]


@overload
def refine(
    image: np.ndarray,
    probabilities: np.ndarray | None = None,
    *,
    unary: np.ndarray | None = None,
    **settings: Any,
) -> np.ndarray: ...


@overload
def refine(
    image: Arrays,
    probabilities: Arrays | None = None,
    *,
    unary: Arrays | None = None,
    **settings: Any,
) -> list[np.ndarray]: ...


def refine(
    image: np.ndarray | Arrays,
    probabilities: np.ndarray | Arrays | None = None,
    *,
    unary: np.ndarray | Arrays | None = None,
    **settings: Any,
) -> np.ndarray | list[np.ndarray]:
    """Refine class probabilities along the edges of an image.

    Args:
        image: `(H, W, C)`, any number type, for example RGB 0-255; volumes `(D, H, W, C)` and
            sequences `(T, C)` as well. Or a list of images of any sizes.
        probabilities: `(H, W, L)`, not negative; for a list of images, a list of such arrays.
        unary: instead of probabilities, log-probabilities up to a constant per point: logits, or
            the result of `unary_from_labels`.
        **settings: arguments of `layers.MeanFieldCRF`, for example `num_iterations=10`,
            `bilateral=(4.0, 121.0, 5.0)`, `spatial=(3.0, 3.0)`.

    Returns:
        Refined probabilities, float32 `(H, W, L)`, which sum to 1 at each point; for a list of
        images, a list of them.

    Raises:
        ValueError: unless exactly one of `probabilities` and `unary` is given, of the image's size
            and without NaN, and the settings are right.

    Example:

    >>> image = np.zeros((4, 6, 3), "uint8")
    >>> probabilities = np.full((4, 6, 2), 0.5)
    >>> refine(image, probabilities, num_iterations=5).shape
    (4, 6, 2)
    """
    to_unary: Callable[[ArrayLike], np.ndarray]
    if unary is not None and probabilities is None:
        given, to_unary = unary, unary_from_logits
    elif probabilities is not None and unary is None:
        given, to_unary = probabilities, unary_from_probabilities
    else:
        raise ValueError(
            "Expected exactly one of the arguments `probabilities` and `unary`, received "
            f"{'none' if unary is None else 'both'}."
        )
    if not isinstance(image, (list, tuple)):
        return _refine(image, to_unary(given), settings)
    if not isinstance(given, (list, tuple)) or len(given) != len(image):
        raise ValueError(
            f"Expected probabilities for each of {len(image)} images in a list, received "
            f"{len(given) if isinstance(given, (list, tuple)) else type(given).__name__}."
        )
    pairs = zip(image, given, strict=True)
    return [_refine(image, to_unary(one), settings) for image, one in pairs]


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


def _refine(image: np.ndarray, unary: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    image = np.asarray(image, "float32")
    if image.ndim != unary.ndim or image.shape[:-1] != unary.shape[:-1] or not image.size:
        raise ValueError(
            "Expected an image (H, W, C) and probabilities (H, W, L) of at least one point and the "
            f"same size, received shapes {image.shape} and {unary.shape}."
        )
    if np.isnan(image).any():
        raise ValueError("Invalid value for argument `image`: expected numbers, received NaN.")
    serialized = json.dumps(settings, default=lambda value: np.asarray(value).tolist())
    model = _model(image.ndim, image.shape[-1], unary.shape[-1], serialized)
    logits = model.predict_on_batch([unary[None], image[None]])[0]
    return softmax(logits)


@functools.lru_cache(maxsize=16)
def _model(rank: int, channels: int, labels: int, settings: str) -> keras.Model:
    """Return a model of one CRF; caching traces each combination of settings once."""
    size = (None,) * (rank - 1)
    unary, image = keras.Input((*size, labels)), keras.Input((*size, channels))
    crf = MeanFieldCRF(**json.loads(settings), dtype="float32")
    return trace_for_any_size(keras.Model([unary, image], crf((unary, image))))
