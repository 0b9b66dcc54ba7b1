"""Points in the permutohedral lattice, and the base of its two forms."""

import copy
from typing import Self

import keras
import numpy as np
from keras import ops

from keras_dpn.typing import Tensor

_MAX_FEATURE = 1e8  # times d + 1 it still fits into 32 bits


def simplex(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the simplex of the lattice around each point.

    The lattice A*_d is Z^(d+1) projected along (1, ..., 1). The vertices around a point are its
    coordinates rounded, plus one in the k coordinates of the largest remainders, k = 0...d.

    Returns:
        rounded: `(B, N, d+1)`, int32.
        order: `(B, N, d+1)`, coordinates from the largest remainder to the smallest.
        weights: `(B, N, d+1)`, barycentric weights of the vertices k = 0...d.
    """
    d = features.shape[-1]
    elevated = _elevate(ops.clip(ops.cast(features, "float32"), -_MAX_FEATURE, _MAX_FEATURE))
    rounded = ops.round(elevated * float(np.float32(1 / (d + 1))))
    remainders, order = _largest_first(elevated - rounded * (d + 1))
    # Very large features have no fractional digits; their remainders are rounding errors.
    remainders = ops.clip(remainders / (d + 1), -0.5, 0.5)
    lasts = ops.concatenate([1 + remainders[..., -1:], remainders[..., :-1]], axis=-1)
    return ops.cast(rounded, "int32"), order, lasts - remainders


def _largest_first(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values along the last axis and their positions, of equal values the first first.

    The order decides which vertices exist; that of PyTorch's `top_k` is not defined.
    """
    if keras.backend.backend() == "torch":
        import torch

        return tuple(torch.sort(x, dim=-1, descending=True, stable=True))
    return ops.top_k(x, x.shape[-1])


def _elevate(features: Tensor) -> Tensor:
    """Return coordinates (B, N, d+1) in the plane of zero sum, in units of 1/(d+1).

    The scale makes the standard deviation of splat, blur and slice together 1 (Adams et al. 2010,
    sec. 3.1). For points on the border between simplices a rounding error decides which vertices
    exist, so the order of operations is that of the reference code.
    """
    d = features.shape[-1]
    total, columns = 0.0, []
    for j in range(d, 0, -1):
        scale = np.float32(np.float32(np.sqrt(2 / 3) * (d + 1)) / np.sqrt(j * (j + 1)))
        scaled = features[..., j - 1] * float(scale)
        columns.append(total - j * scaled)
        total = total + scaled
    return ops.stack([total, *columns[::-1]], axis=-1)


def self_weight(d: int) -> float:
    """Return the factor that makes a point's weight on itself about 1 (Adams et al.'s code)."""
    return 1 / (1 + 2.0**-d)


class Lattice:
    """Base of both lattices, with weights `before` and `after` (B N, d+1) of points on vertices.

    A point's values are multiplied by `before` to splat them, and by `after` to slice.
    """

    before: Tensor
    after: Tensor

    def scaled(self, before: Tensor, after: Tensor) -> Self:
        """Return a lattice for `after * filter(before * x)`; both (B, N, 1)."""
        scaled = copy.copy(self)
        scaled.before = self.before * ops.reshape(before, (-1, 1))
        scaled.after = self.after * ops.reshape(after, (-1, 1))
        return scaled
