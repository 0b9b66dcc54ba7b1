"""The triple penalty of the Deep Parsing Network (eq. 8) and its kernels."""

import itertools

import numpy as np
from keras import ops

from keras_dpn.ops.box_filter import box_second_moment, box_sum
from keras_dpn.ops.checks import check_one_of, standardize_window

KERNELS = ("squared_distance", "gaussian")


def local_conv(
    p, features, window, *, kernel="squared_distance", color_weight=1.0, position_weight=0.0
):
    """Sum a window of `p` around every position j, weighted by the kernel between j and z.

    `out_j = sum_z k(j, z) p_z` for z in the window around j, with the distance (PAPERS eq. 3)

        d(j, z) = color_weight ||f_j - f_z||^2 + position_weight ||j - z||^2

    * `squared_distance`, k = d: the local convolution of group b12 (ICCV 2015, eq. 8). The square
      is expanded, `sum_z ||f_j - f_z||^2 p_z = ||f_j||^2 S[p] - 2 f_j . S[f p] + S[||f||^2 p]`
      with S the window's sum, so that its cost does not depend on the window.
    * `gaussian`, k = exp(-d): the kernel of a dense CRF, cut off at the window. Its cost grows
      with the number of positions in the window, its memory does not.

    Args:
        p: tensor of shape `(B, *S, L)`, for example the probabilities of L labels; S has one to
            three axes of known or unknown size.
        features: tensor of shape `(B, *S, F)`, for example colours in any unit.
        window: integer >= 1, or one for each axis of S. Even m covers -m//2 ... m-1-m//2.
        kernel: "squared_distance" or "gaussian".
        color_weight: number or scalar tensor.
        position_weight: number or scalar tensor; positions are in pixels.

    Returns:
        float32 tensor of shape `(B, *S, L)`. Positions outside of the image count as 0.

    Raises:
        ValueError: for an unknown kernel, a window below 1, or shapes that do not fit.

    Example:

    >>> p = keras.ops.ones((1, 4, 1))
    >>> f = keras.ops.array([[[0.0], [0.0], [2.0], [2.0]]])
    >>> local_conv(p, f, 3)[0, :, 0]
    [0. 4. 4. 0.]
    """
    p, features = ops.cast(p, "float32"), ops.cast(features, "float32")
    check_shapes(p.shape, features.shape)
    window = standardize_window(window, len(p.shape) - 2)
    check_one_of("kernel", kernel, KERNELS)
    if kernel == "gaussian":
        return _gaussian(p, features, window, color_weight, position_weight)
    out = color_weight * _squared_distance(p, features, window)
    if isinstance(position_weight, (int, float)) and position_weight == 0:
        return out
    return out + position_weight * box_second_moment(p, window, _spatial_axes(p))


def check_shapes(p_shape, features_shape):
    """Raise ValueError unless `(B, *S, L)` and `(B, *S, F)` fit, S of one to three axes."""
    if len(p_shape) not in (3, 4, 5) or len(p_shape) != len(features_shape):
        raise ValueError(
            "Invalid values for arguments `p` and `features`: expected shapes (B, *S, L) and "
            f"(B, *S, F) with one to three axes S, received {tuple(p_shape)} and "
            f"{tuple(features_shape)}."
        )
    if 0 in p_shape[1:]:
        raise ValueError(
            "Invalid value for argument `p`: expected at least one position and one label, "
            f"received shape {tuple(p_shape)}."
        )
    for ours, theirs in zip(p_shape[:-1], features_shape[:-1], strict=True):
        if ours is not None and theirs is not None and ours != theirs:
            raise ValueError(
                "Invalid values for arguments `p` and `features`: expected the same batch and "
                f"spatial sizes, received {tuple(p_shape)} and {tuple(features_shape)}."
            )


def _spatial_axes(x):
    return tuple(range(1, len(x.shape) - 1))


