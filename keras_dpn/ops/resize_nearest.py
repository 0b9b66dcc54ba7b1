"""Nearest-neighbour resizing of feature maps and of label maps."""

from collections.abc import Sequence

from keras import ops

from keras_dpn.ops.resize import check_size
from keras_dpn.typing import Tensor


def resize_nearest(x: Tensor, size: Sequence[int | Tensor]) -> Tensor:
    """Resize the two spatial axes by nearest neighbour: each cell takes the value at its centre.

    With half-pixel centres, output i samples `floor((i + 0.5) * in / out)`. It upsamples feature
    maps, and samples a label map at the cells of one.

    Args:
        x: tensor of shape `(B, H, W, ...)`, of any dtype; batch and sizes may be unknown.
        size: `(height, width)`, integers or scalar integer tensors.

    Returns:
        Tensor of shape `(B, height, width, ...)`, of the same type.

    Raises:
        ValueError: if `x` has fewer axes or a size is below 1.

    Example:

    >>> resize_nearest(keras.ops.array([[[1, 2, 3, 4, 5]]]), (2, 2))
    [[[2 4]
      [2 4]]]
    """
    x = ops.convert_to_tensor(x)
    if len(x.shape) < 3:
        raise ValueError(
            "Invalid value for argument `x`: expected shape (B, H, W, ...), received "
            f"{tuple(x.shape)}."
        )
    height, width = check_size(size)
    rows = _nearest(ops.shape(x)[1], height)
    columns = _nearest(ops.shape(x)[2], width)
    return ops.take(ops.take(x, rows, axis=1), columns, axis=2)


def _nearest(size_in: int | Tensor, size_out: int | Tensor) -> Tensor:
    return (2 * ops.arange(size_out, dtype="int32") + 1) * size_in // (2 * size_out)
