"""Fully convolutional networks (CVPR 2015) with ParseNet's normalised skip connections."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import keras
from keras import layers

from keras_dpn.deprecation import renamed_argument, warn_renamed
from keras_dpn.layers import Dropout, GlobalContext, L2NormScale, Resize
from keras_dpn.models.backbones import (
    ModelBackbone,
    as_config,
    backbone_maps,
    standardize_backbone,
)
from keras_dpn.models.staged import StagedModel, check_input_shape
from keras_dpn.models.vgg16 import Preprocess, fully_connected, vgg16_backbone
from keras_dpn.ops.checks import check_positive_int
from keras_dpn.typing import Shape, Tensor

# By the name of a skip connection: the layer of the backbone that it classifies, and its stride.
SKIP_LAYERS = {
    "pool6": ("b10", 32),  # the mean of fc7
    "fc7": ("b10", 32),
    "conv5": ("b8_conv3", 16),
    "pool4": ("b7_pool", 16),
    "conv4": ("b7_conv3", 8),
    "pool3": ("b6_pool", 8),
    "conv3": ("b5_conv3", 4),
}
# The original pads the image with 100 zeros on each side; its fc6, a convolution without padding,
# then loses 3 of its cells of 32 pixels on each side.
_PADDING, _LOST = 100, 7 // 2 * 32
_BEFORE = _PADDING - 1 - _LOST  # pixels by which its first cells begin before the image


@keras.saving.register_keras_serializable(package="keras_dpn")
class FCN(StagedModel):
    """FCN on VGG16 with skip connections: it classifies several layers and adds their scores.

    `skips=("fc7",), normalize=False` is FCN-32s; `("fc7", "pool4", "pool3")` adds the scores that
    FCN-8s adds (CVPR 2015; here all of them are trained at once and upsampled bilinearly). The
    other skip connections, and the normalisation of their features, are those of "ParseNet: Looking
    Wider to See Better" (ICLR 2016, sec. 4.2): pool6, the mean of fc7 over the image, and the last
    convolutions of VGG16's blocks 5, 4 and 3.

    The paper concatenates the features of all skip connections and classifies them together. Here
    each skip connection has a classifier on its own grid, the first one with a bias; the scores are
    upsampled to the finest of these grids and added. The function is the same, as 1x1 convolutions
    and bilinear upsampling commute, but the concatenated features, 9472 channels at a quarter of
    the image's size with the default arguments, never need memory.

    Args:
        num_classes: L, integer >= 2; or 1 for the logits of one class, whose sigmoid is its
            probability: as with two labels, "not it" and "it".
        skips: any of "pool6", "fc7", "conv5", "conv4", "conv3", "pool4" and "pool3".
        normalize: whether to scale the features of each skip connection to a learned length
            (`L2NormScale`). Without it the authors' network collapsed with conv3 (Table 4).
        init_scale: initial value of that length.
        padding: "same"; or 100, with VGG16 and as in the original: 100 zeros on each side of the
            image, and an fc6 without padding. The authors saw no difference (sec. 4.1).
        fc6_kernel: kernel size of b9; 7 with a padding of 100.
        fc_width: channels of b9 and b10, before `width`.
        width: factor on the backbone's numbers of channels.
        input_shape: `(height, width, C)`; None for sizes that differ from image to image.
        dropout: rate after fc6 and fc7.
        backbone: "vgg16"; or a functional Keras model instead of VGG16's convolutions, such as
            `keras.applications.ResNet50V2(include_top=False)`; or a dictionary with it, see
            `keras_dpn.models.ModelBackbone`. fc6 and fc7 come after either. In another backbone
            the skip connections classify its last maps of their strides.

    Input shape:
        `(B, H, W, C)`, RGB if C is 3, 0-255, uint8 or float. Any height and width from 1 up.

    Output shape:
        `(B, H, W, num_classes)`, float32 logits.

    Raises:
        TypeError: for an argument that isn't one of these.
        ValueError: for values out of these ranges.

    Example:

    >>> model = FCN(num_classes=3, skips=("pool6", "fc7", "conv5"), width=0.0625)
    >>> model(keras.ops.zeros((1, 13, 9, 3))).shape
    (1, 13, 9, 3)
    """

    deprecated_arguments = {"taps": "skips"}

    @renamed_argument("taps", "skips")
    def __init__(
        self,
        num_classes: int = 60,
        skips: Sequence[str] = ("pool6", "fc7", "conv5", "conv4", "conv3"),
        normalize: bool = True,
        init_scale: float = 10.0,
        padding: Literal["same", 100] = "same",
        fc6_kernel: int = 7,
        fc_width: int = 4096,
        width: float = 1.0,
        input_shape: Shape = (None, None, 3),
        dropout: float = 0.5,
        backbone: ModelBackbone | keras.Model | str = "vgg16",
        name: str = "fcn",
    ) -> None:
        config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        check_positive_int("num_classes", num_classes)
        check_input_shape(input_shape)
        _check_skips(skips)
        other = standardize_backbone(backbone)
        config["backbone"] = as_config(other)
        _check_padding(padding, fc6_kernel, other is not None)

        image = keras.Input(input_shape, name="image")
        strides = {skip: stride for skip, (_, stride) in SKIP_LAYERS.items()}
        settings: dict[str, Any] = {"width": width, "dropout": dropout}
        settings |= {"fc6_kernel": fc6_kernel, "fc6_dilation": 1, "fc_width": fc_width}
        if other is None:
            x = Preprocess(name="preprocess")(image)
            if padding == _PADDING:  # b1_conv1 adds the last zero
                x = layers.ZeroPadding2D(_PADDING - 1, name="preprocess_pad")(x)
            maps = vgg16_backbone(x, strides=(2, 2, 2, 2, 2), dilations=(1, 1, 1, 1, 1), **settings)
        else:
            maps, stride = backbone_maps(other, image, strides["fc7"])
            maps |= fully_connected(maps["backbone"], **settings)
            strides |= {"fc7": stride, "pool6": stride}
        scores = {}
        for skip in skips:
            x = _features(maps, skip, padding)  # (B, h, w, C)
            if normalize:
                x = L2NormScale(init_scale, name=f"{skip}_norm")(x)
            if skip == "fc7":  # after the norm: before it, lengths would differ in inference
                x = Dropout(dropout, name="b10_dropout")(x)
            elif normalize:
                # Keras stores layers by their distance from the output: with one step fewer here,
                # files from when b10_dropout came before the norm would fill the wrong norms.
                x = layers.Identity(name=f"{skip}_identity")(x)
            scores[skip] = layers.Conv2D(
                num_classes, 1, use_bias=skip == skips[0], dtype="float32", name=f"b11_{skip}"
            )(x)
        heads = {"final": _at_image(*_total(scores, strides), image, padding)}
        super().__init__(image, heads, config)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        return cls(**_with_current_names(config))

    @classmethod
    def updated_config(
        cls, config: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[str, Any]:
        return _with_current_names(config) | _with_current_names(overrides)

    def __getattr__(self, name: str) -> Any:
        if name != "taps":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warn_renamed(".taps", ".skips")
        return self.skips


def _with_current_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return constructor arguments of this release or the last one by their current names."""
    return {FCN.deprecated_arguments.get(name, name): value for name, value in config.items()}


