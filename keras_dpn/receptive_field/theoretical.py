"""Theoretical receptive fields: trace the graph back from a unit, layer by layer."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import layers

from keras_dpn.graph import graph_nodes
from keras_dpn.layers import Resize
from keras_dpn.models.deeplab import Interp
from keras_dpn.ops.checks import check_channels_last
from keras_dpn.receptive_field.field import EVERYTHING, Field, Span
from keras_dpn.receptive_field.layer_spans import GLOBAL, looks_at
from keras_dpn.typing import Tensor

# Height and width of a map, and the rows and columns of a part of it.
Size: TypeAlias = tuple[int, ...]
Area: TypeAlias = tuple[Span, ...]


def map_size(model: keras.Model, layer: str, image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of a layer's map for images of a size.

    Args:
        model: a functional model of one image `(B, H, W, C)`.
        layer: name of one of its layers, whose output is `(B, h, w, channels)`. If it is called
            more than once, the last call counts.
        image_size: height and width of the image.

    Raises:
        ValueError: if the model has other inputs or no such layer, or the layer's output is no map
            or of unknown size.

    Example:

    >>> image = keras.Input((None, None, 3))
    >>> x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(image)
    >>> map_size(keras.Model(image, x), "conv", (15, 20))
    (8, 10)
    """
    output = output_of(model, layer)
    size = _sizes(model.inputs, [output], [tuple(image_size)])[id(output)]
    if size is None:
        raise ValueError(f"The size of the map of layer {layer!r} is unknown for {image_size}.")
    height, width = size
    return height, width


def theoretical_field(
    model: keras.Model, layer: str, unit: tuple[int, int], image_size: tuple[int, int]
) -> Field:
    """Return the pixels that a unit depends on, given the windows, strides and dilations below it.

    The graph is traced back from the layer. Global layers, and layers of an unknown type, make the
    field the whole image. Padding counts as if the image continued there.

    Args:
        model: a functional model of one image `(B, H, W, C)`; models within it are traced too.
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
    cell = check_unit(unit, map_size(model, layer, image_size))
    output = output_of(model, layer)
    spans = tuple((float(index), float(index)) for index in cell)
    unlimited: dict[str, None] = {}
    (field,) = _walk_back(model.inputs, {id(output): spans}, [output], [image_size], unlimited)
    rows, columns = field
    return Field(rows, columns, tuple(unlimited))


def output_of(model: keras.Model, layer: str) -> Tensor:
    """Return the output map of a layer; raise ValueError if it or the model is unsuitable."""
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


def check_unit(unit: Sequence[int], size: Size) -> tuple[int, ...]:
    """Return row and column as a tuple; raise ValueError unless they are in the map."""
    inside = len(unit) == 2 and all(0 <= i < n for i, n in zip(unit, size, strict=True))
    if not inside:
        raise ValueError(
            f"Invalid value for argument `unit`: expected row and column of a map of {size[0]}x"
            f"{size[1]}, received {tuple(unit)}."
        )
    return tuple(unit)


def _walk_back(
    inputs: Sequence[Tensor],
    spans: dict[int, Area],
    outputs: Sequence[Tensor],
    input_sizes: Sequence[Size | None],
    unlimited: dict[str, None],
) -> list[Any]:
    """Return the spans of a graph's inputs that the outputs' spans depend on; None for none.

    Args:
        inputs: the graph's input tensors.
        spans: (rows, columns) in each output, by the tensor's id.
        outputs: its output tensors.
        input_sizes: height and width of each input.
        unlimited: receives the layers that depend on the whole image.
    """
    nodes = graph_nodes(outputs)
    tensors = [tensor for node in nodes for tensor in node.output_tensors]
    sizes = _sizes(inputs, tensors, input_sizes)
    for node in reversed(nodes):
        for tensor, span in _looked_at(node, spans, sizes, unlimited):
            spans[id(tensor)] = _union(spans.get(id(tensor)), span)
    return [spans.get(id(tensor)) for tensor in inputs]


def _sizes(
    inputs: Sequence[Tensor], tensors: Sequence[Tensor], input_sizes: Sequence[Size | None]
) -> dict[int, Size | None]:
    """Return height and width of each tensor that is a map of known size, by its id, or None."""
    known = [
        keras.KerasTensor((1, *size, *x.shape[3:]), dtype=x.dtype) if size else x
        for x, size in zip(inputs, input_sizes, strict=True)
    ]
    specs = keras.Function(inputs, tensors).compute_output_spec(known)
    shapes = zip(tensors, specs, strict=True)
    return {id(tensor): _size_of(tuple(spec.shape)) for tensor, spec in shapes}


def _size_of(shape: tuple[Any, ...]) -> Size | None:
    return shape[1:3] if len(shape) == 4 and None not in shape[1:3] else None


def _looked_at(
    node: Any,
    spans: Mapping[int, Area],
    sizes: Mapping[int, Size | None],
    unlimited: dict[str, None],
) -> list[tuple[Tensor, Area]]:
    """Yield the input tensors that a call depends on, with the (rows, columns) in them."""
    layer, inputs = node.operation, node.input_tensors
    seen = {id(tensor): spans[id(tensor)] for tensor in node.output_tensors if id(tensor) in spans}
    if not seen or not inputs:
        return []
    if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
        inner = [id(tensor) for tensor in layer.outputs]
        outer = [id(tensor) for tensor in node.output_tensors]
        within = {a: seen[b] for a, b in zip(inner, outer, strict=True) if b in seen}
        input_sizes = [sizes[id(tensor)] for tensor in inputs]
        inner_spans = _walk_back(layer.inputs, within, layer.outputs, input_sizes, unlimited)
        pairs = zip(inputs, inner_spans, strict=True)
        return [(tensor, span) for tensor, span in pairs if span is not None]
    span = functools.reduce(_union, seen.values())
    if isinstance(layer, (Resize, Interp)):
        inputs = inputs[:1]  # only the size of a reference matters
    return [(x, _input_span(layer, span, sizes[id(x)], node, sizes, unlimited)) for x in inputs]


def _input_span(
    layer: Any,
    span: Area,
    input_size: Size | None,
    node: Any,
    sizes: Mapping[int, Size | None],
    unlimited: dict[str, None],
) -> Area:
    """Return the span of one of a layer's inputs that its (rows, columns) depend on."""
    output_size = sizes[id(node.output_tensors[0])]
    if input_size and output_size:
        found = [
            looks_at(layer, axis, *span[axis], input_size[axis], output_size[axis])
            for axis in (0, 1)
        ]
        known = [looked_at for looked_at in found if looked_at is not None]
        if len(known) == len(found):
            return tuple((float(first), float(last)) for first, last in known)
    whole = isinstance(layer, GLOBAL)
    reason = "depends on the whole image" if whole else "is of an unknown type"
    unlimited[f"{layer.name} ({type(layer).__name__}) {reason}"] = None
    return EVERYTHING, EVERYTHING


def _union(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return a or b
    pairs = zip(a, b, strict=True)
    return tuple((min(x[0], y[0]), max(x[1], y[1])) for x, y in pairs)
