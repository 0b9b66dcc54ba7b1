"""The fully connected CRF as post-processing of class probabilities, on NumPy arrays."""

import gc
import json
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias, overload

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_dpn.graph import trace_for_any_size
from keras_dpn.layers import MeanFieldCRF
from keras_dpn.probabilities import (
    softmax,
    unary_from_labels,
    unary_from_logits,
    unary_from_probabilities,
)

__all__ = ["refine", "unary_from_labels", "unary_from_logits", "unary_from_probabilities"]

# One array per image.
Arrays: TypeAlias = list[np.ndarray] | tuple[np.ndarray, ...]

_MAX_SUM_ERROR = 0.1  # of probabilities in half precision or of 8 bits
_MAX_LOG_SUM_ERROR = 0.01
_MAX_MODELS = 8
_MODELS: dict[tuple[int, int, int, str], keras.Model] = {}


@overload
def refine(
    image: np.ndarray,
    probabilities: np.ndarray | None = None,
    *,
    unary: np.ndarray | None = None,
    batch: bool | None = None,
    **settings: Any,
) -> np.ndarray: ...


@overload
def refine(
    image: Arrays,
    probabilities: Arrays | None = None,
    *,
    unary: Arrays | None = None,
    batch: bool | None = None,
    **settings: Any,
) -> list[np.ndarray]: ...


def refine(
    image: np.ndarray | Arrays,
    probabilities: np.ndarray | Arrays | None = None,
    *,
    unary: np.ndarray | Arrays | None = None,
    batch: bool | None = None,
    **settings: Any,
) -> np.ndarray | list[np.ndarray]:
    """Refine class probabilities along the edges of an image.

    Args:
        image: `(H, W, C)`, any number type, for example RGB 0-255, or grey `(H, W)`; sequences
            `(T, C)` as well, and volumes `(D, H, W, C)`, see `batch`. Or a list of images of any
            sizes.
        probabilities: `(H, W, L)`, not negative, which sum to about 1 at each point; for a list of
            images, a list of such arrays.
        unary: instead of probabilities, log-probabilities up to a constant per point: logits, or
            the result of `unary_from_labels`; minus pydensecrf's energies.
        batch: needed for `(N, H, W, C)`, where N may count images or the slices of a volume. True:
            the first axis counts images, or sequences or volumes; each is refined by itself. False:
            the array, or each array of a list, is one volume.
        **settings: arguments of `layers.MeanFieldCRF`, for example `num_iterations=10`,
            `bilateral=(4.0, 121.0, 5.0)`, `spatial=(3.0, 3.0)`.

    Returns:
        Refined probabilities, float32 `(H, W, L)`, which sum to 1 at each point; for a batch, one
        array of the batch's shape; for a list of images, a list of arrays.

    Raises:
        ValueError: unless exactly one of `probabilities` and `unary` is given, of the image's size,
            with at least 2 labels and without NaN, and the settings are right; for arrays that may
            be a batch or a volume, probabilities that don't sum to 1, and for energies or
            probabilities as `unary`.

    Warns:
        UserWarning: if the image has floats from 0 to 1 and a standard deviation sb of colours is 1
            or more: the kernel then hardly sees any edge.

    Example:

    >>> image = np.zeros((4, 6, 3), "uint8")
    >>> probabilities = np.full((4, 6, 2), 0.5)
    >>> refine(image, probabilities, num_iterations=5).shape
    (4, 6, 2)
    """
    check: Callable[[ArrayLike], np.ndarray]
    if unary is not None and probabilities is None:
        given, check = unary, _check_unary
    elif probabilities is not None and unary is None:
        given, check = probabilities, _check_probabilities
    else:
        raise ValueError(
            "Expected exactly one of the arguments `probabilities` and `unary`, received "
            f"{'none' if unary is None else 'both'}."
        )
    image, given = _arrays(image), _arrays(given)
    if not isinstance(image, (list, tuple)):
        return _refine(image, check(given), batch, settings)
    if not isinstance(given, (list, tuple)) or len(given) != len(image):
        raise ValueError(
            f"Expected probabilities for each of {len(image)} images in a list, received "
            f"{len(given) if isinstance(given, (list, tuple)) else type(given).__name__}."
        )
    pairs = zip(image, given, strict=True)
    return [_refine(image, check(one), batch, settings) for image, one in pairs]


def _arrays(value: Any) -> Any:
    """Return a tensor of Keras's backend, or those of a list, as arrays; others as they are."""
    if isinstance(value, (list, tuple)):
        return [_arrays(item) for item in value]
    return ops.convert_to_numpy(value) if ops.is_tensor(value) else value


