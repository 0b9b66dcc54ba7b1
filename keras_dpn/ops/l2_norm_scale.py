"""L2 normalisation and a factor per channel, in few passes over memory (ParseNet, sec. 3.3)."""

import math
import operator
from collections.abc import Sequence
from typing import Any

from keras import backend, ops

from keras_dpn.ops.matmul import matmul, matmul_is_rounded
from keras_dpn.typing import Shape, Tensor

_LARGEST_FLOAT16 = 65504.0


def l2_norm_scale(
    x: Tensor, scale: Tensor, axis: int | Sequence[int] = -1, epsilon: float = 1e-10
) -> Tensor:
    """Scale vectors to unit length, then each component by a factor.

    `y_c = scale_c x_c / sqrt(sum_c x_c^2 + epsilon)` at every position (ParseNet, ICLR 2016, eq. 1
    to 3). Its gradient (eq. 4 to 6) keeps the input and one number per position, and makes as few
    passes over memory as the backend's operations allow.

    Args:
        x: float tensor of any rank; squares are summed in float32.
        scale: tensor with the sizes of the axes `axis`, in the order that they have in `x`.
        axis: integer or sequence of distinct integers, the axes that the vectors span. Their sizes
            must be known.
        epsilon: positive number, added to the sum of squares, so that a zero vector stays zero.

    Returns:
        Tensor of the shape and dtype of `x`.

    Raises:
        ValueError: if `axis` does not name distinct axes of `x` of known size.

    Example:

    >>> l2_norm_scale(keras.ops.array([[3.0, 4.0]]), keras.ops.array([10.0, 20.0]))
    [[ 6. 16.]]
    """
    x = ops.convert_to_tensor(x)
    axes = standardize_axes(axis, x.shape)
    scale_shape = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    # The cast reads variables, as the arguments of tf.custom_gradient must be tensors.
    scale = ops.reshape(ops.cast(scale, "float32"), scale_shape)

    @ops.custom_gradient
    def scaled(x: Tensor, scale: Tensor) -> tuple[Tensor, Any]:
        wide = ops.cast(x, "float32")  # squares of float16 overflow above 255
        squares = ops.sum(ops.square(wide), axis=axes, keepdims=True)
        inverse = ops.rsqrt(squares + epsilon)

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
            upstream = ops.cast(args[0] if upstream is None else upstream, "float32")
            wide = ops.cast(x, "float32")
            along, d_scale = _weighted_sums(upstream * wide, scale, inverse, axes)
            # In this order nothing overflows at a zero vector, whatever epsilon is.
            along = inverse * (inverse * (inverse * along))
            d_x = upstream * scale * inverse - wide * along
            return _narrow(d_x, x.dtype), d_scale

        return ops.cast(wide * scale * inverse, x.dtype), gradient

    return scaled(x, scale)


def standardize_axes(axis: int | Sequence[int], shape: Shape) -> tuple[int, ...]:
    """Return `axis` as sorted non-negative integers; ValueError unless distinct and of known size.

    Args:
        axis: integer, or sequence of integers.
        shape: of the tensor, None for unknown sizes.
    """
    rank = len(shape)
    axes = sorted(n % rank if -rank <= n < rank else rank for n in check_axis(axis))
    if rank in axes or len(set(axes)) < len(axes) or any(shape[n] is None for n in axes):
        raise ValueError(
            "Invalid value for argument `axis`: expected distinct axes of known size of an input "
            f"of shape {tuple(shape)}, received {axis}."
        )
    return tuple(axes)


def check_axis(axis: int | Sequence[int]) -> tuple[int, ...]:
    """Return `axis` as a tuple of integers; raise ValueError if it is not one or several."""
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    try:
        if not axes or any(isinstance(n, bool) for n in axes):
            raise TypeError
        return tuple(operator.index(n) for n in axes)
    except TypeError:
        raise ValueError(
            "Invalid value for argument `axis`: expected an integer or several integers, received "
            f"{axis!r}."
        ) from None


def _weighted_sums(
    x: Tensor, scale: Tensor, inverse: Tensor, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Return sums of x * scale over `axes` and of x * inverse over the others, with axes kept.

    Matrix-vector products read x once each and don't store the products.
    """
    rank = len(x.shape)
    if matmul_is_rounded() or axes != tuple(range(rank - len(axes), rank)):
        others = tuple(n for n in range(rank) if n not in axes)
        along = ops.sum(x * scale, axis=axes, keepdims=True)
        return along, ops.sum(x * inverse, axis=others, keepdims=True)
    vectors = ops.reshape(x, (-1, math.prod(x.shape[n] for n in axes)))
    along = matmul(vectors, ops.reshape(scale, (-1, 1)))
    across = matmul(ops.reshape(inverse, (1, -1)), vectors)
    return ops.reshape(along, ops.shape(inverse)), ops.reshape(across, scale.shape)


def _narrow(gradient: Tensor, dtype: Any) -> Tensor:
    """Cast, saturating where float16 overflows, as at zero vectors.

    An infinite gradient would become NaN in a preceding ReLU, which multiplies it by 0.
    """
    if backend.standardize_dtype(dtype) == "float16":
        gradient = ops.clip(gradient, -_LARGEST_FLOAT16, _LARGEST_FLOAT16)
    return ops.cast(gradient, dtype)
