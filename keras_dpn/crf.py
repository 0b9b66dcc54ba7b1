"""The fully connected CRF as a post-process, in NumPy arrays: for those who bring probabilities."""

import functools
import json
from collections.abc import Callable
from typing import Any, TypeAlias, overload

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_dpn.graph import for_any_size
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
            sequences `(T, C)` as well. Or a list of such, of any sizes.
        probabilities: `(H, W, L)`, not negative; a list of such for a list of images.
        unary: instead of probabilities, their logarithms up to a constant for each point: logits,
            or what `unary_from_labels` gives.
        **settings: arguments of `layers.MeanFieldCRF`, for example `num_iterations=10`,
            `bilateral=(4.0, 121.0, 5.0)`, `spatial=(3.0, 3.0)`.

    Returns:
        float32 `(H, W, L)`, each point's values sum to 1; a list for a list.

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
    """Log-probabilities for a label map that is right with a certainty.

    Args:
        labels: `(*S)`, integers from 0 to `num_classes - 1`, or `ignore`.
        num_classes: L, at least 2.
        certainty: probability of the given label, above 0 and below 1; the others share the rest.
        ignore: label of points of which nothing is known: all labels are as likely.

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
    odd = labels[known][(labels[known] < 0) | (labels[known] >= num_classes)]
    if not np.issubdtype(labels.dtype, np.integer) or odd.size:
        raise ValueError(
            f"Invalid value for argument `labels`: expected integers from 0 to {num_classes - 1}"
            f"{'' if ignore is None else f' or {ignore}'}, received "
            f"{odd.flat[0] if odd.size else labels.dtype}."
        )
    others = (1 - certainty) / (num_classes - 1)
    given = np.arange(num_classes) == labels[..., None]
    probabilities = np.where(given, certainty, others)
    probabilities[~known] = 1 / num_classes
    return np.log(probabilities).astype("float32")


def unary_from_probabilities(
    probabilities: ArrayLike, scale: float = 1.0, minimum: float = 1e-5
) -> np.ndarray:
    """Log-probabilities, if asked for less certain than given.

    Args:
        probabilities: `(*S, L)`, not negative; they need not sum to 1.
        scale: share of the probabilities in a mixture with equal ones, above 0 to 1.
        minimum: the smallest probability, above 0: none is impossible.

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
        found = probabilities[~(probabilities >= 0)].flat[0]
        raise ValueError(
            "Invalid value for argument `probabilities`: expected numbers of at least 0, received "
            f"{found}. Pass logits as `unary`."
        )
    mixed = scale * probabilities + (1 - scale) / probabilities.shape[-1]
    return np.log(np.maximum(mixed, minimum))


def unary_from_logits(logits: ArrayLike) -> np.ndarray:
    """Log-probabilities of logits (*S, L), float32; ValueError for NaN."""
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
    """A model of one CRF, so that one setting is traced once."""
    size = (None,) * (rank - 1)
    unary, image = keras.Input((*size, labels)), keras.Input((*size, channels))
    crf = MeanFieldCRF(**json.loads(settings), dtype="float32")
    return for_any_size(keras.Model([unary, image], crf((unary, image))))
