"""Means of the regions of a feature map, repeated to its size (ParseNet, sec. 3.1 and 3.2)."""

import itertools
from collections.abc import Sequence
from typing import Any

from keras import backend, ops

from keras_dpn.ops.checks import check_positive_int, may_equal
from keras_dpn.typing import Shape, Tensor


def global_context(
    x: Tensor, grid: int | Sequence[int] = 1, valid: Tensor | None = None, unpool: bool = True
) -> Tensor:
    """Return the mean feature of the image, or of each region of a grid, at each position.

    Position (y, x) of a map H x W is in region `(floor(y grid / H), floor(x grid / W))`.

    Args:
        x: tensor of shape `(B, H, W, C)` of any dtype; sizes may be unknown.
        grid: number of regions along each side, integer >= 1, or several such numbers, whose means
            are concatenated: `(1, 2, 4)` is a pyramid.
        valid: None, or a tensor `(B, H, W)` or `(B, H, W, 1)` of 0 and 1 or booleans: only valid
            positions count. A region without any has mean 0.
        unpool: whether to repeat the mean of each region at its positions.

    Returns:
        Tensor of the dtype of `x` (float32 for integers), summed in float32: `(B, H, W, C * grids)`
        with `unpool`, else `(B, grid, grid, C)`.

    Raises:
        ValueError: if `x` has another rank, `grid` is below 1, `valid` has another size than `x`,
            or there are several grids without `unpool`.

    Example:

    >>> row = keras.ops.array([[[[0.0], [2.0], [4.0], [6.0]]]])
    >>> global_context(row, grid=(1, 2))[0, 0]
    [[3. 1.]
     [3. 1.]
     [3. 5.]
     [3. 5.]]
    """
    x = ops.convert_to_tensor(x)
    grids = standardize_grid(grid, unpool)
    valid = None if valid is None else ops.convert_to_tensor(valid)
    check_shapes(x.shape, None if valid is None else valid.shape)
    wide = ops.cast(x, "float32")
    counted = ops.ones_like(wide[..., :1])  # (B, H, W, 1)
    if valid is not None:
        valid = ops.cast(ops.reshape(valid, ops.shape(counted)), "bool")
        wide = ops.where(valid, wide, 0.0)  # not a product: padding may contain infinities
        counted = ops.cast(valid, "float32")
    size, means = ops.shape(x)[1:3], []
    for g in grids:
        mean = _region_sums(wide, g) / ops.maximum(_region_sums(counted, g), 1.0)
        means.append(_unpooled(mean, size) if unpool else mean)
    dtype = output_dtype(x.dtype)
    means = [ops.cast(mean, dtype) for mean in means]
    return means[0] if len(means) == 1 else ops.concatenate(means, axis=-1)


def standardize_grid(grid: int | Sequence[int], unpool: bool = True) -> tuple[int, ...]:
    """Return `grid` as a tuple of integers >= 1; raise ValueError if it is not."""
    grids = tuple(grid) if isinstance(grid, (tuple, list)) else (grid,)
    if not grids:
        raise ValueError(
            "Invalid value for argument `grid`: expected an integer or several integers, received "
            f"{grid!r}."
        )
    if len(grids) > 1 and not unpool:
        raise ValueError(
            "Invalid value for argument `grid`: expected one integer without `unpool`, received "
            f"{grid!r}."
        )
    return tuple(check_positive_int("grid", g) for g in grids)


def check_shapes(x: Shape, valid: Shape | None) -> None:
    """Raise ValueError unless `x` is (B, H, W, C) and `valid` (B, H, W), (B, H, W, 1) or None."""
    if len(x) != 4:
        raise ValueError(
            "Invalid value for argument `x`: expected a feature map (B, H, W, C), received shape "
            f"{tuple(x)}."
        )
    if valid is None:
        return
    if len(valid) == 3:
        valid = (*valid, 1)
    if not may_equal(valid, (*x[:3], 1)):
        raise ValueError(
            "Invalid value for argument `valid`: expected shape (B, H, W) or (B, H, W, 1) for a "
            f"feature map of shape {tuple(x)}, received {tuple(valid)}."
        )


def output_dtype(dtype: Any) -> str:
    """Return the dtype of the means of values of `dtype`."""
    dtype = backend.standardize_dtype(dtype)
    return dtype if backend.is_float_dtype(dtype) else "float32"


def _region_sums(x: Tensor, grid: int) -> Tensor:
    """Return the sum of each region, (B, grid, grid, C)."""
    for axis in (1, 2):
        bounds = _bounds(ops.shape(x)[axis], grid)
        before = (slice(None),) * axis
        parts = [
            ops.sum(x[(*before, slice(first, last))], axis=axis, keepdims=True)
            for first, last in itertools.pairwise(bounds)
        ]
        x = parts[0] if grid == 1 else ops.concatenate(parts, axis=axis)
    return x


def _unpooled(x: Tensor, size: Sequence[Any]) -> Tensor:
    """Repeat each region's value at its positions: (B, grid, grid, C) to (B, *size, C)."""
    for axis in (2, 1):
        grid, shape, parts = x.shape[axis], ops.shape(x), []
        for i, (first, last) in enumerate(itertools.pairwise(_bounds(size[axis - 1], grid))):
            one = x[(*(slice(None),) * axis, slice(i, i + 1))]
            parts.append(ops.broadcast_to(one, (*shape[:axis], last - first, *shape[axis + 1 :])))
        x = parts[0] if grid == 1 else ops.concatenate(parts, axis=axis)
    return x


def _bounds(size: Any, grid: int) -> list[Any]:
    """Return the boundaries of an axis's regions, where floor(position grid / size) is constant."""
    return [(i * size + grid - 1) // grid for i in range(grid + 1)]
