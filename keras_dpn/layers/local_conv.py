"""LocalConv1D, 2D, 3D: the triple penalty of the Deep Parsing Network as a layer."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.checks import (
    check_channels_last,
    check_number,
    check_one_of,
    holds_shapes,
    standardize_spacing,
    standardize_window,
)
from keras_dpn.ops.local_conv import (
    KERNELS,
    check_linked_shapes,
    check_shapes,
    linked_local_conv,
    local_conv,
    window_patches,
)
from keras_dpn.ops.matmul import without_autocast
from keras_dpn.typing import Shape, Tensor


class _LocalConv(ShapeFromSpec, keras.layers.Layer):
    """Base of the layers of one, two and three spatial axes."""

    spatial_axes: int

    def __init__(
        self,
        window: int | Sequence[int],
        kernel: Literal["squared_distance", "gaussian", "learned"] = "squared_distance",
        color_weight: float = 1.0,
        position_weight: float = 0.0,
        gate: bool = True,
        normalize: bool = True,
        scale: float = 1.0,
        offset: float = 0.0,
        spacing: float | Sequence[float] = 1.0,
        **kwargs: Any,
    ) -> None:
        # Colours of 0..255 lose their digits in half precision before `call` could save them.
        super().__init__(autocast=False, **kwargs)
        check_channels_last(type(self).__name__)
        self.window = standardize_window(window, self.spatial_axes)
        self.kernel = check_one_of("kernel", kernel, (*KERNELS, "learned"))
        self.color_weight = check_number("color_weight", color_weight)
        self.position_weight = check_number("position_weight", position_weight)
        self.gate = gate
        self.normalize = normalize
        self.scale = check_number("scale", scale)
        self.offset = check_number("offset", offset)
        self.spacing = standardize_spacing(spacing, self.spatial_axes)

    def build(self, input_shape: Sequence[Shape]) -> None:
        if len(input_shape) != 2 or not holds_shapes(input_shape):
            raise ValueError(
                f"{type(self).__name__} expects a pair (p, features) as input, received one "
                f"tensor of shape {tuple(input_shape)}."
            )
        p_shape, features_shape = input_shape
        if self._is_linked(p_shape):
            check_linked_shapes(p_shape, features_shape, self.window)
        else:
            check_shapes(p_shape, features_shape)
        if len(p_shape) != self.spatial_axes + 2 and not self._is_linked(p_shape):
            raise ValueError(
                f"{type(self).__name__} expects inputs with {self.spatial_axes} spatial axes, "
                f"received shapes {tuple(p_shape)} and {tuple(features_shape)}."
            )
        self.a = self._add_scalar("a", self.scale)
        self.b = self._add_scalar("b", self.offset)
        self.w_color = self._add_scalar("color_weight", self.color_weight)
        if self.kernel == "learned":
            # Linked frames share their filters: clips may have any number of them.
            axes = slice(2, 4) if self._is_linked(p_shape) else slice(1, -1)
            self.filters = self._add_filters(tuple(p_shape[axes]))
        else:
            self.w_position = self._add_scalar("position_weight", self.position_weight)
        self.built = True

    def _add_scalar(self, name: str, value: float) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(),
            initializer=keras.initializers.Constant(value),
            dtype="float32",
            autocast=False,
        )

    def _add_filters(self, size: Shape) -> keras.Variable:
        """Add one untied filter per position, initialised with the weighted squared distance."""
        if None in size:
            raise ValueError(
                "LocalConv with kernel='learned' has one filter per position and expects known "
                f"spatial sizes, received {size}."
            )
        offsets = np.array(list(itertools.product(*(np.arange(m) - m // 2 for m in self.window))))
        distances = self.position_weight * np.square(offsets * self.spacing).sum(axis=1)
        return self.add_weight(
            name="filters",
            shape=(*size, len(offsets)),
            initializer=lambda shape, dtype: ops.cast(ops.broadcast_to(distances, shape), dtype),
            dtype="float32",
            autocast=False,
        )

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        p, features = (ops.cast(x, "float32") for x in inputs)
        function = linked_local_conv if self._is_linked(p.shape) else local_conv
        if self.kernel == "learned":
            distances = function(p, features, self.window, color_weight=self.w_color)
            out = distances + self._filtered(p)
        else:
            out = function(
                p,
                features,
                self.window,
                kernel=self.kernel,
                color_weight=self.w_color,
                position_weight=self.w_position,
                spacing=self.spacing,
            )
        if self.normalize:
            out = out / float(np.prod(self.window))
        if self.gate:
            out = out * (self._of_middle(p) if self._is_linked(p.shape) else p)
        return self.a * out + self.b  # eq. (8), lin

    def _filtered(self, p: Tensor) -> Tensor:
        """Return the sums over each position's window with its own filter."""
        if not self._is_linked(p.shape):
            patches = window_patches(p, self.window)  # (B, *S, offsets, L)
            return _weighted_sum(self.filters, patches)
        frames, *window = self.window
        flat = ops.reshape(p, (-1, *ops.shape(p)[2:]))  # (B T, H, W, K, L)
        filters = ops.split(ops.convert_to_tensor(self.filters), frames, axis=-1)
        sums = [
            _weighted_sum(filters[k], window_patches(flat[..., k, :], window))
            for k in range(frames)
        ]
        return ops.reshape(sum(sums), (*ops.shape(p)[:4], p.shape[-1]))

    def _of_middle(self, linked: Tensor) -> Tensor:
        """Return the center frame of linked frames; LiteRT slices at most five axes, not six."""
        flat = ops.reshape(linked, (-1, *linked.shape[-2:]))
        return ops.reshape(flat[:, self.window[0] // 2], (*ops.shape(linked)[:4], linked.shape[-1]))

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        shape = tuple(inputs[0].shape)
        if self._is_linked(shape):
            shape = shape[:-2] + shape[-1:]
        return keras.KerasTensor(shape, dtype="float32")

    def _is_linked(self, shape: Shape) -> bool:
        """Return whether an input is of linked frames, `(B, T, H, W, K, C)`."""
        return self.spatial_axes == 3 and len(shape) == 6

    def get_config(self) -> dict[str, Any]:
        names = ("window", "kernel", "color_weight", "position_weight", "gate", "normalize")
        own = {name: getattr(self, name) for name in (*names, "scale", "offset", "spacing")}
        return {**super().get_config(), **own}


_DOC = """{summary}

    Each position has its own filter, computed from the features around it. For labels v,
    positions j and z in the window around j:

        out_j^v = a g_j^v sum_z k(j, z) p_z^v / n + b
        d(j, z) = color_weight ||f_j - f_z||^2 + position_weight ||j - z||^2

    with g = p (`gate`) or 1, and n the number of positions in the window (`normalize`) or 1. It is
    group b12 of the Deep Parsing Network (ICCV 2015, eq. 8): `lin(k_j * o11)`, k_j initialised
    with d(j, z) p_j^v. The weights a, b, color_weight and position_weight are trainable scalars.

    Args:
        window: integer >= 1, or one per axis. Even m covers the offsets -m//2 ... m-1-m//2.
        kernel: "squared_distance", k = d, whose cost does not grow with the window; "gaussian",
            k = exp(-d), whose cost does; or "learned", one untied filter per position in addition
            to the colours' distance, initialised with the positions' distance. It needs known
            sizes, and takes memory for all offsets of the window at each position.
        color_weight: initial value; one over the squared unit in which colours are compared.
        position_weight: initial value; one over the squared unit of `spacing`.
        gate: whether to multiply the sum by p at the center position.
        normalize: whether to divide the sum by the number of positions in the window.
        scale: initial value of a.
        offset: initial value of b.
        spacing: distance from one position to the next, one number or one per axis; 1 counts in
            pixels. If slices are three times as far apart as pixels, their axis has 3.

    Input shape:
        A pair (p, features): {shape_p} probabilities or scores of L labels, and {shape_f}
        features, for example colours, in any unit and with any number of channels.{linked_input}

    Output shape:
        {shape_p}, float32 whatever the dtype policy: sums of squared 8-bit colours overflow
        float16. Positions outside of the image count as 0.

    Raises:
        ValueError: for a window below 1, an unknown kernel, channels first, ranks or sizes that
            do not fit, and unknown sizes with kernel="learned".

    Example:

    >>> p, image = keras.ops.ones({example_p}), keras.ops.ones({example_f})
    >>> {name}(window=5)((p, image)).shape
    {example_p}
    """


_LINKED_INPUT = """
        Or linked frames from `DynamicNodeLink`, `(B, T, H, W, K, L)` and `(B, T, H, W, K, F)` with
        K the window's first size: the window then spans each pixel's neighbours along the optical
        flow, and the output is `(B, T, H, W, L)`. With kernel="learned" all frames share the
        filters, one per position (H, W)."""


def _weighted_sum(filters: Tensor, patches: Tensor) -> Tensor:
    """Return the sums (..., L) over patches (..., offsets, L), weighted by (..., offsets)."""
    with without_autocast(patches):
        return ops.einsum("...o,...ol->...l", filters, patches)


def _document(
    shape: str, example: tuple[int, ...], linked_input: str = ""
) -> Callable[[type], type]:
    """Append the part of the docstring that all three classes share."""

    def decorate(cls: type) -> type:
        cls.__doc__ = _DOC.format(
            summary=cls.__doc__,
            name=cls.__name__,
            shape_p=f"`(B, {shape}, L)`",
            shape_f=f"`(B, {shape}, F)`",
            linked_input=linked_input,
            example_p=(2, *example, 4),
            example_f=(2, *example, 3),
        )
        return cls

    return decorate


@keras.saving.register_keras_serializable(package="keras_dpn")
@_document("T", (8,))
class LocalConv1D(_LocalConv):
    """Local convolution over one axis: the triple penalty of a Markov random field."""

    spatial_axes = 1


@keras.saving.register_keras_serializable(package="keras_dpn")
@_document("H, W", (8, 6))
class LocalConv2D(_LocalConv):
    """Local convolution over two axes: the triple penalty of a Markov random field."""

    spatial_axes = 2


@keras.saving.register_keras_serializable(package="keras_dpn")
@_document("D, H, W", (3, 8, 6), _LINKED_INPUT)
class LocalConv3D(_LocalConv):
    """Local convolution over three axes: the triple penalty of a Markov random field."""

    spatial_axes = 3