def _features(maps: Mapping[str, Tensor], skip: str, padding: Literal["same", 100]) -> Tensor:
    """Return the features of a skip connection; with padding, cropped to the cells of fc6."""
    layer, stride = SKIP_LAYERS[skip]
    x = maps[layer]
    if padding == _PADDING:
        x = layers.Cropping2D(_LOST // stride, name=f"{skip}_crop")(x)
    return GlobalContext(name="pool6")(x) if skip == "pool6" else x


def _total(scores: Mapping[str, Tensor], strides: Mapping[str, int]) -> tuple[Tensor, int]:
    """Return the sum of the scores on the finest of their grids, and the stride of this grid."""
    strides = {skip: strides[skip] for skip in scores}
    finest = min(strides, key=strides.__getitem__)
    upsampled = [
        Resize(factor=stride // strides[finest], name=f"b11_{skip}_resize")(
            (scores[skip], scores[finest])
        )
        if stride > strides[finest]
        else scores[skip]
        for skip, stride in strides.items()
    ]
    if len(upsampled) == 1:
        return upsampled[0], strides[finest]
    total = layers.Add(dtype="float32", name="b11_sum")(upsampled)
    return total, strides[finest]


def _at_image(scores: Tensor, stride: int, image: Tensor, padding: Literal["same", 100]) -> Tensor:
    """Return scores of a stride, upsampled to the size of the image."""
    resize = Resize(factor=stride, name="resize")
    if padding == "same":
        return resize((scores, image))
    around = layers.ZeroPadding2D(_BEFORE, name="image_pad")(image)  # for its size
    return layers.Cropping2D(_BEFORE, dtype="float32", name="crop")(resize((scores, around)))


def _check_skips(skips: Any) -> None:
    is_list = isinstance(skips, (tuple, list)) and len(skips) > 0
    if not is_list or not set(skips) <= set(SKIP_LAYERS) or len(set(skips)) < len(skips):
        raise ValueError(
            "Invalid value for argument `skips`: expected one or more different names from "
            f"{', '.join(SKIP_LAYERS)}, received {skips!r}."
        )


def _check_padding(padding: Any, fc6_kernel: int, is_other_backbone: bool) -> None:
    if padding not in ("same", _PADDING):
        raise ValueError(
            f"Invalid value for argument `padding`: expected 'same' or {_PADDING}, received "
            f"{padding!r}."
        )
    if padding == _PADDING and fc6_kernel != 7:
        raise ValueError(
            f"Invalid value for argument `fc6_kernel`: expected 7 with a padding of {_PADDING}, "
            f"received {fc6_kernel}."
        )
    if padding == _PADDING and is_other_backbone:
        raise ValueError(
            f"Invalid value for argument `padding`: expected 'same' with another backbone than "
            f"VGG16, received {padding}."
        )
