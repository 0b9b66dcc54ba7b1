"""The triple penalty of the Deep Parsing Network (eq. 8) and its kernels."""

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from keras import ops

from keras_dpn.ops.box_filter import box_moments, box_sum
from keras_dpn.ops.checks import check_one_of, may_equal, standardize_spacing, standardize_window
from keras_dpn.ops.extrema import maximum_along, minimum_along
from keras_dpn.ops.gaussian_window import gaussian_window
from keras_dpn.ops.matmul import small_matmul
from keras_dpn.typing import Shape, Tensor

KERNELS = ("squared_distance", "gaussian")


def local_conv(
    p: Tensor,
    features: Tensor,
    window: int | Sequence[int],
    *,
    kernel: Literal["squared_distance", "gaussian"] = "squared_distance",
    color_weight: float | Tensor = 1.0,
    position_weight: float | Tensor = 0.0,
    spacing: float | Sequence[float] = 1.0,
) -> Tensor:
    """Sum `p` over a window around each position j, weighted by the kernel between j and z.

    `out_j = sum_z k(j, z) p_z` for z in the window around j, with the distance of eq. (3)

        d(j, z) = color_weight ||f_j - f_z||^2 + position_weight ||j - z||^2

    * `squared_distance`, k = d: the local convolution of group b12 (ICCV 2015, eq. 8). The square
      is expanded, `sum_z ||f_j - f_z||^2 p_z = ||f_j||^2 S[p] - 2 f_j . S[f p] + S[||f||^2 p]`
      with S the window's sum, so that its cost does not depend on the window.
    * `gaussian`, k = exp(-d): the kernel of a dense CRF, truncated at the window. Its cost grows
      with the number of positions in the window, its memory does not.

    Args:
        p: tensor of shape `(B, *S, L)`, for example the probabilities of L labels; S has one to
            three axes of known or unknown size.
        features: tensor of shape `(B, *S, F)`, for example colours in any unit.
        window: integer >= 1, or one for each axis of S. Even m covers -m//2 ... m-1-m//2.
        kernel: "squared_distance" or "gaussian".
        color_weight: number or scalar tensor.
        position_weight: number or scalar tensor.
        spacing: distance from one position to the next, in the unit in which positions are
            compared: one number, or one per axis of S (volumes of thick slices).

    Returns:
        float32 tensor of shape `(B, *S, L)`. Positions outside of the image count as 0.

    Raises:
        ValueError: for an unknown kernel, a window below 1, a spacing that is not positive, or
            shapes that do not fit.

    Example:

    >>> p = keras.ops.ones((1, 4, 1))
    >>> f = keras.ops.array([[[0.0], [0.0], [2.0], [2.0]]])
    >>> local_conv(p, f, 3)[0, :, 0]
    [0. 4. 4. 0.]
    """
    p, features = ops.cast(p, "float32"), ops.cast(features, "float32")
    check_shapes(p.shape, features.shape)
    window = standardize_window(window, len(p.shape) - 2)
    spacing = standardize_spacing(spacing, len(window))
    check_one_of("kernel", kernel, KERNELS)
    if kernel == "gaussian":
        return gaussian_window(
            p, features, features, window, color_weight, position_weight, spacing
        )
    axes = _spatial_axes(p)
    features = features - _centre(features, axes)
    squares = ops.sum(ops.square(features), axis=-1, keepdims=True)
    products = [channel * p for channel in _channels(features)]
    total, by_position = _total_and_position(p, window, axes, position_weight, spacing)
    out = color_weight * _squared_distance(features, total, products, squares * p, window)
    return out if by_position is None else out + by_position


