"""Gaussian-weighted sums over an image's points: exact, within a window, or by the lattice."""

import functools
import operator
from collections.abc import Sequence
from typing import Any, Literal

from keras import ops

from keras_dpn.ops.checks import check_one_of
from keras_dpn.ops.local_conv import local_conv
from keras_dpn.ops.matmul import matmul
from keras_dpn.ops.permutohedral import permutohedral_lattice
from keras_dpn.typing import Tensor

FILTERS = ("permutohedral", "window", "exact")
NORMALIZATIONS = ("symmetric", "row", "none")
_EPSILON = 1e-20


def gaussian_kernel(
    features: Tensor,
    filter: Literal["permutohedral", "window", "exact"] = "permutohedral",
    window: int | Sequence[int] | None = None,
) -> "_WindowKernel | _Flat":
    """Return the kernel `k(i, j) = exp(-||f_i - f_j||^2 / 2)` between all points of an image.

    Args:
        features: `(B, *S, d)`, float32, each divided by its standard deviation.
        filter: "permutohedral", all pairs, approximately, at a cost linear in the points, see
            `permutohedral_filter`; "window", the pairs within a window around each point, exactly,
            at a cost that grows with the window and memory that does not; or "exact", all pairs,
            at a cost and memory that grow with the square of the number of points.
        window: integer or one per axis, for the filter "window".

    Returns:
        An object with `filter(x)`: `sum_j k(i, j) x_j` for x of shape `(B, *S, C)`.
    """
    check_one_of("filter", filter, FILTERS)
    if filter == "window":
        return _WindowKernel(features, window)
    points = _flatten(features)
    if filter == "exact":
        return _Flat(_ExactKernel(points))
    return _Flat(permutohedral_lattice(points))


def normalized(
    kernel: "_WindowKernel | _Flat",
    ones: Tensor,
    normalization: Literal["symmetric", "row", "none"],
    scale: float | Tensor = 1.0,
) -> "_Scaled | _WindowKernel | _Flat":
    """Return the kernel divided by its row sums n_i = sum_j k(i, j).

    Args:
        kernel: from `gaussian_kernel`.
        ones: `(B, *S, 1)`.
        normalization: "symmetric", `k(i, j) / sqrt(n_i n_j)`; "row", `k(i, j) / n_i`; or "none".
        scale: number or tensor, a factor.

    Returns:
        A kernel.
    """
    check_one_of("normalization", normalization, NORMALIZATIONS)
    if normalization == "none":
        return kernel.scaled(ones, scale * ones)
    sums = kernel.filter(ones) + _EPSILON
    if normalization == "row":
        return kernel.scaled(ones, scale / sums)
    root = 1 / ops.sqrt(sums)
    return kernel.scaled(root, scale * root)


class _Scaled:
    """A kernel multiplied by two factors for each point."""

    def __init__(self, kernel: Any, before: Tensor, after: Tensor) -> None:
        self.kernel, self.before, self.after = kernel, before, after

    def filter(self, x: Tensor) -> Tensor:
        return ops.multiply(self.after, self.kernel.filter(ops.multiply(self.before, x)))


class _Kernel:
    """A kernel whose factors are applied before and after it."""

    def scaled(self, before: Tensor, after: Tensor) -> _Scaled:
        return _Scaled(self, before, after)


class _WindowKernel(_Kernel):
    def __init__(self, features: Tensor, window: Any) -> None:
        self.features, self.window = features, window

    def filter(self, x: Tensor) -> Tensor:
        return local_conv(x, self.features, self.window, kernel="gaussian", color_weight=0.5)


class _ExactKernel(_Kernel):
    def __init__(self, points: Tensor) -> None:
        squares = 0.0
        for f in ops.split(points, points.shape[-1], axis=-1):  # (B, N, 1)
            squares = squares + ops.square(f - ops.transpose(f, (0, 2, 1)))
        self.weights = ops.exp(-squares / 2)  # (B, N, N)

    def filter(self, x: Tensor) -> Tensor:
        return matmul(self.weights, x)


class _Flat:
    """A kernel over (B, N, C), applied to (B, *S, C)."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def filter(self, x: Tensor) -> Tensor:
        return ops.reshape(self.kernel.filter(_flatten(x)), ops.shape(x))

    def scaled(self, before: Tensor, after: Tensor) -> "_Flat":
        return _Flat(self.kernel.scaled(_flatten(before), _flatten(after)))


def _flatten(x: Tensor) -> Tensor:
    batch, *sizes, channels = ops.shape(x)  # without -1, as an empty batch leaves it undetermined
    return ops.reshape(x, (batch, functools.reduce(operator.mul, sizes), channels))
