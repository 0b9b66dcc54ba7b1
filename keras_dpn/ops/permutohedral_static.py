"""The permutohedral lattice in arrays of fixed size, on JAX and wherever XLA compiles."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_dpn.ops.permutohedral_simplex import Lattice, self_weight, simplex
from keras_dpn.ops.segment_sum import segment_sum
from keras_dpn.typing import Tensor


class StaticLattice(Lattice):
    """Splat, blur and slice by gathers and segment sums, in arrays of fixed size.

    Vertices are identified by two 32-bit hashes, since JAX has no 64-bit integers by default.
    Loops and few operations keep it quick to compile: a CRF filters some twenty times.
    """

    def __init__(self, features: Tensor) -> None:
        d = features.shape[-1]
        self.corners = d + 1
        rounded, order, weights = simplex(features)
        keys, steps = _hash(rounded, order)
        vertex, found, used = _unique(keys)
        self.vertex = ops.reshape(vertex, (-1, d + 1))  # (B N, d+1)
        # (d+1, n+1): the neighbours of every vertex along every direction, on either side; n where
        # there is none.
        pairs = zip(found, steps, strict=True)
        self.right = _find(found, [key + step[:, None] for key, step in pairs], used)
        self.left = _inverse(self.right)
        self.before = ops.reshape(weights, (-1, d + 1))
        self.after = self.before * self_weight(d)

    def filter(self, x: Tensor) -> Tensor:
        """Return the sum (B, N, C) over all points of the same image, with Gaussian weights."""
        lattice = (self.vertex, self.left, self.right)
        weights = (ops.stop_gradient(self.before), ops.stop_gradient(self.after))
        last = self.corners - 1

        # Its tensors are arguments: JAX can't differentiate a function that uses tensors of another
        # trace.
        @ops.custom_gradient
        def run(
            flat: Tensor, before: Tensor, after: Tensor, *lattice: Tensor
        ) -> tuple[Tensor, Any]:
            # The gradient of a gather would be a scatter for each direction. The blur along one is
            # symmetric: its gradient is a gather again.
            def gradient(*args: Tensor, upstream: Tensor | None = None) -> tuple[Any, ...]:
                upstream = args[0] if upstream is None else upstream
                found = _run(upstream, after, before, lattice, lambda i: last - i)
                return found, None, None, *(None for _ in lattice)

            return _run(flat, before, after, lattice, lambda i: i), gradient

        flat = ops.reshape(ops.cast(x, "float32"), (-1, ops.shape(x)[-1]))  # (B N, C)
        return ops.reshape(run(flat, *weights, *lattice), ops.shape(x))


def _run(
    flat: Tensor,
    before: Tensor,
    after: Tensor,
    lattice: Sequence[Tensor],
    direction: Callable[[Any], Any],
) -> Tensor:
    """Splat, blur along the i-th direction for each i, and slice (B N, C)."""
    vertex, left, right = lattice
    spread = ops.expand_dims(flat, 1) * ops.expand_dims(before, -1)  # (B N, d+1, C)
    values = segment_sum(
        ops.reshape(spread, (-1, ops.shape(flat)[-1])),
        ops.reshape(vertex, (-1,)),
        ops.shape(left)[1],  # the last one holds nothing
    )

    def blur(i: Any, values: Tensor) -> Tensor:
        before, after = (ops.take(values, side[direction(i)], axis=0) for side in (left, right))
        return values + 0.5 * (before + after)

    values = ops.fori_loop(0, left.shape[0], blur, values)
    return ops.sum(ops.expand_dims(after, -1) * ops.take(values, vertex, axis=0), axis=1)


def _hash(rounded: Tensor, order: Tensor) -> tuple[Any, Any]:
    """Return two hashes of each vertex (B N (d+1),) and their steps, as `_pack`."""
    d = rounded.shape[-1] - 1
    constants = np.random.default_rng(0).integers(-(2**31), 2**31 - 1, (2, d + 1)) | 1
    images = ops.arange(ops.shape(rounded)[0], dtype="int32")[:, None, None]
    keys, steps = [], []
    for *strides, image_stride in constants:
        last = (-sum(strides) + 2**31) % 2**32 - 2**31  # modulo 2**32
        step = ops.convert_to_tensor(np.array([*strides, last], "int32"))
        base = ops.sum(rounded * step, axis=-1, keepdims=True) + images * int(image_stride)
        ups = ops.cumsum(ops.take(step, order[..., :-1]), axis=-1)
        keys.append(ops.reshape(ops.concatenate([base, base + ups], axis=-1), (-1,)))
        steps.append(step)
    return keys, steps


def _unique(keys: Any) -> tuple[Tensor, list[Tensor], Tensor]:
    """Give equal pairs of keys the same index.

    Returns:
        index: (n,), the index of each pair.
        found: two arrays (n,), the pairs in order, behind them the largest integers.
        used: bool (n,), which of them are pairs.
    """
    by_key = ops.argsort(keys[1])
    by_key = ops.take(by_key, ops.argsort(ops.take(keys[0], by_key)))  # stable: sorted by both
    ordered = [ops.take(key, by_key) for key in keys]
    differs = sum(ops.cast(key[1:] != key[:-1], "int32") for key in ordered)
    number = ops.cumsum(ops.cast(differs > 0, "int32"))
    number = ops.concatenate([ops.zeros_like(number[:1]), number])
    size = ops.shape(number)
    index = ops.scatter(by_key[:, None], number, size)
    used = ops.arange(size[0]) <= number[-1]
    found = [
        ops.where(used, ops.segment_max(key, number, num_segments=size[0]), 2**31 - 1)
        for key in ordered
    ]
    return index, found, used


def _find(found: Sequence[Tensor], wanted: Sequence[Tensor], used: Tensor) -> Tensor:
    """Return the position of each wanted pair among the n found ones, n if it is missing.

    Args:
        found: two arrays (n,), pairs in order.
        wanted: two arrays (m, n).
        used: bool (n,), which of the wanted pairs count.

    Returns:
        int32 (m, n+1), the last column n.
    """
    size = ops.shape(found[0])[0]
    low = ops.zeros_like(wanted[0])
    high = low + size

    def halve(_: Tensor, bounds: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        low, high = bounds
        middle = (low + high) // 2
        first, second = (ops.take(key, ops.minimum(middle, size - 1)) for key in found)
        below = (first < wanted[0]) | ((first == wanted[0]) & (second < wanted[1]))
        below = below & (middle < high)
        return ops.where(below, middle + 1, low), ops.where(below, high, middle)

    steps = size.bit_length() if isinstance(size, int) else 32
    low, _ = ops.fori_loop(0, steps, halve, (low, high))
    at = ops.minimum(low, size - 1)
    equal = (ops.take(found[0], at) == wanted[0]) & (ops.take(found[1], at) == wanted[1])
    return ops.pad(ops.where(equal & used, at, size), [(0, 0), (0, 1)], constant_values=size)


def _inverse(right: Tensor) -> Tensor:
    """Return the left neighbours (m, n+1) of the vertices, given the right ones; n for none."""
    rows, columns = ops.shape(right)
    places = ops.reshape(right + columns * ops.arange(rows, dtype="int32")[:, None], (-1, 1))
    numbers = ops.broadcast_to(ops.arange(columns, dtype="int32") + 1, (rows, columns))
    numbers = ops.where(right == columns - 1, 0, numbers)
    left = ops.scatter(places, ops.reshape(numbers, (-1,)), (rows * columns,))
    left = ops.reshape(left, (rows, columns))
    return ops.where(left == 0, columns, left) - 1
