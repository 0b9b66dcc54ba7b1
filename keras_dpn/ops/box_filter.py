"""Window sums along any axes, at a cost that does not grow with the window.

The sum along one axis is a product with a banded matrix of zeros and ones. Long axes are divided
into blocks, so that a block of outputs needs only two neighbouring blocks of inputs. Unlike
differences of cumulative sums, such a product sums each window separately and is as exact as a
direct sum.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_dpn.ops.checks import standardize_spacing, standardize_window
from keras_dpn.ops.matmul import matmul, matmul_is_rounded
from keras_dpn.typing import Tensor

# Outputs per block, for axes of known and of unknown size. Shorter blocks are faster for small
# windows and slower for large ones, longer ones pad more (measured on 2 cores at 512x512).
_BLOCK_KNOWN, _BLOCK_UNKNOWN = 192, 128


def box_sum(x: Tensor, window: int | Sequence[int], axes: int | Sequence[int]) -> Tensor:
    """Return the sum of `x` over a window around each position.

    Args:
        x: tensor of any rank; summed in float32.
        window: integer >= 1, or one for each of `axes`. A window of even size m covers the
            offsets -m//2 ... m-1-m//2 (50: -25 ... +24). It may be larger than the tensor.
        axes: integer or sequence of distinct integers, the axes of `x` to sum along. Their sizes
            may be unknown.

    Returns:
        float32 tensor of the shape of `x`. Positions outside of `x` count as 0.

    Raises:
        ValueError: if a window is below 1, or `axes` does not name distinct axes of `x`.

    Example:

    >>> box_sum(keras.ops.array([1.0, 2.0, 3.0, 4.0]), 3, 0)
    [3. 6. 9. 7.]
    """
    x = ops.cast(x, "float32")
    axes, window = _standardize(x, window, axes)
    for axis, size in zip(axes, window, strict=True):
        x = _filter_axis(x, np.ones(size, "float32"), axis)
    return x


def box_second_moment(
    x: Tensor,
    window: int | Sequence[int],
    axes: int | Sequence[int],
    spacing: float | Sequence[float] = 1.0,
) -> Tensor:
    """Return the sum of `x` times the squared distance from the window's centre.

    `out(j) = sum_z |j - z|^2 x(z)` over the same window as `box_sum`.

    Args:
        x: tensor of any rank; summed in float32.
        window: as in `box_sum`.
        axes: as in `box_sum`.
        spacing: distance from one position to the next, one number or one for each of `axes`.

    Returns:
        float32 tensor of the shape of `x`.

    Example:

    >>> box_second_moment(keras.ops.array([1.0, 0.0, 0.0, 0.0]), 5, 0)
    [0. 1. 4. 0.]
    """
    total = ops.cast(x, "float32")
    axes, window = _standardize(total, window, axes)
    spacing = standardize_spacing(spacing, len(axes))
    moment = None
    for axis, size, step in zip(axes, window, spacing, strict=True):
        squares = np.square(step * (np.arange(size, dtype="float32") - size // 2))
        along_axis = _filter_axis(total, squares, axis)
        ones = np.ones(size, "float32")
        moment = along_axis if moment is None else along_axis + _filter_axis(moment, ones, axis)
        total = _filter_axis(total, ones, axis)
    return moment


def _standardize(
    x: Tensor, window: int | Sequence[int], axes: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(x.shape)
    axes = tuple(axes) if isinstance(axes, (tuple, list)) else (axes,)
    if not axes or any(not -rank <= axis < rank for axis in axes):
        raise ValueError(
            f"Invalid value for argument `axes`: expected axes of a tensor of rank {rank}, "
            f"received {axes}."
        )
    axes = tuple(axis % rank for axis in axes)
    if len(set(axes)) < len(axes):
        raise ValueError(
            f"Invalid value for argument `axes`: expected distinct axes, received {axes}."
        )
    return axes, standardize_window(window, len(axes))


def _filter_axis(x: Tensor, weights: np.ndarray, axis: int) -> Tensor:
    """Correlate one axis with `weights`, whose element i has the offset i - len // 2."""
    before, after = len(weights) // 2, len(weights) - 1 - len(weights) // 2
    length = x.shape[axis]
    if length == 0:
        return x
    if length is not None:  # offsets that leave the axis at every position add nothing
        first, last = max(0, before - (length - 1)), min(len(weights), before + length)
        weights, before, after = weights[first:last], before - first, last - 1 - before
    if len(weights) == 1:
        return x * float(weights[0])
    shape = ops.shape(x)
    outer, inner = _product(shape[:axis]), _product(shape[axis + 1 :])
    x = ops.reshape(x, (outer, shape[axis], inner))  # (outer, length, inner)
    if matmul_is_rounded():
        x = _filter_by_shifts(x, weights, before, after)
    elif length is None:
        x = _filter_unknown_length(x, weights, before, after, shape[axis])
    else:
        x = _filter_known_length(x, weights, before, after, length)
    return ops.reshape(x, shape)


def _filter_known_length(
    x: Tensor, weights: np.ndarray, before: int, after: int, length: int
) -> Tensor:
    """Compute each block of outputs by one product with the inputs in its windows."""
    blocks = []
    for start in range(0, length, _BLOCK_KNOWN):
        stop = min(start + _BLOCK_KNOWN, length)
        first, last = max(0, start - before), min(length, stop + after)
        band = _band(weights, before - (start - first), stop - start, last - first)
        blocks.append(matmul(band, x[:, first:last]))
    return blocks[0] if len(blocks) == 1 else ops.concatenate(blocks, axis=1)


def _filter_unknown_length(
    x: Tensor, weights: np.ndarray, before: int, after: int, length: Tensor
) -> Tensor:
    """Pad to whole blocks; a block of outputs needs the inputs of two successive blocks."""
    block = max(_BLOCK_UNKNOWN, before + after)
    num_blocks = (length + block - 1) // block
    missing = (num_blocks + 1) * block - length - before
    x = ops.pad(x, ((0, 0), (before, missing), (0, 0)))
    x = ops.reshape(x, (ops.shape(x)[0], num_blocks + 1, block, ops.shape(x)[2]))
    own = matmul(_band(weights, 0, block, block), x[:, :-1])  # (outer, blocks, block, inner)
    following = _band(weights, block, block, before + after)
    out = own + matmul(following, x[:, 1:, : before + after])
    return ops.reshape(out, (ops.shape(x)[0], num_blocks * block, ops.shape(x)[3]))[:, :length]


def _filter_by_shifts(x: Tensor, weights: np.ndarray, before: int, after: int) -> Tensor:
    """Add up shifted inputs, for devices whose matrix products round their inputs."""
    length = ops.shape(x)[1]
    x = ops.pad(x, ((0, 0), (before, after), (0, 0)))
    return sum(float(w) * x[:, i : i + length] for i, w in enumerate(weights))


def _band(weights: np.ndarray, before: int, rows: int, columns: int) -> np.ndarray:
    """Return a matrix with `weights[c - r + before]` at row r, column c, and 0 elsewhere."""
    index = np.arange(columns)[None, :] - np.arange(rows)[:, None] + before
    inside = (index >= 0) & (index < len(weights))
    return np.where(inside, weights[np.clip(index, 0, len(weights) - 1)], 0).astype("float32")


def _product(sizes: Iterable[Any]) -> Any:
    result = 1
    for size in sizes:
        result = result * size
    return result
