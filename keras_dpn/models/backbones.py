"""Any functional Keras model as a backbone: its maps by their strides, dilations for strides."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import keras
from keras import layers, ops

from keras_dpn.layers import Resize
from keras_dpn.models.dilation import DilatedGraph
from keras_dpn.models.vgg16 import Preprocess
from keras_dpn.ops.checks import check_one_of
from keras_dpn.typing import Tensor

# VGG16's layers that the networks here take maps from, and their strides in VGG16. In another
# backbone the last map of the same stride takes a layer's place.
_STRIDES = {
    **{"b2_pool": 2, "b3_conv2": 2, "b4_pool": 4, "b5_conv3": 4, "b6_pool": 8, "b7_conv3": 8},
    **{"b7_pool": 16, "b8_conv3": 16},
}
# By the beginning of a model's name in keras.applications, in lower case, how it wants its images.
# The other families have their preprocessing inside the model.
_PREPROCESSING = {
    **dict.fromkeys(("resnet50v2", "resnet101v2", "resnet152v2"), "tf"),
    **dict.fromkeys(("resnet50", "resnet101", "resnet152", "vgg16", "vgg19"), "caffe"),
    **dict.fromkeys(("mobilenet_", "mobilenetv2_", "inception_", "xception", "nasnet"), "tf"),
    "densenet": "torch",
}
PREPROCESSING = ("auto", "caffe", "tf", "torch", "none")


class ModelBackbone(TypedDict, total=False):
    """A Keras model as a backbone.

    Keys:
        model: a functional `keras.Model` with one input, the image, and one output, a map of
            features, such as `keras.applications.ResNet50V2(include_top=False)`. The network gets
            a copy of the model and its weights. Or the model's `to_json()`, without weights.
        preprocessing: how the model wants its images, one of "caffe" (BGR minus ImageNet's mean
            colour), "tf" (-1 to 1), "torch" (ImageNet's mean colour and standard deviation) and
            "none" (RGB, 0-255); or "auto" (default): as `keras.applications` has it for models with
            its names, otherwise "none".
    """

    model: keras.Model | str
    preprocessing: Literal["auto", "caffe", "tf", "torch", "none"]


def standardize_backbone(backbone: Any) -> dict[str, Any] | None:
    """Return a backbone as a complete `ModelBackbone`; None for VGG16.

    Args:
        backbone: "vgg16", a Keras model or a `ModelBackbone`.

    Raises:
        ValueError: for other values.
        TypeError: for unknown keys.
    """
    if backbone == "vgg16":
        return None
    if isinstance(backbone, keras.Model):
        backbone = {"model": backbone}
    if not isinstance(backbone, Mapping) or not backbone.get("model"):
        raise ValueError(
            "Invalid value for argument `backbone`: expected 'vgg16', a functional keras.Model, or "
            f"a dictionary with the keys `model` and `preprocessing`, received {backbone!r}."
        )
    if unknown := set(backbone) - {"model", "preprocessing"}:
        raise TypeError(
            f"`backbone` got the unexpected keys {', '.join(sorted(unknown))}; expected `model` "
            "and `preprocessing`."
        )
    return {"preprocessing": "auto", **backbone}


def as_config(backbone: Mapping[str, Any] | None) -> Any:
    """Return the argument `backbone` as JSON can have it: a model as its `to_json()`."""
    if backbone is None:
        return "vgg16"
    model = backbone["model"]
    return {**backbone, "model": model.to_json() if isinstance(model, keras.Model) else model}


class _Maps(dict[str, Any]):
    """Maps by the names of VGG16's layers."""

    def __or__(self, others: Any) -> "_Maps":  # type: ignore[override]
        return _Maps(super().__or__(others))

    def __missing__(self, layer: str) -> Tensor:
        raise ValueError(
            f"Invalid value for argument `backbone`: its model has no map of stride "
            f"{_STRIDES[layer]}, which takes the place of VGG16's {layer}; leave out the skip or "
            "branch from it."
        )


def backbone_maps(
    backbone: Mapping[str, Any], image: Tensor, output_stride: int
) -> tuple[dict[str, Tensor], int]:
    """Apply a Keras model to an image as VGG16's convolutions are.

    Strides beyond `output_stride` become dilations of the convolutions after them, whose weights
    stay as they are (Chen et al., ICLR 2015, sec. 3.1: the hole algorithm). Pools keep their
    windows. Where a layer of another type has such a stride, the maps after it are upsampled.
    Images are padded with their last row and column to a multiple of the largest stride.

    Args:
        backbone: complete `ModelBackbone`.
        image: `(B, H, W, C)`, RGB, 0-255, if C is 3.
        output_stride: largest stride of a map.

    Returns:
        Maps `(B, ceil(H / stride), ceil(W / stride), channels)`: "image", preprocessed; the last
        one of each stride, by the names of VGG16's layers of this stride; and "backbone", the
        model's output. And the stride of the model's output.

    Raises:
        ValueError: for a model that isn't functional, with several inputs or outputs, without
            a map as its output, or that shares a layer between dilations.
    """
    model, has_weights = _model(backbone["model"])
    mode = _preprocessing(backbone["preprocessing"], model)
    dilated = DilatedGraph(model, image.shape[-1], output_stride)
    if has_weights:
        dilated.copy_weights()
    levels = sorted(set(dilated.maps) & set(_STRIDES.values()))
    stride, final_stride = dilated.strides[id(dilated.output)]
    outputs = [*(dilated.maps[level] for level in levels), dilated.output]
    nested = keras.Model(dilated.image, outputs, name="backbone")

    x = Preprocess(mode, name="preprocess")(image)
    found = nested(PadToMultiple(dilated.multiple, name="backbone_pad")(x))

    def on_grid(x: Tensor, level: int, stride: int, name: str) -> tuple[Tensor, int]:
        wanted = min(stride, output_stride)
        if stride > wanted:
            x = Resize(factor=stride // wanted, name=f"backbone_{name}_resize")(x)
        return CropCells(wanted, name=f"backbone_{name}_cells")((x, image)), wanted

    by_level = {
        level: on_grid(x, *dilated.strides[id(dilated.maps[level])], str(level))[0]
        for level, x in zip(levels, found, strict=False)
    }
    maps = _Maps(image=x)
    maps |= {name: by_level[n] for name, n in _STRIDES.items() if n in by_level}
    maps["backbone"], final = on_grid(found[-1], stride, final_stride, "output")
    return maps, final


def _model(model: keras.Model | str) -> tuple[keras.Model, bool]:
    """Return a backbone as a functional model, and whether it has weights to copy."""
    has_weights = not isinstance(model, str)
    if isinstance(model, str):
        # Its weights are those of a file, or random in the copy.
        with keras.StatelessScope(initialize_variables=False):
            model = keras.models.model_from_json(model)
    elif isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if not hasattr(model, "operations"):
        raise ValueError(
            "Invalid value for argument `backbone`: expected a functional keras.Model, as "
            f"keras.applications has them, received {model!r}."
        )
    shapes = [tuple(x.shape) for x in (*model.inputs, *model.outputs)]
    if len(shapes) != 2 or any(len(shape) != 4 for shape in shapes):
        raise ValueError(
            "Invalid value for argument `backbone`: expected a model from one image to one map of "
            f"features, received one of inputs and outputs of shapes {shapes}. Models of "
            "keras.applications need include_top=False and pooling=None."
        )
    return model, has_weights


def _preprocessing(mode: str, model: keras.Model) -> Any:
    check_one_of("backbone.preprocessing", mode, PREPROCESSING)
    if mode == "auto":
        name = model.name.lower()
        known = [mode for start, mode in _PREPROCESSING.items() if name.startswith(start)]
        mode = known[0] if known else "none"
    return None if mode == "none" else mode


@keras.saving.register_keras_serializable(package="keras_dpn")
class PadToMultiple(layers.Layer):
    """Repeat an image's last row and column until its sides are multiples of a number."""

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, image: Tensor) -> Tensor:
        for axis in (1, 2):
            size = ops.shape(image)[axis]
            padded = (size + self.multiple - 1) // self.multiple * self.multiple
            image = ops.take(image, ops.minimum(ops.arange(padded), size - 1), axis=axis)
        return image

    def compute_output_spec(self, image: Tensor) -> keras.KerasTensor:
        batch, *size, channels = image.shape
        size = (None if n is None else -(-n // self.multiple) * self.multiple for n in size)
        return keras.KerasTensor((batch, *size, channels), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="keras_dpn")
class CropCells(layers.Layer):
    """Crop a map of a padded image to the cells that the image has; it takes both."""

    def __init__(self, stride: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.stride = stride

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        x, image = inputs
        height, width = (self._cells(n) for n in ops.shape(image)[1:3])
        return x[:, :height, :width]

    def _cells(self, size: Any) -> Any:
        return (size + self.stride - 1) // self.stride

    def compute_output_spec(self, inputs: tuple[Tensor, Tensor]) -> keras.KerasTensor:
        x, image = inputs
        size = (None if n is None else self._cells(n) for n in image.shape[1:3])
        return keras.KerasTensor((x.shape[0], *size, x.shape[-1]), dtype=x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride}
