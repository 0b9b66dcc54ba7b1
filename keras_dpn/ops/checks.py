"""Argument checks shared by functions and layers."""

import math
import numbers
import operator
from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any, TypeVar

import keras
import numpy as np

from keras_dpn.typing import Shape, Tensor

T = TypeVar("T")


def check_positive_int(name: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int; raise ValueError unless it is an integer >= `minimum`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if number < minimum:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected an integer of at least {minimum}, "
            f"received {value!r}."
        )
    return number


def check_positive_number(name: str, value: Any) -> float:
    """Return `value`; raise ValueError unless it is a number > 0."""
    if not _is_real(value) or not value > 0:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected a positive number, received {value!r}."
        )
    return value


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real)


def check_number(name: str, value: Any, minimum: float = -math.inf) -> float:
    """Return `value`; raise ValueError unless it is a finite number, at least `minimum`."""
    if not _is_real(value) or not math.isfinite(value) or value < minimum:
        words = "a finite number" if minimum == -math.inf else f"a number from {minimum:g} up"
        raise ValueError(
            f"Invalid value for argument `{name}`: expected {words}, received {value!r}."
        )
    return float(value)


def standardize_window(window: Any, num_axes: int, name: str = "window") -> tuple[int, ...]:
    """Return `window` as a tuple of `num_axes` integers >= 1; raise ValueError if it is not.

    Args:
        window: an integer for all axes, or a sequence with one per axis.
        num_axes: number of axes that the window spans.
        name: of the argument, for the message.
    """
    sizes = (window,) * num_axes if not isinstance(window, (tuple, list)) else tuple(window)
    if len(sizes) != num_axes:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected an integer or {num_axes} integers, "
            f"one per axis, received {window!r}."
        )
    return tuple(check_positive_int(name, size) for size in sizes)


def standardize_spacing(spacing: Any, num_axes: int, name: str = "spacing") -> tuple[float, ...]:
    """Return `spacing` as a tuple of `num_axes` finite numbers > 0; raise ValueError if not."""
    steps = (spacing,) * num_axes if not isinstance(spacing, (tuple, list)) else tuple(spacing)
    is_step = [isinstance(step, numbers.Real) and 0 < float(step) < float("inf") for step in steps]
    if len(steps) != num_axes or not all(is_step):
        several = f" or {num_axes}, one per axis" if num_axes > 1 else ""
        raise ValueError(
            f"Invalid value for argument `{name}`: expected a positive number{several}, received "
            f"{spacing!r}."
        )
    return tuple(float(step) for step in steps)


def check_one_of(name: str, value: T, allowed: Collection[Any]) -> T:
    """Raise ValueError unless `value` is in `allowed`."""
    if value not in allowed:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected one of {sorted(allowed)}, "
            f"received {value!r}."
        )
    return value


def check_labels(labels_shape: Shape, logits_shape: Shape) -> None:
    """Raise ValueError unless labels `(B, H, W)` or `(B, H, W, 1)` fit logits `(B, H, W, L)`."""
    labels, expected = tuple(labels_shape), tuple(logits_shape[:-1])
    if len(labels) == len(expected) + 1 and labels[-1] == 1:
        labels = labels[:-1]
    sizes = zip(labels, expected, strict=False)
    if len(labels) != len(expected) or any(n and m and n != m for n, m in sizes):
        raise ValueError(
            f"Invalid value for argument `y_true`: expected shape {expected} for `y_pred` of shape "
            f"{tuple(logits_shape)}, received {tuple(labels_shape)}."
        )


def check_numbers_in_order(name: str, values: Any) -> list[float]:
    """Return non-negative numbers as floats; raise ValueError for others, and a dictionary.

    Of a dictionary, as Keras's `class_weight` is one, only the keys would be read.
    """
    if not isinstance(values, (Mapping, Set, str)):
        values = [float(value) for value in values]
        if all(0 <= value < math.inf for value in values):
            return values
    raise ValueError(
        f"Invalid value for argument `{name}`: expected non-negative numbers in order, received "
        f"{values}."
    )


def check_no_sample_weight(sample_weight: Any, taker: str, instead: str) -> None:
    """Raise ValueError for weights of samples or pixels: `taker` takes none, but has `instead`."""
    if sample_weight is not None:
        raise ValueError(
            f"Invalid value for argument `sample_weight`: {taker} takes none, received one. "
            f"{instead}"
        )


def may_equal(shape: Shape, other: Shape) -> bool:
    """Return whether two shapes are the same, as far as their sizes are known."""
    sizes = zip(shape, other, strict=False)
    return len(shape) == len(other) and all(n is None or m is None or n == m for n, m in sizes)


def holds_shapes(input_shape: Sequence[Any]) -> bool:
    """Return whether the shape of a layer's input is a sequence of shapes, as of a pair."""
    return not all(size is None or isinstance(size, int) for size in input_shape)


def size_advice(logits: Shape, image: Shape) -> str:
    """Return what to do where the shapes of logits and image don't fit each other."""
    if len(logits) > 3 and may_equal((logits[0], *logits[2:]), (image[0], *image[2:])):
        return "Put the channels last."
    return "Upsample the logits to the image's size first (`keras_dpn.layers.Resize`)."


def check_channels_last(layer_name: str) -> None:
    """Raise ValueError if Keras is configured for channels first."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            f"{layer_name} supports the image data format 'channels_last' only, received "
            f"{keras.config.image_data_format()!r} from keras.config.image_data_format(). Call "
            "keras.config.set_image_data_format('channels_last') first."
        )


def known_values(x: Tensor, dtype: str) -> np.ndarray | None:
    """Return a tensor as a NumPy array, or None if its values aren't known.

    They aren't while a graph is being built, nor, on JAX, where other processes hold a part.
    """
    try:
        return np.asarray(_convertible(x), dtype)
    except (NotImplementedError, TypeError, ValueError, RuntimeError):
        return None


def _convertible(x: Tensor) -> Any:
    """Return what NumPy can convert: no PyTorch tensor with gradients, on a GPU, or of bfloat16."""
    if keras.backend.backend() != "torch" or not keras.ops.is_tensor(x):
        return x
    import torch

    if torch.compiler.is_compiling():
        raise TypeError("While `torch.compile` traces, tensors have no values.")
    return keras.ops.convert_to_numpy(x)
