"""The span of a layer's input that its outputs depend on: windows, strides, dilations."""

import functools
from typing import Any

import numpy as np
from keras import layers

from keras_dpn.layers import (
    BlockMinPool,
    DeepParsingField,
    GlobalContext,
    L2NormScale,
    LocalConv2D,
    MeanFieldCRF,
    Resize,
)
from keras_dpn.models.deeplab import Interp
from keras_dpn.models.guide import Guide
from keras_dpn.models.vgg16 import Preprocess
from keras_dpn.ops.checks import standardize_window
from keras_dpn.receptive_field.field import Span

GLOBAL = (
    GlobalContext,
    MeanFieldCRF,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Flatten,
)
# Each cell of their outputs depends only on the same cell of their inputs.
_POINTWISE = (
    BlockMinPool,
    Preprocess,
    layers.Activation,
    layers.ActivityRegularization,
    layers.Add,
    layers.AlphaDropout,
    layers.Average,
    layers.BatchNormalization,
    layers.Dense,
    layers.Dropout,
    layers.ELU,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.LeakyReLU,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Normalization,
    layers.PReLU,
    layers.ReLU,
    layers.Rescaling,
    layers.SpatialDropout2D,
    layers.Subtract,
)
# Likewise if their axis is the channels'.
_CHANNELWISE = (
    L2NormScale,
    layers.Concatenate,
    layers.LayerNormalization,
    layers.Softmax,
    layers.UnitNormalization,
)
# Operations of `keras.ops`, by their names in a graph.
_POINTWISE_OPERATIONS = {
    *("Absolute", "Add", "Cast", "Clip", "Divide", "Elu", "Exp", "Gelu", "Log", "LogSigmoid"),
    *("Maximum", "Minimum", "Multiply", "Negative", "Power", "Relu", "Sigmoid", "Silu"),
    *("Softplus", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide"),
}
_CHANNELWISE_OPERATIONS = {"Concatenate", "LogSoftmax", "Softmax"}


@functools.singledispatch
def looks_at(
    layer: Any, axis: int, first: float, last: float, n_in: int, n_out: int
) -> Span | None:
    """Return first and last index of a layer's input that its outputs first ... last depend on.

    Register other types of layers with `looks_at.register`.

    Args:
        layer: the layer, or another operation of a graph.
        axis: 0 for rows, 1 for columns.
        first: index along the axis; it may be outside of the map, and infinite.
        last: likewise.
        n_in: the input's length along the axis.
        n_out: the output's.

    Returns:
        Two numbers; or None if the layer's type is unknown or it depends on the whole axis.
    """
    if isinstance(layer, layers.Layer):
        pointwise, channelwise = isinstance(layer, _POINTWISE), isinstance(layer, _CHANNELWISE)
    else:
        name = type(layer).__name__
        pointwise, channelwise = name in _POINTWISE_OPERATIONS, name in _CHANNELWISE_OPERATIONS
    if not (pointwise or channelwise and _last_axis(layer)):
        return None
    return (0, 0) if n_in == 1 else (first, last)  # a single cell is broadcast to all of them


def _last_axis(layer: Any) -> bool:
    axis = layer.axis
    return (tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)) in ((-1,), (3,))


@looks_at.register(layers.Conv2D)
@looks_at.register(layers.DepthwiseConv2D)
@looks_at.register(layers.SeparableConv2D)
def _(layer: Any, axis: int, first: float, last: float, n_in: int, n_out: int) -> Span | None:
    reach = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis]
    return _window(first, last, reach, layer.strides[axis], layer.padding, n_in, n_out)


@looks_at.register(layers.AveragePooling2D)
@looks_at.register(layers.MaxPooling2D)
def _(layer: Any, axis: int, first: float, last: float, n_in: int, n_out: int) -> Span | None:
    reach = layer.pool_size[axis] - 1
    return _window(first, last, reach, layer.strides[axis], layer.padding, n_in, n_out)


def _window(
    first: float, last: float, reach: int, stride: int, padding: str, n_in: int, n_out: int
) -> Span:
    """Return the span of a convolution whose last kernel element is `reach` after its first."""
    missing = max((n_out - 1) * stride + reach + 1 - n_in, 0) if padding == "same" else 0
    return first * stride - missing // 2, last * stride - missing // 2 + reach


@looks_at.register
def _(
    layer: layers.ZeroPadding2D, axis: int, first: float, last: float, n_in: int, n_out: int
) -> Span | None:
    return first - layer.padding[axis][0], last - layer.padding[axis][0]


@looks_at.register
def _(
    layer: layers.Cropping2D, axis: int, first: float, last: float, n_in: int, n_out: int
) -> Span | None:
    return first + layer.cropping[axis][0], last + layer.cropping[axis][0]


@looks_at.register
def _(
    layer: layers.UpSampling2D, axis: int, first: float, last: float, n_in: int, n_out: int
) -> Span | None:
    factor = layer.size[axis]
    if layer.interpolation == "nearest":
        return first // factor, last // factor
    return _bilinear(first, last, 1 / factor) if layer.interpolation == "bilinear" else None


@looks_at.register
def _(layer: Resize, axis: int, first: float, last: float, n_in: int, n_out: int) -> Span | None:
    upsampled = (
        n_in * layer.factor if layer.factor else n_out
    )  # before it is cropped to a reference
    if layer.align_corners:
        scale = (n_in - 1) / max(upsampled - 1, 1)
        return np.floor(first * scale), np.ceil(last * scale)
    return _bilinear(first, last, n_in / upsampled)


def _bilinear(first: float, last: float, scale: float) -> Span:
    """Return the span of a resize with half-pixel centres; outputs are `scale` inputs apart."""
    return np.floor((first + 0.5) * scale - 0.5), np.ceil((last + 0.5) * scale - 0.5)


@looks_at.register
def _(layer: Interp, axis: int, first: float, last: float, n_in: int, n_out: int) -> Span | None:
    return np.floor(first / layer.stride), np.ceil(last / layer.stride)


@looks_at.register
def _(
    layer: LocalConv2D, axis: int, first: float, last: float, n_in: int, n_out: int
) -> Span | None:
    window = standardize_window(layer.window, 2)[axis]
    return first - window // 2, last + window - 1 - window // 2


@looks_at.register
def _(layer: Guide, axis: int, first: float, last: float, n_in: int, n_out: int) -> Span | None:
    return first * layer.stride, (last + 1) * layer.stride - 1


@looks_at.register
def _(
    layer: DeepParsingField, axis: int, first: float, last: float, n_in: int, n_out: int
) -> Span | None:
    sizes = (layer.window, layer.context_window, layer.stride)
    window, contexts, stride = (standardize_window(size, 2)[axis] for size in sizes)
    # The cells of the field's grid from which the outputs are upsampled, and those around them.
    start, end = _bilinear(first, last, 1 / stride)
    for _ in range(layer.num_iterations):
        if layer.pairwise == "contexts":
            start, end = start - (contexts - 1) // 2, end + contexts // 2
        start, end = start - window // 2, end + window - 1 - window // 2
    return start * stride, (end + 1) * stride - 1
