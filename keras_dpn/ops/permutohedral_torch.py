"""The permutohedral lattice on PyTorch, whose arrays may be of any size."""

import numpy as np

from keras_dpn.ops.permutohedral_simplex import self_weight, simplex
from keras_dpn.ops.permutohedral_static import StaticLattice
from keras_dpn.typing import Tensor


class TorchLattice(StaticLattice):
    """Splat, blur and slice as `StaticLattice`, over the vertices that occur."""

    def __init__(self, features: Tensor) -> None:
        import torch

        d = features.shape[-1]
        self.corners = d + 1
        rounded, order, weights = simplex(features)
        keys, steps = _hash(rounded.long(), order.long())
        found, vertex = torch.unique(keys, return_inverse=True)  # in order
        self.vertex = vertex.reshape(-1, d + 1)  # (B N, d+1)
        # (d+1, n+1): the neighbours of every vertex along every direction; n where there is none.
        count = len(found)
        wanted = found + steps[:, None]
        at = torch.searchsorted(found, wanted).clamp(max=count - 1)
        right = torch.where(found[at] == wanted, at, count)
        self.right = torch.nn.functional.pad(right, (0, 1), value=count)
        left = torch.full_like(self.right, count)
        left.scatter_(1, right, torch.arange(count, device=right.device).expand(d + 1, -1))
        left[:, count] = count  # those without a right neighbour have written here
        self.left = left
        self.before = weights.reshape(-1, d + 1)
        self.after = self.before * self_weight(d)


def _hash(rounded: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Return a 64-bit hash of each vertex (B, N, d+1) and its steps along the d+1 directions.

    It is linear in the vertex's coordinates, modulo 2**64.
    """
    import torch

    d = rounded.shape[-1] - 1
    *strides, image_stride = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, d + 1) | 1
    last = (-sum(map(int, strides)) + 2**63) % 2**64 - 2**63
    steps = torch.tensor([*map(int, strides), last], device=rounded.device)
    images = torch.arange(len(rounded), device=rounded.device)[:, None, None]
    base = (rounded * steps).sum(-1, keepdim=True) + images * int(image_stride)  # (B, N, 1)
    ups = steps[order[..., :-1]].cumsum(-1)
    return torch.cat([base, base + ups], dim=-1), steps
