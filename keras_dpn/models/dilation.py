"""The hole algorithm: a copy of a functional model with dilations instead of strides."""

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_dpn.typing import Shape, Tensor

# Layers that can be given a stride of 1.
_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
_POOLS = (layers.MaxPooling2D, layers.AveragePooling2D)
_SIZE = 1024  # of the image with which strides are measured, large enough to round paddings off


class DilatedGraph:
    """A copy of a functional model in which strides beyond one limit are dilations.

    Attributes:
        image: the copy's input.
        output: its output.
        maps: the last map of each stride of the original.
        strides: by the id of a tensor of the copy, its stride in the original and here.
        multiple: the largest stride of the original; images of other sizes have partial cells.
    """

    def __init__(self, model: keras.Model, channels: int, output_stride: int) -> None:
        self._limit = output_stride
        self._copies: dict[int, tuple[Any, Any, dict[str, Any]]] = {}
        self._unpadded: dict[int, Tensor] = {}
        self._tensors: list[Tensor] = []  # whose ids are keys
        self._depth = 0
        self.strides: dict[int, tuple[int, int]] = {}
        self.maps: dict[int, Tensor] = {}
        self.image = keras.Input((None, None, channels), name="image")
        self._keep(self.image, (1, 1))
        self.output = self._copy(model, self.image).outputs[0]
        self.multiple = max(level for level, _ in self.strides.values())
        if id(self.output) not in self.strides:
            raise ValueError(
                "Invalid value for argument `backbone`: expected a model from an image to a map of "
                f"features, received one whose output {tuple(model.outputs[0].shape)} is no map."
            )

    def copy_weights(self) -> None:
        """Copy the original's weights; a first convolution of other channels gets their mean."""
        for layer, copy, _ in self._copies.values():
            if not isinstance(layer, layers.Layer):
                continue
            values = zip(layer.get_weights(), copy.weights, strict=True)
            copy.set_weights([with_channels(value, w.shape) for value, w in values])

    def _copy(self, model: keras.Model, image: Tensor) -> keras.Model:
        return keras.models.clone_model(
            model,
            input_tensors=keras.tree.map_structure(lambda _: image, model.input),
            clone_function=lambda layer: layer,  # copied when it is called
            call_function=self._call,
        )

    def _keep(self, x: Tensor, strides: tuple[int, int]) -> None:
        self._tensors.append(x)
        self.strides[id(x)] = strides

    def _call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the copy of a layer, or an operation without weights, on tensors of the copy."""
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if id(x) in self.strides]
        if not tensors:  # the image's mean, and what is made of it
            return self._copy_of(operation, {})(*args, **kwargs)
        level, stride = max(self.strides[id(x)] for x in tensors)
        factor = self._factor(operation, level, args, kwargs)
        if isinstance(operation, keras.Model) and _is_from_one_to_one(operation):
            out = self._nested(operation, args[0])
        elif isinstance(operation, _CONVOLUTIONS + _POOLS) and stride * (factor or 1) > self._limit:
            out = self._dilated(operation, args[0], level // stride, had_stride=True)
            self._keep(out, (round(level * (factor or 1)), stride))
        elif isinstance(operation, _CONVOLUTIONS) and level > stride:
            out = self._dilated(operation, args[0], level // stride)
            self._keep(out, (level, stride))
        else:
            out = self._copy_of(operation, {})(*args, **kwargs)
            if factor is not None:
                self._keep(out, (round(level * factor), round(stride * factor)))
        if isinstance(operation, layers.ZeroPadding2D):
            self._unpadded[id(out)] = args[0]
        elif id(out) in self.strides and not self._depth:
            self.maps[self.strides[id(out)][0]] = out
        return out

    def _factor(self, operation: Any, level: int, args: Any, kwargs: Any) -> float | None:
        """Return the stride of an operation, 1/2 where it upsamples; None without a map."""
        cells = _SIZE // level

        def probe(x: Any) -> Any:
            if id(x) not in self.strides:
                return x
            return keras.KerasTensor((x.shape[0], cells, cells, x.shape[-1]), dtype=x.dtype)

        args, kwargs = keras.tree.map_structure(probe, (args, kwargs))
        out = operation.compute_output_spec(*args, **kwargs)
        shape: Any = getattr(out, "shape", ())
        if len(shape) != 4 or not shape[1] or shape[1] == 1:
            return None
        ratio = cells / shape[1]
        return round(ratio) if ratio > 0.75 else 1 / round(1 / ratio)

    def _nested(self, model: keras.Model, x: Tensor) -> Tensor:
        """Call the copy of a model inside the model."""
        inside = keras.Input(x.shape[1:], dtype=x.dtype)
        self._keep(inside, self.strides[id(x)])
        self._depth += 1
        functional = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        copy = self._copy(functional, inside)
        self._depth -= 1
        out = copy(x)
        if id(copy.outputs[0]) in self.strides:
            self._keep(out, self.strides[id(copy.outputs[0])])
        return out

    def _dilated(
        self, layer: layers.Layer, x: Tensor, dilation: int, had_stride: bool = False
    ) -> Tensor:
        """Call the copy of a convolution or a pool without its stride, dilated.

        Windows are centred on their cell; even windows that had a stride start with it, as before.
        """
        if layer.padding == "valid":
            x = self._unpadded.get(id(x), x)
        changes: dict[str, Any] = {"strides": (1, 1), "padding": "same"}
        if isinstance(layer, _CONVOLUTIONS):
            rate = tuple(dilation * n for n in layer.dilation_rate)
            changes["dilation_rate"] = rate
            reach = [(n - 1) * r for n, r in zip(layer.kernel_size, rate, strict=True)]
            if had_stride and any(n % 2 == 0 for n in layer.kernel_size):
                x = layers.ZeroPadding2D(tuple((0, n) for n in reach))(x)
                changes["padding"] = "valid"
        return self._copy_of(layer, changes)(x)

    def _copy_of(self, layer: Any, changes: dict[str, Any]) -> Any:
        """Return the copy of a layer, the same one at each call of the layer."""
        if id(layer) not in self._copies:
            config = {**layer.get_config(), **changes}
            if isinstance(layer, layers.Layer):
                config.pop("dtype", None)  # that of the network
            self._copies[id(layer)] = layer, type(layer).from_config(config), changes
        _, copy, before = self._copies[id(layer)]
        if before != changes:
            raise ValueError(
                "Invalid value for argument `backbone`: its model shares the layer "
                f"{layer.name!r} between maps that need other dilations."
            )
        return copy


def _is_from_one_to_one(model: keras.Model) -> bool:
    """Return whether a model has a graph with one input and one output."""
    ends = (getattr(model, name, None) or () for name in ("inputs", "outputs"))
    return [len(tensors) for tensors in ends] == [1, 1]


def with_channels(kernel: np.ndarray, shape: Shape) -> np.ndarray:
    """Return the kernel of a first convolution for images of another number of channels.

    Each channel gets the mean over the kernel's channels, scaled so that the sum stays.

    Args:
        kernel: `(h, w, C, n)`.
        shape: `(h, w, C', n)`; for any other that doesn't differ in C alone, the kernel is
            returned as it is.
    """
    others = [n for axis, n in enumerate(kernel.shape) if axis != 2]
    if (
        kernel.ndim != 4
        or len(shape) != 4
        or kernel.shape[2] == shape[2]
        or others != [shape[0], shape[1], shape[3]]
    ):
        return kernel
    mean = kernel.mean(axis=2, keepdims=True) * (kernel.shape[2] / shape[2])
    return np.broadcast_to(mean, shape)
