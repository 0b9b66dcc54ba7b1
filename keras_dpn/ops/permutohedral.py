"""Gaussian filtering in feature space by the permutohedral lattice, in tensor operations."""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_dpn.typing import Tensor

# A sparse-dense product runs on one core: groups of columns run in parallel. Narrow groups cost
# more per column, and above 31 columns TensorFlow's product is four times slower.
_MAX_COLUMNS = 12
MAX_DIMENSION = 6
_MAX_FEATURE = 1e8  # times d + 1 it still fits into 32 bits


def permutohedral_filter(x: Tensor, features: Tensor) -> Tensor:
    """Sum `x` over all pairs of points with Gaussian weights of their features' distance.

    Approximates, at a cost linear in N,

        out_i = sum_j exp(-||f_i - f_j||^2 / 2) x_j

    by the permutohedral lattice (Adams, Baek and Davis 2010), as the fully connected CRF of
    Krähenbühl and Koltun (2011) does: each point spreads its values over the vertices of the
    simplex around it (splat), the values are blurred along the lattice's directions, and
    each point interpolates them (slice). The sum includes j = i.

    For dense points the error is a few percent. For sparse points in many dimensions the lattice
    lacks vertices to blur across, and the sums are too small, down to a third: divide by the filter
    of ones, as a CRF does.

    Gradients flow to `x`, not to `features`.

    Args:
        x: `(B, N, C)`, float32.
        features: `(B, N, d)`, d from 1 to 6, each divided by its standard deviation. Values are
            clipped to +-1e8.

    Returns:
        `(B, N, C)`, float32.

    Raises:
        ValueError: for other ranks, sizes that do not fit, and d above 6.

    Example:

    >>> features = keras.ops.array([[[0.0], [0.1], [9.0]]])  # two points together, one far off
    >>> x = keras.ops.array([[[1.0], [3.0], [5.0]]])
    >>> sums, ones = permutohedral_filter(x, features), permutohedral_filter(x * 0 + 1, features)
    >>> keras.ops.round(sums / ones, 1)[0, :, 0]
    [2. 2. 5.]
    """
    x, features = ops.convert_to_tensor(x), ops.convert_to_tensor(features)
    if len(x.shape) != 3 or x.shape[:2] != features.shape[:2]:
        raise ValueError(
            "Invalid values for arguments `x` and `features`: expected shapes (B, N, C) and "
            f"(B, N, d), received {tuple(x.shape)} and {tuple(features.shape)}."
        )
    return permutohedral_lattice(features).filter(x)


def permutohedral_lattice(features: Tensor) -> "_TensorFlowLattice | _StaticLattice":
    """Return the lattice of points, to filter with it several times; see `permutohedral_filter`.

    On TensorFlow the lattice contains the vertices that occur. On JAX and in functions that XLA
    compiles, where shapes are static, it has space for as many as could occur, B N (d + 1).

    Args:
        features: `(B, N, d)`, d from 1 to 6, each divided by its standard deviation.

    Returns:
        An object with `filter(x)`, the sum over all points, and `scaled(before, after)`, a lattice
        that multiplies each point's values before and after filtering.
    """
    features = ops.stop_gradient(ops.convert_to_tensor(features))
    if len(features.shape) != 3 or not 1 <= (features.shape[-1] or 0) <= MAX_DIMENSION:
        raise ValueError(
            "Invalid value for argument `features`: expected shape (B, N, d) with d from 1 to "
            f"{MAX_DIMENSION}, received {tuple(features.shape)}. For more dimensions use exact "
            "kernels (filter='window' or 'exact' of MeanFieldCRF)."
        )
    sparse = keras.backend.backend() == "tensorflow" and not _is_compiled_by_xla()
    return (_TensorFlowLattice if sparse else _StaticLattice)(features)


def _is_compiled_by_xla() -> bool:
    """Whether TensorFlow traces a function that XLA compiles, or one that such a function calls."""
    import tensorflow as tf

    # TensorFlow has no public name for this; Keras 2 asked the same of it.
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    return not tf.executing_eagerly() and bool(
        GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    )


