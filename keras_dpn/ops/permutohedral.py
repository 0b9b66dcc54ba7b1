"""Gaussian filtering in feature space by the permutohedral lattice, in tensor operations."""

import keras
from keras import ops

from keras_dpn.graph import is_compiled_by_xla
from keras_dpn.ops.checks import may_equal
from keras_dpn.ops.permutohedral_sparse import SparseLattice
from keras_dpn.ops.permutohedral_static import StaticLattice
from keras_dpn.ops.permutohedral_torch import TorchLattice
from keras_dpn.typing import Tensor

MAX_DIMENSION = 6


class NoPoints:
    """The lattice of an empty batch."""

    def filter(self, x: Tensor) -> Tensor:
        return ops.cast(x, "float32")

    def scaled(self, before: Tensor, after: Tensor) -> "NoPoints":
        return self


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
    if len(x.shape) != 3 or not may_equal(x.shape[:2], features.shape[:2]):
        raise ValueError(
            "Invalid values for arguments `x` and `features`: expected shapes (B, N, C) and "
            f"(B, N, d), received {tuple(x.shape)} and {tuple(features.shape)}."
        )
    return permutohedral_lattice(features).filter(x)


def permutohedral_lattice(features: Tensor) -> SparseLattice | StaticLattice | NoPoints:
    """Return the lattice of points, to filter with it several times; see `permutohedral_filter`.

    On TensorFlow and PyTorch the lattice contains the vertices that occur. On JAX and in functions
    that XLA compiles, where shapes are static, it has space for as many as could occur,
    B N (d + 1); and so it has on a GPU if TensorFlow's operations are deterministic.

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
    if 0 in features.shape[:2]:
        return NoPoints()
    if keras.backend.backend() == "torch":
        return TorchLattice(features)
    return (SparseLattice if _has_sparse_products() else StaticLattice)(features)


def _has_sparse_products() -> bool:
    """Return whether products with sparse matrices run where the lattice is computed."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # TensorFlow has no public name for it; Keras asks the same.
    from tensorflow.python.framework.config import is_op_determinism_enabled

    if is_op_determinism_enabled() and tf.config.list_physical_devices("GPU"):
        return False  # SparseTensorDenseMatMul has no deterministic kernel there
    return not is_compiled_by_xla()