def linked_local_conv(
    p: Tensor,
    features: Tensor,
    window: int | Sequence[int],
    *,
    kernel: Literal["squared_distance", "gaussian"] = "squared_distance",
    color_weight: float | Tensor = 1.0,
    position_weight: float | Tensor = 0.0,
    spacing: float | Sequence[float] = 1.0,
) -> Tensor:
    """Apply `local_conv` over space and time, to each frame's neighbours along the optical flow.

    `out_j = sum_z k(j, z) p_z` for z in a window of each of the K frames that are linked to j's
    frame; their colours are compared with j's. Neighbours in time are the pixels that the flow
    links, not those at the same position (journal version of the Deep Parsing Network, sec. 3).

    Args:
        p: tensor of shape `(B, T, H, W, K, L)`, from `link_frames`; 0 without a neighbour.
        features: tensor of shape `(B, T, H, W, K, F)`, linked in the same way.
        window: three integers >= 1, (K, height, width), as in `local_conv`; K is odd.
        kernel: as in `local_conv`. The cost of "squared_distance" depends on K alone.
        color_weight: as in `local_conv`.
        position_weight: as in `local_conv`.
        spacing: as in `local_conv`; the first of three is the distance from frame to frame.

    Returns:
        float32 tensor of shape `(B, T, H, W, L)`.

    Raises:
        ValueError: as `local_conv`, and if K differs from the window's.

    Example:

    >>> p = keras.ops.ones((1, 1, 1, 1, 3, 1))  # one pixel and its neighbours in three frames
    >>> f = keras.ops.reshape([1.0, 2.0, 4.0], (1, 1, 1, 1, 3, 1))
    >>> linked_local_conv(p, f, (3, 5, 5))
    [[[[[5.]]]]]
    """
    p, features = ops.cast(p, "float32"), ops.cast(features, "float32")
    frames, *window = check_linked_shapes(p.shape, features.shape, window)
    frame_spacing, *spacing = standardize_spacing(spacing, 3)
    check_one_of("kernel", kernel, KERNELS)
    *sizes, _, labels = ops.shape(p)
    p, features = (ops.reshape(x, (-1, *ops.shape(x)[2:])) for x in (p, features))
    steps = [frame_spacing * (k - frames // 2) for k in range(frames)]
    if kernel == "gaussian":
        here = features[..., frames // 2, :]
        out = sum(
            ops.exp(-position_weight * ops.square(step))
            * gaussian_window(
                p[..., k, :],
                here,
                features[..., k, :],
                window,
                color_weight,
                position_weight,
                spacing,
            )
            for k, step in enumerate(steps)
        )
    else:
        in_time = position_weight * ops.convert_to_tensor(np.square(steps)[:, None], "float32")
        total, by_position = _total_and_position(
            ops.sum(p, axis=-2), window, (1, 2), position_weight, spacing
        )
        out = _linked_squared_distance(p, total, features, in_time, window, color_weight)
        if by_position is not None:
            out = out + by_position
    return ops.reshape(out, (*sizes, labels))


def check_linked_shapes(
    p_shape: Shape, features_shape: Shape, window: int | Sequence[int]
) -> tuple[int, ...]:
    """Return the window (K, height, width); raise ValueError unless the linked frames fit."""
    window = standardize_window(window, 3)
    shapes = f"{tuple(p_shape)} and {tuple(features_shape)}"
    if len(p_shape) != 6 or len(features_shape) != 6:
        raise ValueError(
            "Invalid values for arguments `p` and `features`: expected linked frames "
            f"(B, T, H, W, K, L) and (B, T, H, W, K, F), received {shapes}."
        )
    if not window[0] == p_shape[4] == features_shape[4] or window[0] % 2 == 0:
        raise ValueError(
            "Invalid value for argument `window`: expected (K, height, width) for K linked frames, "
            f"K odd, received {window} for {shapes}."
        )
    if not may_equal(p_shape[:4], features_shape[:4]):
        raise ValueError(
            "Invalid values for arguments `p` and `features`: expected the same batch, frames and "
            f"spatial sizes, received {shapes}."
        )
    return window


def check_shapes(p_shape: Shape, features_shape: Shape) -> None:
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


def _spatial_axes(x: Tensor) -> tuple[int, ...]:
    return tuple(range(1, len(x.shape) - 1))


def _is_zero(weight: float | Tensor) -> bool:
    return isinstance(weight, (int, float)) and weight == 0


def _channels(features: Tensor) -> list[Tensor]:
    return ops.split(features, features.shape[-1], axis=-1)


def _centre(features: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the middle of the features' range over `axes`, as the origin of all features.

    Differences don't depend on the origin; values near zero keep the expansion exact, and the
    middle of the range makes an image of one colour exactly zero.
    """
    low = minimum_along(features, axis=axes, keepdims=True)
    high = maximum_along(features, axis=axes, keepdims=True)
    return ops.stop_gradient((low + high) / 2)


def _total_and_position(
    p: Tensor,
    window: Sequence[int],
    axes: tuple[int, ...],
    position_weight: float | Tensor,
    spacing: Sequence[float],
) -> tuple[Tensor, Tensor | None]:
    """Return the window's sum of p and of position_weight ||j - z||^2 p; None for a weight of 0."""
    if _is_zero(position_weight):
        return box_sum(p, window, axes), None
    total, moment = box_moments(p, window, axes, spacing)
    return total, position_weight * moment


def _squared_distance(
    here: Tensor, total: Tensor, products: Sequence[Tensor], squares: Tensor, window: Sequence[int]
) -> Tensor:
    """Return the sum of ||f_j - f_z||^2 p_z: `total` is the window's sum of p.

    `products` and `squares`, f p and ||f||^2 p, are summed here.
    """
    axes = _spatial_axes(here)
    here_squares = ops.sum(ops.square(here), axis=-1, keepdims=True)
    out = here_squares * total + box_sum(squares, window, axes)
    for channel, product in zip(_channels(here), products, strict=True):
        out = out - 2 * channel * box_sum(product, window, axes)
    return out


def _linked_squared_distance(
    p: Tensor,
    total: Tensor,
    features: Tensor,
    in_time: Tensor,
    window: Sequence[int],
    color_weight: float | Tensor,
) -> Tensor:
    """Apply `_squared_distance` to K frames: first the sum over frames, then over the window.

    The sums over frames and terms are products with a small matrix at each position.

    Args:
        p: `(B T, H, W, K, L)`.
        total: its sum over K and the window.
        features: `(B T, H, W, K, F)`.
        in_time: `(K, 1)`, the contribution of time to the distance.
        window: height and width.
        color_weight: number or scalar tensor.
    """
    here = features[..., features.shape[-2] // 2, :]
    centre = _centre(here, (1, 2))
    here, features = here - centre, features - ops.expand_dims(centre, -2)
    squares = color_weight * ops.sum(ops.square(features), axis=-1, keepdims=True)
    there = ops.concatenate([features, squares + in_time], axis=-1)
    products = small_matmul(ops.swapaxes(there, -1, -2), p)  # (B T, H, W, F+1, L)
    squares = color_weight * ops.sum(ops.square(here), axis=-1, keepdims=True)
    here = ops.concatenate([-2 * color_weight * here, ops.ones_like(squares)], axis=-1)
    out = small_matmul(ops.expand_dims(here, -2), box_sum(products, window, (1, 2)))[..., 0, :]
    return out + squares * total


def window_patches(x: Tensor, window: Sequence[int]) -> Tensor:
    """Return the values at all positions of the window around each position, zero outside.

    Args:
        x: tensor of shape `(B, *S, C)`, S of known size.
        window: one integer per axis of S.

    Returns:
        Tensor of shape `(B, *S, offsets, C)`, the offsets in row-major order.
    """
    padded = ops.pad(x, [(0, 0), *((m // 2, m - 1 - m // 2) for m in window), (0, 0)])
    shifted = [
        padded[(slice(None), *(slice(i, i + n) for i, n in zip(start, x.shape[1:-1], strict=True)))]
        for start in itertools.product(*(range(m) for m in window))
    ]
    return ops.stack(shifted, axis=-2)
