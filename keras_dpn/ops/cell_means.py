"""Means over the cells of a coarser grid."""

from collections.abc import Sequence

from keras import ops

from keras_dpn.typing import Tensor


def cell_means(x: Tensor, stride: int | Sequence[int]) -> Tensor:
    """Return the mean over each cell of `stride` positions along each axis.

    The first cell starts at the first position, as the cells of a backbone do; average pooling with
    padding "same" would centre them. The last cell is the mean over what the input has of it.

    Args:
        x: float32 `(B, *S, C)` with one to three spatial axes S, of sizes that may be unknown.
        stride: positions per cell, an integer >= 1 or one per axis.

    Returns:
        `(B, *S', C)`, with S' the sizes divided by the stride, rounded up.

    Example:

    >>> cell_means(keras.ops.array([[[1.0], [3.0], [5.0]]]), 2)[0, :, 0]
    [2. 5.]
    """
    axes = len(x.shape) - 2
    strides = (stride,) * axes if isinstance(stride, int) else tuple(stride)
    if max(strides) == 1:
        return x
    sizes = ops.shape(x)[1:-1]
    # No remainders of negative numbers: tf2onnx (1.17) computes other ones.
    missing = [(n + s - 1) // s * s - n for n, s in zip(sizes, strides, strict=True)]
    padding = [(0, 0), *((0, n) for n in missing), (0, 0)]
    total, fraction = (
        ops.average_pool(ops.pad(values, padding), strides, strides)
        for values in (x, ops.ones_like(x))
    )
    return total / fraction  # the mean over the cell's positions in the input
