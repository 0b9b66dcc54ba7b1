"""The permutohedral lattice by products with sparse matrices, on TensorFlow without XLA."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_dpn.ops.permutohedral_simplex import Lattice, self_weight, simplex
from keras_dpn.typing import Tensor

# A sparse-dense product runs on one core: groups of columns run in parallel. Narrow groups cost
# more per column, and above 31 columns TensorFlow's product is four times slower.
_MAX_COLUMNS = 12


class SparseLattice(Lattice):
    """Splat, blur and slice by products with sparse matrices over the vertices that occur."""

    def __init__(self, features: Tensor) -> None:
        self.d = features.shape[-1]
        self.matrices, weights = _compiled_build(self.d)(ops.cast(features, "float32"))
        self.before, self.after = weights, weights * self_weight(self.d)  # (B N, d+1)

    def filter(self, x: Tensor) -> Tensor:
        """Return the sum (B, N, C) over all points of the same image, with Gaussian weights."""
        run = _compiled_filter(self.d, x.shape[-1])
        flat = ops.reshape(ops.cast(x, "float32"), (-1, ops.shape(x)[-1]))
        return ops.reshape(run(flat, self.before, self.after, self.matrices), ops.shape(x))


# Compiled separately, so that a CRF's iterations aren't traced one by one, and eager calls run on
# all cores.
@functools.cache
def _compiled_build(d: int) -> Callable[..., Any]:
    import tensorflow as tf

    points = tf.TensorSpec((None, None, d), "float32")
    return tf.function(_build, input_signature=[points], autograph=False)


@functools.cache
def _compiled_filter(d: int, channels: int | None) -> Callable[..., Any]:
    import tensorflow as tf

    points, entries = tf.TensorSpec((None, d + 1), "float32"), tf.TensorSpec((None, 2), "int32")
    blur = tuple((entries, tf.TensorSpec((None,), "float32")) for _ in range(d + 1))
    matrices = (entries, blur, tf.TensorSpec((), "int32"))
    x = tf.TensorSpec((None, channels), "float32")
    signature = [x, points, points, matrices]
    return tf.function(_filter, input_signature=signature, autograph=False)


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
    rounded, order, weights = simplex(features)
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

    if x.shape[-1] is None:  # known by values only: one group per core of a small machine
        half = tf.shape(x)[1] // 2
        return [x[:, :half], x[:, half:]]
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
