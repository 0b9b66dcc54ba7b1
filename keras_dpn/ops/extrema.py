"""Minimum and maximum along axes, of batches without an image too."""

from collections.abc import Sequence

from keras import ops

from keras_dpn.typing import Tensor


def minimum_along(x: Tensor, axis: int | Sequence[int], keepdims: bool = False) -> Tensor:
    """Return `keras.ops.min`; of a tensor without an element, one of the same shape.

    Keras refuses those where TensorFlow runs eagerly (keras 3.15), and nowhere else.

    Example:

    >>> minimum_along(ops.zeros((0, 4, 3)), axis=1).shape
    (0, 3)
    """
    reduce = ops.sum if 0 in x.shape else ops.min
    return reduce(x, axis=axis, keepdims=keepdims)


def maximum_along(x: Tensor, axis: int | Sequence[int], keepdims: bool = False) -> Tensor:
    """Return `keras.ops.max`, as `minimum_along`."""
    reduce = ops.sum if 0 in x.shape else ops.max
    return reduce(x, axis=axis, keepdims=keepdims)
