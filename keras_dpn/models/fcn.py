"""Fully convolutional networks (CVPR 2015) whose scores come from several layers (ParseNet)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
from keras import layers

from keras_dpn.layers import Dropout, GlobalContext, L2NormScale, Resize
from keras_dpn.models.staged import StagedModel, check_input_shape
from keras_dpn.models.vgg16 import Preprocess, vgg16_trunk
from keras_dpn.ops.checks import check_positive_int
from keras_dpn.typing import Shape, Tensor

# What can be classified: a layer of the trunk, and its stride.
TAPS = {
    "pool6": ("b10", 32),  # the mean of fc7
    "fc7": ("b10", 32),
    "conv5": ("b8_conv3", 16),
    "pool4": ("b7_pool", 16),
    "conv4": ("b7_conv3", 8),
    "pool3": ("b6_pool", 8),
    "conv3": ("b5_conv3", 4),
}
# The original's zeros around the image, and the pixels that its fc6 then loses on each side, for it
# looks only where all of its window does.
_PADDING, _LOST = 100, 7 // 2 * 32
_BEFORE = _PADDING - 1 - _LOST  # pixels by which its first cells begin before the image


@keras.saving.register_keras_serializable(package="keras_dpn")
class FCN(StagedModel):
    """FCN on VGG16 with taps: several of its layers are classified, and the scores added.

    `taps=("fc7",), normalize=False` is FCN-32s, with `("fc7", "pool4", "pool3")` it has the sum of
    FCN-8s (CVPR 2015; here all taps learn at once, and scores are enlarged bilinearly). The other
    taps, and the normalisation that makes them add up, are those of "ParseNet: Looking Wider to See
    Better" (ICLR 2016, sec. 4.2): pool6, the mean of fc7 over the image, and the last convolutions
    of VGG16's blocks 5, 4 and 3.

    The paper joins the taps' features and classifies them together. Here each tap has a classifier
    on its own grid, the first one with a bias, and the scores are enlarged to the finest tap's grid
    and added. That is the same function, as 1x1 convolutions and bilinear enlargement commute, but
    the joined features, 9472 channels at a quarter of the image's size for the default taps, never
    exist.

    Args:
        num_classes: L, integer >= 2.
        taps: any of "pool6", "fc7", "conv5", "conv4", "conv3", "pool4" and "pool3".
        normalize: whether each tap's features are scaled to a length that is learnt
            (`L2NormScale`). Without it the authors' network collapsed with conv3 (Table 4).
        init_scale: that length to begin with.
        padding: "same"; or 100: so many zeros around the image, and an fc6 that looks at nothing
            beyond them, as in the original. The authors saw no difference (sec. 4.1).
        fc6_kernel: kernel size of b9; 7 with a padding of 100.
        fc_width: channels of b9 and b10, before `width`.
        width: factor on the trunk's numbers of channels.
        input_shape: `(height, width, 3)`; None for sizes that differ from image to image.
        dropout: rate after fc6 and fc7.

    Input shape:
        `(B, H, W, 3)`, RGB, 0-255, uint8 or float. Any height and width from 1 up.

    Output shape:
        `(B, H, W, num_classes)`, float32 logits.

    Raises:
        TypeError: for an argument that isn't one of these.
        ValueError: for values out of these ranges.

    Example:

    >>> model = FCN(num_classes=3, taps=("pool6", "fc7", "conv5"), width=0.0625)
    >>> model(keras.ops.zeros((1, 13, 9, 3))).shape
    (1, 13, 9, 3)
    """

    def __init__(
        self,
        num_classes: int = 60,
        taps: Sequence[str] = ("pool6", "fc7", "conv5", "conv4", "conv3"),
        normalize: bool = True,
        init_scale: float = 10.0,
        padding: Literal["same", 100] = "same",
        fc6_kernel: int = 7,
        fc_width: int = 4096,
        width: float = 1.0,
        input_shape: Shape = (None, None, 3),
        dropout: float = 0.5,
        name: str = "fcn",
    ) -> None:
        config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        check_positive_int("num_classes", num_classes, minimum=2)
        check_input_shape(input_shape)
        _check_taps(taps)
        _check_padding(padding, fc6_kernel)

        image = keras.Input(input_shape, name="image")
        x = Preprocess(name="preprocess")(image)
        if padding == _PADDING:  # b1_conv1 adds the last zero
            x = layers.ZeroPadding2D(_PADDING - 1, name="preprocess_pad")(x)
        maps = vgg16_trunk(
            x,
            width=width,
            strides=(2, 2, 2, 2, 2),
            dilations=(1, 1, 1, 1, 1),
            fc6_kernel=fc6_kernel,
            fc6_dilation=1,
            fc_width=fc_width,
            dropout=dropout,
        )
        scores = {}
        for tap in taps:
            x = _features(maps, tap, padding)  # (B, h, w, C)
            if normalize:
                x = L2NormScale(init_scale, name=f"{tap}_norm")(x)
            if tap == "fc7":  # after the norm, which would else see other lengths in inference
                x = Dropout(dropout, name="b10_dropout")(x)
            elif normalize:
                # Keras stores layers by their distance from the output: with one step fewer here,
                # files from when b10_dropout came before the norm would fill the wrong norms.
                x = layers.Identity(name=f"{tap}_identity")(x)
            scores[tap] = layers.Conv2D(
                num_classes, 1, use_bias=tap == taps[0], dtype="float32", name=f"b11_{tap}"
            )(x)
        heads = {"final": _at_image(*_total(scores), image, padding)}
        super().__init__(image, heads, config)


def _features(maps: Mapping[str, Tensor], tap: str, padding: Literal["same", 100]) -> Tensor:
    """What a tap classifies; with padding only the cells that fc6 keeps, whatever the tap."""
    layer, stride = TAPS[tap]
    x = maps[layer]
    if padding == _PADDING:
        x = layers.Cropping2D(_LOST // stride, name=f"{tap}_crop")(x)
    return GlobalContext(name="pool6")(x) if tap == "pool6" else x


def _total(scores: Mapping[str, Tensor]) -> tuple[Tensor, int]:
    """The taps' scores added on the grid of the finest, and its stride."""
    strides = {tap: TAPS[tap][1] for tap in scores}
    finest = min(strides, key=strides.__getitem__)
    enlarged = [
        Resize(factor=stride // strides[finest], name=f"b11_{tap}_resize")(
            (scores[tap], scores[finest])
        )
        if stride > strides[finest]
        else scores[tap]
        for tap, stride in strides.items()
    ]
    total = layers.Add(dtype="float32", name="b11_sum")(enlarged) if enlarged[1:] else enlarged[0]
    return total, strides[finest]


def _at_image(scores: Tensor, stride: int, image: Tensor, padding: Literal["same", 100]) -> Tensor:
    """Scores of a stride, enlarged to the image."""
    resize = Resize(factor=stride, name="resize")
    if padding == "same":
        return resize((scores, image))
    around = layers.ZeroPadding2D(_BEFORE, name="image_pad")(image)  # for its size
    return layers.Cropping2D(_BEFORE, dtype="float32", name="crop")(resize((scores, around)))


def _check_taps(taps: Any) -> None:
    known = isinstance(taps, (tuple, list)) and taps and all(tap in TAPS for tap in taps)
    if not known or len(set(taps)) < len(taps):
        raise ValueError(
            f"Invalid value for argument `taps`: expected different ones of {', '.join(TAPS)}, "
            f"received {taps!r}."
        )


def _check_padding(padding: Any, fc6_kernel: int) -> None:
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