def _check_probabilities(probabilities: ArrayLike) -> np.ndarray:
    """Return log-probabilities; raise ValueError if these are no probabilities."""
    _check_labels("probabilities", np.asarray(probabilities))
    unary = unary_from_probabilities(probabilities)
    sums = np.asarray(probabilities, "float32").sum(axis=-1)
    apart = np.abs(sums - 1) > _MAX_SUM_ERROR
    if apart.any():
        raise ValueError(
            "Invalid value for argument `probabilities`: expected numbers that sum to 1 at each "
            f"point, received a sum of {sums[apart].flat[0]:g}. Divide scores by their sum, pass "
            "logits as `unary`, and energies as `unary=-energies`."
        )
    return unary


def _check_unary(unary: ArrayLike) -> np.ndarray:
    """Return log-probabilities; raise ValueError if these are energies or probabilities."""
    given = np.asarray(unary, "float32")
    _check_labels("unary", given)
    logits = unary_from_logits(given)
    if given.size and given.min() >= 0:
        for kind, sums, remedy in (
            ("energies, minus log-probabilities", np.exp(-given).sum(axis=-1), "`unary=-energies`"),
            ("probabilities", given.sum(axis=-1), "them as `probabilities`"),
        ):
            if np.abs(sums - 1).max() < _MAX_LOG_SUM_ERROR:
                raise ValueError(
                    "Invalid value for argument `unary`: expected log-probabilities up to a "
                    f"constant, received {kind}. Pass {remedy}."
                )
    return logits


def _check_labels(name: str, values: np.ndarray) -> None:
    if values.ndim and values.shape[-1] < 2:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected at least 2 labels, received shape "
            f"{values.shape}. Stack a class with its complement: np.stack([1 - p, p], axis=-1)."
        )


def _refine(
    image: np.ndarray, unary: np.ndarray, batch: bool | None, settings: dict[str, Any]
) -> np.ndarray:
    image = np.asarray(image)
    if image.shape == unary.shape[:-1]:  # grey
        image = image[..., None]
    if image.ndim != unary.ndim or image.shape[:-1] != unary.shape[:-1] or not image.size:
        raise ValueError(
            "Expected an image (H, W, C) and probabilities (H, W, L) of at least one point and the "
            f"same size, received shapes {image.shape} and {unary.shape}."
        )
    if batch is None and image.ndim == 4:
        raise ValueError(
            f"Expected one image (H, W, C), received shape {image.shape}. Pass batch=True for "
            f"{image.shape[0]} images {image.shape[1:]}, or batch=False for a volume (D, H, W, C)."
        )
    if not batch:
        return _refine_one(image, unary, settings)
    if image.ndim < 3:
        raise ValueError(
            f"Expected images (B, H, W, C) or sequences (B, T, C) with batch=True, received shape "
            f"{image.shape}."
        )
    return np.stack([_refine_one(*pair, settings) for pair in zip(image, unary, strict=True)])


def _refine_one(image: np.ndarray, unary: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    is_float = np.issubdtype(image.dtype, np.floating)
    image = image.astype("float32")
    if np.isnan(image).any():
        raise ValueError("Invalid value for argument `image`: expected numbers, received NaN.")
    serialized = json.dumps(settings, default=lambda value: np.asarray(value).tolist())
    model = _model(image.ndim, image.shape[-1], unary.shape[-1], serialized)
    if is_float and image.min() >= 0 and 0 < image.max() <= 1:
        _check_bandwidths(model.get_layer("crf").bilateral)
    logits = model.predict_on_batch([unary[None], image[None]])[0]
    return softmax(logits)


def _check_bandwidths(bilateral: Any) -> None:
    """Warn if standard deviations of colours are those of 0-255."""
    kernels = bilateral if bilateral and isinstance(bilateral[0], (list, tuple)) else [bilateral]
    narrowest = min((min(keras.tree.flatten(kernel[2])) for kernel in kernels if kernel), default=0)
    if narrowest >= 1:
        warnings.warn(
            "The image has floats from 0 to 1, and the standard deviation sb of colours in "
            f"`bilateral` is {narrowest:g}: the CRF hardly sees any edge. Pass 255 * image, or a "
            "standard deviation for 0-1.",
            stacklevel=4,
        )


def _model(rank: int, channels: int, labels: int, settings: str) -> keras.Model:
    """Return a model of one CRF; each combination of settings is traced once."""
    key = (rank, channels, labels, settings)
    model = _MODELS.get(key)
    if model is None:
        if len(_MODELS) >= _MAX_MODELS:
            # 6 to 9 MB each. They are cycles, which Python would leave in memory for long.
            _MODELS.clear()
            gc.collect()
        size = (None,) * (rank - 1)
        unary, image = keras.Input((*size, labels)), keras.Input((*size, channels))
        crf = MeanFieldCRF(**json.loads(settings), dtype="float32", name="crf")
        model = trace_for_any_size(keras.Model([unary, image], crf((unary, image))))
        _MODELS[key] = model
    return model
