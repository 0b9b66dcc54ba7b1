"""Window sums along any axes, at a cost that does not grow with the window.

The sum along one axis is a product with a banded matrix of zeros and ones. Long axes are divided
into blocks, so that a block of outputs needs only two neighbouring blocks of inputs. Unlike
differences of cumulative sums, such a product sums each window separately and is as exact as a
direct sum.
"""

import functools
import operator
from collections.abc import Sequence
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
    sizes = ops.shape(x)
    for axis, size in zip(axes, window, strict=True):
        (x,) = _filter_axis(x, sizes, axis, np.ones((1, size), "float32"))
    return ops.reshape(x, sizes)


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
    return box_moments(x, window, axes, spacing)[1]


def box_moments(
    x: Tensor,
    window: int | Sequence[int],
    axes: int | Sequence[int],
    spacing: float | Sequence[float] = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return `box_sum` and `box_second_moment` of `x`, in less time than one after the other."""
    x = ops.cast(x, "float32")
    axes, window = _standardize(x, window, axes)
    spacing = standardize_spacing(spacing, len(axes))
    sizes = ops.shape(x)
    total, moment = x, None
    for axis, size, step in zip(axes, window, spacing, strict=True):
        ones = np.ones(size, "float32")
        squares = np.square(step * (np.arange(size, dtype="float32") - size // 2))
        total, along_axis = _filter_axis(total, sizes, axis, np.stack([ones, squares]))
        if moment is None:
            moment = along_axis
        else:
            (moment,) = _filter_axis(moment, sizes, axis, ones[None])
            moment = along_axis + moment
    return ops.reshape(total, sizes), ops.reshape(moment, sizes)


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


def _filter_axis(
    x: Tensor, sizes: Sequence[int | Tensor], axis: int, kernels: np.ndarray
) -> list[Tensor]:
    """Correlate one axis with each kernel, whose element i has the offset i - window // 2.

    Args:
        x: tensor of `sizes`, or with some of its axes joined.
        sizes: integers, or scalar tensors where they are unknown.
        axis: one of `sizes`.
        kernels: `(K, window)`.

    Returns:
        K tensors `(outer, length, inner)`, whose outer and inner axes join those before and after
        `axis`.
    """
    before = kernels.shape[1] // 2
    after = kernels.shape[1] - 1 - before
    length = sizes[axis]
    shape = _product(sizes[:axis]), length, _product(sizes[axis + 1 :])
    x = ops.reshape(x, shape)
    if isinstance(length, int):  # offsets that leave the axis at every position add nothing
        if length == 0:
            return [x for _ in kernels]
        first, last = max(0, before - (length - 1)), min(kernels.shape[1], before + length)
        kernels, before, after = kernels[:, first:last], before - first, last - 1 - before
    if kernels.shape[1] == 1:
        return [x * float(kernel[0]) for kernel in kernels]
    if matmul_is_rounded():
        return _filter_by_shifts(x, kernels, before, after, length)
    if isinstance(length, int):
        return _filter_known_length(x, kernels, before, after, shape)
    return _filter_unknown_length(x, kernels, before, after, shape)


def _filter_known_length(
    x: Tensor, kernels: np.ndarray, before: int, after: int, shape: tuple[Any, int, Any]
) -> list[Tensor]:
    """Compute each block of outputs by one product with the inputs in its windows."""
    length = shape[1]
    blocks: list[list[Tensor]] = [[] for _ in kernels]
    for start in range(0, length, _BLOCK_KNOWN):
        stop = min(start + _BLOCK_KNOWN, length)
        first, last = max(0, start - before), min(length, stop + after)
        inputs = x[:, first:last]
        for kernel, outputs in zip(kernels, blocks, strict=True):
            band = _band(kernel, before - (start - first), stop - start, last - first)
            outputs.append(matmul(band, inputs))
    return [outputs[0] if len(outputs) == 1 else ops.concatenate(outputs, 1) for outputs in blocks]


def _filter_unknown_length(
    x: Tensor, kernels: np.ndarray, before: int, after: int, shape: tuple[Any, Any, Any]
) -> list[Tensor]:
    """Pad to whole blocks; a block of outputs needs the inputs of two successive blocks."""
    outer, length, inner = shape
    block = max(_BLOCK_UNKNOWN, before + after)
    num_blocks = (length + (block - 1)) // block
    padded = num_blocks * block
    x = ops.pad(x, ((0, 0), (before, padded + (block - before) - length), (0, 0)))
    x = ops.reshape(x, (outer, num_blocks + 1, block, inner))
    own, following = x[:, :-1], x[:, 1:, : before + after]
    filtered = []
    for kernel in kernels:
        out = matmul(_band(kernel, 0, block, block), own)  # (outer, blocks, block, inner)
        out = out + matmul(_band(kernel, block, block, before + after), following)
        filtered.append(ops.reshape(out, (outer, padded, inner))[:, :length])
    return filtered


def _filter_by_shifts(
    x: Tensor, kernels: np.ndarray, before: int, after: int, length: int | Tensor
) -> list[Tensor]:
    """Add up shifted inputs, for devices whose matrix products round their inputs."""
    x = ops.pad(x, ((0, 0), (before, after), (0, 0)))
    return [
        sum(float(w) * x[:, i : i + length] for i, w in enumerate(kernel)) for kernel in kernels
    ]


def _band(kernel: np.ndarray, before: int, rows: int, columns: int) -> np.ndarray:
    """Return a matrix with `kernel[c - r + before]` at row r, column c, and 0 elsewhere."""
    index = np.arange(columns)[None, :] - np.arange(rows)[:, None] + before
    inside = (index >= 0) & (index < len(kernel))
    return np.where(inside, kernel[np.clip(index, 0, len(kernel) - 1)], 0).astype("float32")


def _product(sizes: Sequence[int | Tensor]) -> Any:
    return functools.reduce(operator.mul, sizes) if sizes else 1