def _simplex(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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
    remainders, order = ops.top_k(elevated - rounded * (d + 1), d + 1)
    # Very large features have no fractional digits; their remainders are rounding errors.
    remainders = ops.clip(remainders / (d + 1), -0.5, 0.5)
    lasts = ops.concatenate([1 + remainders[..., -1:], remainders[..., :-1]], axis=-1)
    return ops.cast(rounded, "int32"), order, lasts - remainders


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


def _self_weight(d: int) -> float:
    """Return the factor that makes a point's weight on itself about 1 (Adams et al.'s code)."""
    return 1 / (1 + 2.0**-d)


class _Lattice:
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


class _TensorFlowLattice(_Lattice):
    """Splat, blur and slice by products with sparse matrices over the vertices that occur."""

    def __init__(self, features: Tensor) -> None:
        self.d = features.shape[-1]
        self.matrices, weights = _compiled_build(self.d)(ops.cast(features, "float32"))
        self.before, self.after = weights, weights * _self_weight(self.d)  # (B N, d+1)

    def filter(self, x: Tensor) -> Tensor:
        """Return the sum (B, N, C) over all points of the same image, with Gaussian weights."""
        channels = x.shape[-1]
        run = _compiled_filter(self.d, channels)
        flat = ops.reshape(ops.cast(x, "float32"), (-1, channels))
        return ops.reshape(run(flat, self.before, self.after, self.matrices), ops.shape(x))


# Compiled separately, so that a CRF's iterations aren't traced one by one, and eager calls run on
# all cores.
@functools.cache
def _compiled_build(d: int) -> Callable[..., Any]:
    import tensorflow as tf

    return tf.function(_build, input_signature=[tf.TensorSpec((None, None, d), "float32")])


@functools.cache
def _compiled_filter(d: int, channels: int) -> Callable[..., Any]:
    import tensorflow as tf

    points, entries = tf.TensorSpec((None, d + 1), "float32"), tf.TensorSpec((None, 2), "int32")
    blur = tuple((entries, tf.TensorSpec((None,), "float32")) for _ in range(d + 1))
    matrices = (entries, blur, tf.TensorSpec((), "int32"))
    x = tf.TensorSpec((None, channels), "float32")
    return tf.function(_filter, input_signature=[x, points, points, matrices])


def _build(features: Tensor) -> tuple[Any, Tensor]:
    """Return the sparse matrices of the lattice of features (B, N, d), and weights (B N, d+1).

    A matrix is the positions of its entries (n, 2), int32, and their values (n,).

    Returns:
        The positions of the splatting matrix's entries (points, vertices), the blur's matrices
        along each direction, the number of vertices; and the weights of the points on their
        vertices.
    """
    import tensorflow as tf

    d = features.shape[-1]
    rounded, order, weights = _simplex(features)
    keys, steps = _pack(tf.cast(rounded, "int64"), order)
    ordered_keys, vertex = tf.unique(tf.reshape(keys, [-1]))
    # Vertices in the order of their keys: the blur then reads and writes memory in order.
    by_key = tf.argsort(ordered_keys)
    ordered_keys, count = tf.gather(ordered_keys, by_key), tf.size(ordered_keys)
    vertex = tf.gather(tf.scatter_nd(by_key[:, None], tf.range(count), [count]), vertex)
    weights = tf.reshape(weights, [-1, d + 1])
    point = tf.repeat(tf.range(tf.shape(weights)[0]), d + 1)
    blur = tuple(_blur_matrix(ordered_keys, step) for step in tf.unstack(steps))
    return (tf.stack([point, vertex], axis=1), blur, count), weights


def _filter(x: Tensor, before: Tensor, after: Tensor, matrices: Any) -> Tensor:
    """Splat, blur and slice values (B N, C)."""
    import tensorflow as tf

    splat, blur, count = matrices
    size, square = (tf.shape(x)[0], count), (count, count)

    def run(x: Tensor, before: Tensor, after: Tensor, blur: Any) -> Tensor:
        before, after = tf.reshape(before, [-1]), tf.reshape(after, [-1])
        groups = []
        for group in _columns(x):
            group = _product(splat, before, size, group, adjoint=True)
            for entries, values in blur:
                group = _product(entries, values, square, group)
            groups.append(_product(splat, after, size, group))
        return tf.concat(groups, axis=1) if len(groups) > 1 else groups[0]

    @tf.custom_gradient
    def run_with_gradient(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        # The gradients of the products would include their matrices, and store what was multiplied
        # with. The blur's matrices are symmetric.
        def gradient(upstream: Tensor) -> Tensor:
            return run(upstream, after, before, blur[::-1])

        return run(x, before, after, blur), gradient

    return run_with_gradient(x)


def _columns(x: Tensor) -> list[Tensor]:
    """Split the columns into as few groups of about equal size as possible."""
    import tensorflow as tf

    count = -(-x.shape[-1] // _MAX_COLUMNS)
    return tf.split(x, [len(part) for part in np.array_split(range(x.shape[-1]), count)], axis=1)


def _product(
    entries: Tensor, values: Tensor, shape: Sequence[Tensor], x: Tensor, adjoint: bool = False
) -> Tensor:
    """Return the product of a sparse matrix, or its transpose, and a dense one."""
    import tensorflow as tf

    return tf.raw_ops.SparseTensorDenseMatMul(
        a_indices=entries,
        a_values=values,
        a_shape=tf.cast(tf.stack(shape), "int64"),
        b=x,
        adjoint_a=adjoint,
    )


def _pack(rounded: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Return one integer key per vertex, and its steps along the d+1 directions.

    A vertex is a class of integer coordinates (z_0 ... z_d) + (t, ..., t). The key is a number with
    the digits z_i - z_d, image by image; if these don't fit into 64 bits, it is a hash. Both are
    linear in z.
    """
    import tensorflow as tf

    d = rounded.shape[-1] - 1
    digits = rounded[..., :d] - rounded[..., d:]
    # A vertex differs from its point by at most one in each digit, and a neighbour by two.
    extents = tf.reduce_max(digits, axis=[0, 1]) - tf.reduce_min(digits, axis=[0, 1]) + 5
    strides = tf.math.cumprod(extents, exclusive=True, reverse=True)
    image_stride = tf.reduce_prod(extents)
    images = tf.shape(rounded, "int64")[0]
    fits = tf.reduce_prod(tf.cast(extents, "float64")) * tf.cast(images, "float64") < 2.0**62
    hashes = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, d + 1) | 1
    strides = tf.where(fits, strides, hashes[:d])
    image_stride = tf.where(fits, image_stride, hashes[d])
    steps = tf.concat([strides, -tf.reduce_sum(strides, keepdims=True)], axis=0)
    base = tf.reduce_sum(rounded * steps, axis=-1, keepdims=True)  # (B, N, 1)
    base += image_stride * tf.range(images)[:, None, None]
    ups = tf.cumsum(tf.gather(steps, order[..., :-1]), axis=-1)  # (B, N, d)
    return tf.concat([base, base + ups], axis=-1), steps


def _blur_matrix(ordered_keys: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Return the blur (1/2, 1, 1/2) along one direction, for vertices with sorted keys."""
    import tensorflow as tf

    count = tf.size(ordered_keys)
    own = tf.range(count)
    after = tf.minimum(tf.searchsorted(ordered_keys, ordered_keys + step), count - 1)
    exists = tf.equal(tf.gather(ordered_keys, after), ordered_keys + step)
    # A vertex without a predecessor keeps -1; those without a successor write to the end.
    before = tf.tensor_scatter_nd_update(
        tf.fill([count + 1], -1), tf.where(exists, after, count)[:, None], own
    )[:-1]
    after = tf.where(exists, after, -1)
    neighbours = tf.reshape(tf.stack([before, own, after], axis=1), [-1])
    entries = tf.cast(tf.where(neighbours >= 0)[:, 0], "int32")
    rows, columns = entries // 3, tf.gather(neighbours, entries)
    values = tf.where(tf.equal(rows, columns), 1.0, 0.5)
    return tf.stack([rows, columns], axis=1), values


class _StaticLattice(_Lattice):
    """Splat, blur and slice by gathers and segment sums, in arrays of fixed size.

    Vertices are identified by two 32-bit hashes, since JAX has no 64-bit integers by default.
    Loops and few operations keep it quick to compile: a CRF filters some twenty times.
    """

    def __init__(self, features: Tensor) -> None:
        d = features.shape[-1]
        self.corners = d + 1
        rounded, order, weights = _simplex(features)
        keys, steps = _hash(rounded, order)
        vertex, found, used = _unique(keys)
        self.vertex = ops.reshape(vertex, (-1, d + 1))  # (B N, d+1)
        # (d+1, n+1): the neighbours of every vertex along every direction, on either side; n where
        # there is none.
        pairs = zip(found, steps, strict=True)
        self.right = _find(found, [key + step[:, None] for key, step in pairs], used)
        self.left = _inverse(self.right)
        self.before = ops.reshape(weights, (-1, d + 1))
        self.after = self.before * _self_weight(d)

    def filter(self, x: Tensor) -> Tensor:
        """Return the sum (B, N, C) over all points of the same image, with Gaussian weights."""
        before, after = ops.stop_gradient(self.before), ops.stop_gradient(self.after)
        last = self.corners - 1

        @ops.custom_gradient
        def run(flat: Tensor) -> tuple[Tensor, Any]:
            # The gradient of a gather would be a scatter for each direction. The blur along one is
            # symmetric: its gradient is a gather again.
            def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
                upstream = args[0] if upstream is None else upstream
                return self._run(upstream, after, before, lambda i: last - i)

            return self._run(flat, before, after, lambda i: i), gradient

        flat = ops.reshape(ops.cast(x, "float32"), (-1, x.shape[-1]))  # (B N, C)
        return ops.reshape(run(flat), ops.shape(x))

    def _run(
        self, flat: Tensor, before: Tensor, after: Tensor, direction: Callable[[Any], Any]
    ) -> Tensor:
        """Splat, blur along the i-th direction for each i, and slice (B N, C)."""
        spread = ops.expand_dims(flat, 1) * ops.expand_dims(before, -1)  # (B N, d+1, C)
        values = ops.segment_sum(
            ops.reshape(spread, (-1, flat.shape[-1])),
            ops.reshape(self.vertex, (-1,)),
            num_segments=ops.shape(self.left)[1],  # the last one holds nothing
        )

        def blur(i: Any, values: Tensor) -> Tensor:
            left, right = self.left[direction(i)], self.right[direction(i)]
            return values + 0.5 * (ops.take(values, left, axis=0) + ops.take(values, right, axis=0))

        values = ops.fori_loop(0, self.corners, blur, values)
        return ops.sum(ops.expand_dims(after, -1) * ops.take(values, self.vertex, axis=0), axis=1)


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