def _squared_distance(p, features, window):
    """Sum of ||f_j - f_z||^2 p_z over z, by window sums."""
    axes = _spatial_axes(p)
    # Differences do not change with the origin; numbers near zero keep the expansion exact, and
    # the middle of the range makes an image of one colour exactly zero.
    low = ops.min(features, axis=axes, keepdims=True)
    high = ops.max(features, axis=axes, keepdims=True)
    features = features - ops.stop_gradient((low + high) / 2)
    squares = ops.sum(ops.square(features), axis=-1, keepdims=True)
    out = squares * box_sum(p, window, axes) + box_sum(squares * p, window, axes)
    for channel in ops.split(features, features.shape[-1], axis=-1):
        out = out - 2 * channel * box_sum(channel * p, window, axes)
    return out


def _gaussian(p, features, window, color_weight, position_weight):
    """Sum of exp(-d(j, z)) p_z over z, one offset of the window after the other.

    The gradient runs through the offsets once more, so that no offset's kernel is kept.
    """
    starts = np.array(list(itertools.product(*(range(m) for m in window))), "int32")
    squares = np.square(starts - [m // 2 for m in window]).sum(axis=1)
    squares = ops.convert_to_tensor(squares, "float32")
    starts = ops.convert_to_tensor(np.pad(starts, ((0, 0), (1, 1))))
    padding = [(0, 0), *((m // 2, m - 1 - m // 2) for m in window), (0, 0)]
    crop = tuple(slice(m // 2, m // 2 + n) for m, n in zip(window, ops.shape(p)[1:-1], strict=True))

    def kernel(i, features, padded, color_weight, position_weight):
        difference = features - ops.slice(padded, starts[i], ops.shape(features))
        distance = ops.sum(ops.square(difference), axis=-1, keepdims=True)  # (B, *S, 1)
        weight = ops.exp(-color_weight * distance - position_weight * squares[i])
        return weight, distance, difference

    @ops.custom_gradient
    def filtered(p, features, color_weight, position_weight):
        p_padded, f_padded = ops.pad(p, padding), ops.pad(features, padding)

        def add_offset(i, out):
            weight, _, _ = kernel(i, features, f_padded, color_weight, position_weight)
            return out + weight * ops.slice(p_padded, starts[i], ops.shape(p))

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream

            def add_gradients(i, state):
                d_p, d_f_there, d_f_here, d_color, d_position = state
                weight, distance, difference = kernel(
                    i, features, f_padded, color_weight, position_weight
                )
                p_there = ops.slice(p_padded, starts[i], ops.shape(p))
                d_distance = -weight * ops.sum(upstream * p_there, axis=-1, keepdims=True)
                d_difference = 2 * color_weight * d_distance * difference
                return (
                    _add_at(d_p, starts[i], weight * upstream),
                    _add_at(d_f_there, starts[i], -d_difference),
                    d_f_here + d_difference,
                    d_color + ops.sum(d_distance * distance),
                    d_position + ops.sum(d_distance) * squares[i],
                )

            zero = ops.zeros((), "float32")
            zeros = (ops.zeros_like(p_padded), ops.zeros_like(f_padded), ops.zeros_like(features))
            d_p, d_f_there, d_f_here, d_color, d_position = ops.fori_loop(
                0, starts.shape[0], add_gradients, (*zeros, zero, zero)
            )
            inside = (slice(None), *crop)
            return d_p[inside], d_f_here + d_f_there[inside], d_color, d_position

        return ops.fori_loop(0, starts.shape[0], add_offset, ops.zeros_like(p)), gradient

    # The cast reads variables, as the arguments of tf.custom_gradient must be tensors.
    scalars = (ops.cast(w, "float32") for w in (color_weight, position_weight))
    return filtered(p, features, *scalars)


def _add_at(x, start, update):
    there = ops.slice(x, start, ops.shape(update))
    return ops.slice_update(x, start, there + update)


def window_patches(x, window):
    """All positions of the window around each position, zero outside.

    Args:
        x: tensor of shape `(B, *S, C)`, S of known size.
        window: one integer an axis of S.

    Returns:
        Tensor of shape `(B, *S, offsets, C)`, the offsets in row-major order.
    """
    padded = ops.pad(x, [(0, 0), *((m // 2, m - 1 - m // 2) for m in window), (0, 0)])
    shifted = [
        padded[(slice(None), *(slice(i, i + n) for i, n in zip(start, x.shape[1:-1], strict=True)))]
        for start in itertools.product(*(range(m) for m in window))
    ]
    return ops.stack(shifted, axis=-2)
