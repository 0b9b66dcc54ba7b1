"""What a unit of a network sees: in theory, by the windows below it, and in fact, by experiment."""

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from keras_dpn.graph import graph_nodes
from keras_dpn.layers import (
    BlockMinPool,
    GlobalContext,
    L2NormScale,
    LocalConv2D,
    MeanFieldCRF,
    Resize,
)
from keras_dpn.models.deeplab import Interp
from keras_dpn.models.dpn import Guide
from keras_dpn.models.vgg16 import Preprocess
from keras_dpn.ops.checks import check_channels_last, check_positive_int, standardize_window

Span = tuple[float, float]  # first and last index along an axis, either of them perhaps infinite

_EVERYTHING: Span = (-np.inf, np.inf)


class Field(NamedTuple):
    """The pixels that can change a unit: a rectangle, without regard to where the image ends.

    Attributes:
        rows: indices of the first and the last row; infinite where it is the whole image.
        columns: likewise.
        unlimited: the layers that make it the whole image, each with the reason, in words.
    """

    rows: Span
    columns: Span
    unlimited: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[float, float]:
        """Height and width, in pixels."""
        return tuple(last - first + 1 for first, last in (self.rows, self.columns))

    def box(self, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of what lies within an image; the last two are exclusive."""
        spans = zip((self.rows, self.columns), image_size, strict=True)
        (top, bottom), (left, right) = (
            (int(np.clip(first, 0, side)), int(np.clip(last + 1, 0, side)))
            for (first, last), side in spans
        )
        return top, left, bottom, right


def map_size(model: keras.Model, layer: str, image_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a layer's map for images of a size.

    Args:
        model: a functional model of one image `(B, H, W, C)`.
        layer: name of one of its layers, whose output is `(B, h, w, channels)`. Where it is called
            more than once, the last call counts.
        image_size: height and width of the image.

    Raises:
        ValueError: if the model takes something else, has no such layer, or the layer's output is
            no map or its size unknown.

    Example:

    >>> image = keras.Input((None, None, 3))
    >>> x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(image)
    >>> map_size(keras.Model(image, x), "conv", (15, 20))
    (8, 10)
    """
    output = _output(model, layer)
    size = _sizes(model.inputs, [output], [tuple(image_size)])[id(output)]
    if size is None:
        raise ValueError(f"The size of the map of layer {layer!r} is unknown for {image_size}.")
    return size


def theoretical_field(
    model: keras.Model, layer: str, unit: tuple[int, int], image_size: tuple[int, int]
) -> Field:
    """The pixels that a unit is connected to, by the windows, strides and dilations below it.

    The graph is walked back from the layer. What looks at the whole image, and layers of a kind
    that isn't known here, make the field the whole image. Cells of padding count as if the image
    went on there.

    Args:
        model: a functional model of one image `(B, H, W, C)`; models within it are walked too.
        layer: name of one of its layers, whose output is `(B, h, w, channels)`.
        unit: row and column of a cell of the layer's map.
        image_size: height and width of the image.

    Raises:
        ValueError: as `map_size`, and for a unit outside of the map.

    Example:

    >>> image = keras.Input((None, None, 3))
    >>> x = keras.layers.Conv2D(4, 3, padding="same")(image)
    >>> x = keras.layers.MaxPooling2D(2)(x)
    >>> x = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="conv")(x)
    >>> field = theoretical_field(keras.Model(image, x), "conv", (5, 5), (20, 20))
    >>> field.rows, field.size
    ((5.0, 16.0), (12.0, 12.0))
    """
    unit = _check_unit(unit, map_size(model, layer, image_size))
    output = _output(model, layer)
    spans = tuple((float(index), float(index)) for index in unit)
    unlimited: dict[str, None] = {}
    (field,) = _walk_back(model.inputs, {id(output): spans}, [output], [image_size], unlimited)
    return Field(*field, tuple(unlimited))


def discrepancy_map(
    model: keras.Model,
    layer: str,
    image: np.ndarray,
    unit: tuple[int, int],
    *,
    channel: int | None = None,
    patch: int = 16,
    stride: int = 8,
    batch_size: int = 8,
    within: tuple[int, int, int, int] | None = None,
    seed: int = 0,
    progress: Callable[[list], Iterable] = iter,
) -> np.ndarray:
    """How much a unit changes when a small patch of noise covers a place of the image.

    The experiment of Zhou et al., "Object Detectors Emerge in Deep Scene CNNs" (ICLR 2015), with
    which ParseNet shows that networks see about a quarter of what they could (sec. 3.1).

    Args:
        model: a functional model of one image `(B, H, W, C)`.
        layer: name of one of its layers, whose output is `(B, h, w, channels)`.
        image: `(H, W, C)`, as the model takes it.
        unit: row and column of a cell of the layer's map.
        channel: the unit's channel; None for the length of the change of all channels together.
        patch: side of the patch in pixels. Its noise is uniform between the image's smallest and
            largest value, and the same at all places.
        stride: pixels from place to place, along either axis.
        batch_size: images at a time.
        within: top, left, bottom and right of the part of the image to try, as of `Field.box`; what
            lies outside counts as no change. None: all of it.
        seed: of the noise.
        progress: is handed the list of batches and yields them, to show how far it is.

    Returns:
        float32 `(ceil(H / stride), ceil(W / stride))`, from 0 up: the change for a patch around the
        middle of each block of stride x stride pixels.

    Raises:
        ValueError: as `theoretical_field`, and for a channel that the layer doesn't have.
    """
    image = np.asarray(image)
    for name, value in (("patch", patch), ("stride", stride), ("batch_size", batch_size)):
        check_positive_int(name, value)
    probe = _probe(model, layer, unit, channel, image.shape)
    places = _places(image.shape[:2], stride)
    inside = [place for place in places if within is None or _touches(place, patch, within)]
    rng = np.random.default_rng(seed)
    noise = rng.uniform(image.min(), image.max(), (patch, patch, image.shape[2]))
    before = _respond(probe, image[None])[0]
    changes = dict.fromkeys(places, 0.0)
    batches = [inside[i : i + batch_size] for i in range(0, len(inside), batch_size)]
    for batch in progress(batches):
        covered = np.stack([_covered(image, noise, place) for place in batch])
        change = np.linalg.norm(_respond(probe, covered) - before, axis=-1)
        changes |= dict(zip(batch, change.tolist(), strict=True))
    shape = tuple(-(-side // stride) for side in image.shape[:2])
    return np.array([changes[place] for place in places], "float32").reshape(shape)


def effective_field(
    discrepancy: np.ndarray, box: tuple[int, int, int, int], stride: int, threshold: float = 0.1
) -> tuple[np.ndarray, float]:
    """The places that a unit does see, and their share of those that it could see.

    Args:
        discrepancy: from `discrepancy_map`.
        box: top, left, bottom and right of the theoretical field within the image.
        stride: as it was for `discrepancy_map`.
        threshold: share of the largest change, between 0 and 1, above which a place is seen.

    Returns:
        A boolean array like `discrepancy`, and the number of pixels of the box that lie in seen
        places over the number of its pixels.

    Raises:
        ValueError: for a threshold outside of 0 ... 1, a box without a pixel, and where nothing
            changed anywhere: a dead unit.

    Example:

    >>> seen, share = effective_field(np.array([[0.0, 2.0], [0.1, 1.0]]), (0, 0, 8, 8), stride=4)
    >>> seen.sum(), share
    (np.int64(2), 0.5)
    """
    if not 0 <= threshold < 1:
        raise ValueError(
            "Invalid value for argument `threshold`: expected a number from 0 to below 1, received "
            f"{threshold}."
        )
    top, left, bottom, right = box
    if bottom <= top or right <= left:
        raise ValueError(f"Invalid value for argument `box`: no pixel lies in {box}.")
    if not np.max(discrepancy) > 0:
        raise ValueError("The unit never changed: it is dead, or looks at no pixel of the image.")
    seen = discrepancy > threshold * np.max(discrepancy)
    pixels = np.kron(seen, np.ones((stride, stride), bool))[top:bottom, left:right]
    return seen, float(pixels.mean())


# === The experiment ===


def _probe(model, layer, unit, channel, shape) -> keras.Model:
    """The model up to one unit, or to all channels of its cell: (B, channels)."""
    if len(shape) != 3:
        raise ValueError(
            "Invalid value for argument `image`: expected shape (H, W, C), received "
            f"{tuple(shape)}."
        )
    row, column = _check_unit(unit, map_size(model, layer, shape[:2]))
    output = _output(model, layer)
    channels = output.shape[-1]
    if channel is not None and channel not in range(channels):
        raise ValueError(
            f"Invalid value for argument `channel`: expected 0 to {channels - 1} of layer "
            f"{layer!r}, received {channel}."
        )
    chosen = slice(None) if channel is None else slice(channel, channel + 1)
    return keras.Model(model.inputs, output[:, row, column, chosen])


def _places(image_size, stride) -> list[tuple[int, int]]:
    """Middles of the blocks of stride x stride pixels, row by row."""
    rows, columns = (range(stride // 2, side + stride // 2, stride) for side in image_size)
    return [(row, column) for row in rows for column in columns]


def _touches(place, patch, box) -> bool:
    """Whether a patch around a place lies in a box, at least in part."""
    top, left = (index - patch // 2 for index in place)
    return top < box[2] and top + patch > box[0] and left < box[3] and left + patch > box[1]


def _covered(image, noise, place) -> np.ndarray:
    """The image with noise around a place, as much of it as the image has room for."""
    covered, patch = image.copy(), len(noise)
    starts = [index - patch // 2 for index in place]
    here, there = [], []
    for start, side in zip(starts, image.shape[:2], strict=True):
        first, last = max(start, 0), max(min(start + patch, side), 0)
        here.append(slice(first, last))
        there.append(slice(first - start, last - start))
    covered[tuple(here)] = noise[tuple(there)].astype(image.dtype)
    return covered


def _respond(probe, images) -> np.ndarray:
    return np.asarray(probe.predict_on_batch(images), "float32")


# === The graph ===


def _output(model, layer):
    """The tensor that a layer puts out, if it is a map of a model of images."""
    check_channels_last("receptive_field")
    if not getattr(model, "inputs", None) or len(model.inputs) != 1:
        raise ValueError(
            f"Expected a functional model of one image, received {model.name!r} with "
            f"{len(getattr(model, 'inputs', None) or ())} inputs."
        )
    if len(model.inputs[0].shape) != 4:
        raise ValueError(
            f"Expected a model of images (B, H, W, C), received {model.name!r} that takes "
            f"{tuple(model.inputs[0].shape)}."
        )
    maps = {
        node.operation.name: node.output_tensors[0]
        for node in graph_nodes(model.outputs)
        if isinstance(node.operation, layers.Layer) and len(node.output_tensors[0].shape) == 4
    }
    if layer not in maps:
        raise ValueError(
            f"Invalid value for argument `layer`: expected one of those with maps (B, h, w, "
            f"channels) in {model.name!r}, {', '.join(maps)}; received {layer!r}."
        )
    return maps[layer]


def _check_unit(unit, size):
    inside = len(unit) == 2 and all(0 <= i < n for i, n in zip(unit, size, strict=True))
    if not inside:
        raise ValueError(
            f"Invalid value for argument `unit`: expected row and column of a map of {size[0]}x"
            f"{size[1]}, received {tuple(unit)}."
        )
    return tuple(unit)


def _walk_back(inputs, spans, outputs, input_sizes, unlimited):
    """What the outputs' spans look at in each of a graph's inputs; None where nothing is.

    Args:
        inputs: the graph's input tensors.
        spans: (rows, columns) in each output, by the tensor's id.
        outputs: its output tensors.
        input_sizes: height and width of each input.
        unlimited: receives the layers that look at everything.
    """
    nodes = graph_nodes(outputs)
    tensors = [tensor for node in nodes for tensor in node.output_tensors]
    sizes = _sizes(inputs, tensors, input_sizes)
    for node in reversed(nodes):
        for tensor, span in _looked_at(node, spans, sizes, unlimited):
            spans[id(tensor)] = _union(spans.get(id(tensor)), span)
    return [spans.get(id(tensor)) for tensor in inputs]


def _sizes(inputs, tensors, input_sizes):
    """Height and width of each tensor that is a map of known size, by its id; else None."""
    known = [
        keras.KerasTensor((1, *size, *x.shape[3:]), dtype=x.dtype) if size else x
        for x, size in zip(inputs, input_sizes, strict=True)
    ]
    specs = keras.Function(inputs, tensors).compute_output_spec(known)
    shapes = zip(tensors, specs, strict=True)
    return {id(tensor): _size_of(tuple(spec.shape)) for tensor, spec in shapes}


def _size_of(shape):
    return shape[1:3] if len(shape) == 4 and None not in shape[1:3] else None


def _looked_at(node, spans, sizes, unlimited):
    """Each of a call's input tensors that it looks at, with (rows, columns) in it."""
    layer, inputs = node.operation, node.input_tensors
    seen = {id(tensor): spans[id(tensor)] for tensor in node.output_tensors if id(tensor) in spans}
    if not seen or not inputs:
        return []
    if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
        inner = [id(tensor) for tensor in layer.outputs]
        outer = [id(tensor) for tensor in node.output_tensors]
        within = {a: seen[b] for a, b in zip(inner, outer, strict=True) if b in seen}
        input_sizes = [sizes[id(tensor)] for tensor in inputs]
        found = _walk_back(layer.inputs, within, layer.outputs, input_sizes, unlimited)
        pairs = zip(inputs, found, strict=True)
        return [(tensor, span) for tensor, span in pairs if span is not None]
    span = functools.reduce(_union, seen.values())
    if isinstance(layer, (Resize, Interp)):
        inputs = inputs[:1]  # of a reference it takes the size alone
    return [(x, _input_span(layer, span, sizes[id(x)], node, sizes, unlimited)) for x in inputs]


def _input_span(layer, span, input_size, node, sizes, unlimited):
    """What a layer's (rows, columns) look at in one of its inputs."""
    output_size = sizes[id(node.output_tensors[0])]
    if input_size and output_size:
        found = [
            looks_at(layer, axis, *span[axis], input_size[axis], output_size[axis])
            for axis in (0, 1)
        ]
        if None not in found:
            return tuple((float(first), float(last)) for first, last in found)
    whole = isinstance(layer, _GLOBAL)
    reason = "looks at the whole image" if whole else "is of a kind unknown here"
    unlimited[f"{layer.name} ({type(layer).__name__}) {reason}"] = None
    return _EVERYTHING, _EVERYTHING


def _union(a, b):
    if a is None or b is None:
        return a or b
    pairs = zip(a, b, strict=True)
    return tuple((min(x[0], y[0]), max(x[1], y[1])) for x, y in pairs)


# === Kinds of layers ===

_GLOBAL = (
    GlobalContext,
    MeanFieldCRF,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Flatten,
)
# Each cell of their maps looks at the same cell of their inputs alone.
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
# As long as their axis is the channels'.
_CHANNELWISE = (
    L2NormScale,
    layers.Concatenate,
    layers.LayerNormalization,
    layers.Softmax,
    layers.UnitNormalization,
)
# Those of `keras.ops`, by the names that their calls have in a graph.
_POINTWISE_OPERATIONS = {
    *("Absolute", "Add", "Cast", "Clip", "Divide", "Elu", "Exp", "Gelu", "Log", "LogSigmoid"),
    *("Maximum", "Minimum", "Multiply", "Negative", "Power", "Relu", "Sigmoid", "Silu"),
    *("Softplus", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide"),
}
_CHANNELWISE_OPERATIONS = {"Concatenate", "LogSoftmax", "Softmax"}


@functools.singledispatch
def looks_at(layer, axis, first, last, n_in, n_out):
    """First and last index of a layer's input that its outputs first ... last look at.

    Register kinds of layers of your own with `looks_at.register`.

    Args:
        layer: the layer, or another operation of a graph.
        axis: 0 for rows, 1 for columns.
        first: index along the axis; it may lie outside of the map, and be infinite.
        last: likewise.
        n_in: the input's length along the axis.
        n_out: the output's.

    Returns:
        Two numbers; or None if the layer's kind isn't known or it looks at the whole axis.
    """
    if isinstance(layer, layers.Layer):
        pointwise, channelwise = isinstance(layer, _POINTWISE), isinstance(layer, _CHANNELWISE)
    else:
        name = type(layer).__name__
        pointwise, channelwise = name in _POINTWISE_OPERATIONS, name in _CHANNELWISE_OPERATIONS
    if not (pointwise or channelwise and _last_axis(layer)):
        return None
    return (0, 0) if n_in == 1 else (first, last)  # a single cell is there for all of them


def _last_axis(layer):
    axis = layer.axis
    return (tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)) in ((-1,), (3,))


@looks_at.register(layers.Conv2D)
@looks_at.register(layers.DepthwiseConv2D)
@looks_at.register(layers.SeparableConv2D)
def _(layer, axis, first, last, n_in, n_out):
    reach = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis]
    return _window(first, last, reach, layer.strides[axis], layer.padding, n_in, n_out)


@looks_at.register(layers.AveragePooling2D)
@looks_at.register(layers.MaxPooling2D)
def _(layer, axis, first, last, n_in, n_out):
    reach = layer.pool_size[axis] - 1
    return _window(first, last, reach, layer.strides[axis], layer.padding, n_in, n_out)


def _window(first, last, reach, stride, padding, n_in, n_out):
    """Of a convolution whose window's last tap lies `reach` behind its first."""
    missing = max((n_out - 1) * stride + reach + 1 - n_in, 0) if padding == "same" else 0
    return first * stride - missing // 2, last * stride - missing // 2 + reach


@looks_at.register
def _(layer: layers.ZeroPadding2D, axis, first, last, n_in, n_out):
    return first - layer.padding[axis][0], last - layer.padding[axis][0]


@looks_at.register
def _(layer: layers.Cropping2D, axis, first, last, n_in, n_out):
    return first + layer.cropping[axis][0], last + layer.cropping[axis][0]


@looks_at.register
def _(layer: layers.UpSampling2D, axis, first, last, n_in, n_out):
    factor = layer.size[axis]
    if layer.interpolation == "nearest":
        return first // factor, last // factor
    return _bilinear(first, last, 1 / factor) if layer.interpolation == "bilinear" else None


@looks_at.register
def _(layer: Resize, axis, first, last, n_in, n_out):
    enlarged = n_in * layer.factor if layer.factor else n_out  # before it is cut to a reference
    if layer.align_corners:
        scale = (n_in - 1) / max(enlarged - 1, 1)
        return np.floor(first * scale), np.ceil(last * scale)
    return _bilinear(first, last, n_in / enlarged)


def _bilinear(first, last, scale):
    """With half-pixel centres: each output lies between two inputs, `scale` of one apart."""
    return np.floor((first + 0.5) * scale - 0.5), np.ceil((last + 0.5) * scale - 0.5)


@looks_at.register
def _(layer: Interp, axis, first, last, n_in, n_out):
    return np.floor(first / layer.stride), np.ceil(last / layer.stride)


@looks_at.register
def _(layer: LocalConv2D, axis, first, last, n_in, n_out):
    window = standardize_window(layer.window, 2)[axis]
    return first - window // 2, last + window - 1 - window // 2


@looks_at.register
def _(layer: Guide, axis, first, last, n_in, n_out):
    return first * layer.stride, (last + 1) * layer.stride - 1
