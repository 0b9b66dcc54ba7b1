"""Sums over a window, weighted by a Gaussian of the distance in features and position."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_dpn.typing import Tensor


def gaussian_window(
    p: Tensor,
    here: Tensor,
    there: Tensor,
    window: Sequence[int],
    color_weight: float | Tensor,
    position_weight: float | Tensor,
    spacing: Sequence[float],
) -> Tensor:
    """Return the sum of exp(-d(j, z)) p_z over z, one offset of the window after the other.

    The gradient recomputes the offsets, so that no offset's kernel is stored.

    Args:
        p: `(B, *S, L)`.
        here: features of the positions j, `(B, *S, F)`.
        there: features of the positions z, `(B, *S, F)`.
        window: one integer per axis of S.
        color_weight: of the squared distance of features in d.
        position_weight: of the squared distance of positions in d.
        spacing: distance from one position to the next, per axis of S.
    """
    starts = np.array(list(itertools.product(*(range(m) for m in window))), "int32")
    squares = np.square((starts - [m // 2 for m in window]) * spacing).sum(axis=1)
    padding = [(0, 0), *((m // 2, m - 1 - m // 2) for m in window), (0, 0)]
    mirrored_padding = [(after, before) for before, after in padding]

    @ops.custom_gradient
    def filtered(
        p: Tensor,
        here: Tensor,
        there: Tensor,
        color_weight: float | Tensor,
        position_weight: float | Tensor,
    ) -> tuple[Tensor, Any]:
        # Made here: JAX can't differentiate a function that uses tensors of another trace.
        offsets = ops.convert_to_tensor(np.pad(starts, ((0, 0), (1, 1))))
        mirrored = ops.convert_to_tensor(np.pad(starts[::-1], ((0, 0), (1, 1))))
        distances = ops.convert_to_tensor(squares, "float32")
        p_padded, there = ops.pad(p, padding), ops.pad(there, padding)

        def kernel(i: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            difference = here - ops.slice(there, offsets[i], ops.shape(here))
            distance = ops.sum(ops.square(difference), axis=-1, keepdims=True)  # (B, *S, 1)
            weight = ops.exp(-color_weight * distance - position_weight * distances[i])
            return weight, distance, difference

        def move(update: Tensor, i: Tensor) -> Tensor:
            # A slice of what is padded for all offsets: XLA has no padding by an offset computed in
            # the loop, and a slice update would put an operation of XLA's own into exported graphs.
            return ops.slice(ops.pad(update, mirrored_padding), mirrored[i], ops.shape(update))

        def add_offset(i: Tensor, out: Tensor) -> Tensor:
            weight, _, _ = kernel(i)
            return out + weight * ops.slice(p_padded, offsets[i], ops.shape(p))

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, ...]:
            upstream = args[0] if upstream is None else upstream

            def add_gradients(i: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                d_p, d_here, d_there, d_color, d_position = state
                weight, distance, difference = kernel(i)
                p_there = ops.slice(p_padded, offsets[i], ops.shape(p))
                d_distance = -weight * ops.sum(upstream * p_there, axis=-1, keepdims=True)
                d_difference = 2 * color_weight * d_distance * difference
                return (
                    d_p + move(weight * upstream, i),
                    d_here + d_difference,
                    d_there - move(d_difference, i),
                    d_color + ops.sum(d_distance * distance),
                    d_position + ops.sum(d_distance) * distances[i],
                )

            zero = ops.zeros((), "float32")
            zeros = (ops.zeros_like(p), ops.zeros_like(here), ops.zeros_like(here))
            return ops.fori_loop(0, len(starts), add_gradients, (*zeros, zero, zero))

        return ops.fori_loop(0, len(starts), add_offset, ops.zeros_like(p)), gradient

    # The cast reads variables, as the arguments of tf.custom_gradient must be tensors.
    scalars = (ops.cast(w, "float32") for w in (color_weight, position_weight))
    return filtered(p, here, there, *scalars)
