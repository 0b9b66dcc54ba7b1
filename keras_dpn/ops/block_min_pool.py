"""Minimum over each block of neighbouring channels (group b14 of the Deep Parsing Network)."""

from keras import ops

from keras_dpn.ops.checks import check_positive_int
from keras_dpn.ops.extrema import minimum_along
from keras_dpn.typing import Tensor


def block_min_pool(x: Tensor, block_size: int) -> Tensor:
    """Return the minimum over blocks of `block_size` neighbouring channels.

    In the Deep Parsing Network the K channels of one label are the penalties of its K mixture
    components, of which the smallest applies (ICCV 2015, sec. 3.2, b14).

    Args:
        x: tensor of shape `(..., L * K)`; the K channels of a label are adjacent.
        block_size: K, a divisor of the number of channels.

    Returns:
        Tensor of shape `(..., L)`.

    Raises:
        ValueError: if `block_size` is not a positive divisor of the channels.

    Example:

    >>> block_min_pool(keras.ops.array([[3.0, 1.0, 5.0, 4.0]]), 2)
    [[1. 4.]]
    """
    check_positive_int("block_size", block_size)
    x = ops.convert_to_tensor(x)
    check_divides(block_size, x.shape[-1])
    blocks = ops.reshape(x, (*ops.shape(x)[:-1], x.shape[-1] // block_size, block_size))
    return minimum_along(blocks, axis=-1)  # (..., L)


def check_divides(block_size: int, channels: int | None) -> None:
    """Raise ValueError unless `channels` is known and `block_size` divides it."""
    if channels is None or channels % block_size:
        raise ValueError(
            f"Invalid value for argument `block_size`: expected a divisor of the input's "
            f"{channels} channels, received {block_size}."
        )
