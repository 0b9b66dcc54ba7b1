"""The VGG16 backbone of all networks, as a dense feature extractor."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers, ops

from keras_dpn.deprecation import warn_renamed
from keras_dpn.layers import Dropout
from keras_dpn.ops.checks import (
    check_channels_last,
    check_one_of,
    check_positive_int,
    check_positive_number,
)
from keras_dpn.typing import Shape, Tensor

# Group of DPN's Table 1(b), convolutions, channels.
BLOCKS = (("b1", 2, 64), ("b3", 2, 128), ("b5", 3, 256), ("b7", 3, 512), ("b8", 3, 512))
POOLS = ("b2_pool", "b4_pool", "b6_pool", "b7_pool", "b8_pool")

# ImageNet's mean colour in VGG16's training, blue, green, red (Simonyan & Zisserman 2015).
_MEAN_BGR = (104.00699, 116.66877, 122.67892)
# Mean and standard deviation of each channel by the mode, blue first in the first two.
_STATISTICS = {
    "vgg16": (_MEAN_BGR, (1.0,) * 3),
    "caffe": ((103.939, 116.779, 123.68), (1.0,) * 3),
    "tf": ((127.5,) * 3, (127.5,) * 3),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}


@keras.saving.register_keras_serializable(package="keras_dpn")
class Preprocess(layers.Layer):
    """VGG16's preprocessing: RGB 0-255 of any dtype to BGR minus ImageNet's mean colour.

    Other backbones were trained with another one. Images of other than 3 channels keep their
    order, and the mean over the colours' statistics stands for each of their channels'.

    Args:
        mode: "vgg16"; one of `keras.applications.imagenet_utils.preprocess_input`: "caffe", the
            same with a mean that differs in the first decimal, "tf", -1 to 1, or "torch",
            ImageNet's mean colour and standard deviation; or None, the image as it is.

    Input shape:
        `(B, H, W, C)`, RGB if C is 3, 0-255.

    Output shape:
        `(B, H, W, C)` in the compute dtype.

    Raises:
        ValueError: for another mode, other shapes, and empty images.

    Example:

    >>> Preprocess()(keras.ops.zeros((1, 1, 1, 3))).shape
    (1, 1, 1, 3)
    """

    def __init__(
        self, mode: Literal["vgg16", "caffe", "tf", "torch"] | None = "vgg16", **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if mode is not None:
            check_one_of("mode", mode, tuple(_STATISTICS))
        self.mode = mode

    def call(self, image: Tensor) -> Tensor:
        self._check(image.shape)
        image = ops.cast(image, "float32")
        channels = image.shape[-1]
        if self.mode in ("vgg16", "caffe") and channels == 3:
            image = ops.flip(image, axis=-1)
        if self.mode is not None:
            mean, deviation = _STATISTICS[self.mode]
            image = image - _per_channel(mean, channels)
            if deviation != (1.0,) * 3:
                image = image / _per_channel(deviation, channels)
        return ops.cast(image, self.compute_dtype)

    def compute_output_spec(self, image: Tensor) -> keras.KerasTensor:
        self._check(image.shape)
        return keras.KerasTensor(image.shape, dtype=self.compute_dtype)

    def _check(self, shape: Shape) -> None:
        if len(shape) != 4 or 0 in shape[1:]:
            raise ValueError(
                "Preprocess expects images of shape (B, H, W, C) and of at least one pixel, "
                f"received shape {tuple(shape)}."
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


def _per_channel(values: Sequence[float], channels: int) -> Tensor:
    """Return red's, green's and blue's values; for other channels, their mean for each."""
    values = values if channels == 3 else (sum(values) / 3,) * channels
    return ops.convert_to_tensor(values, "float32")


def vgg16_backbone(
    x: Tensor,
    *,
    width: float = 1.0,
    strides: Sequence[int | None] = (2, 2, 2, None, None),
    pool_size: int = 2,
    centered_pools: bool = False,
    dilations: Sequence[int] = (1, 1, 1, 1, 2),
    fc6_kernel: int = 7,
    fc6_dilation: int = 4,
    fc_width: int = 4096,
    average_pool: bool = False,
    dropout: float = 0.5,
) -> dict[str, Tensor]:
    """Apply VGG16's layers to `x`, its fully connected layers as convolutions.

    Layers are named after DPN's Table 1(b): `b1_conv1` ... `b8_conv3`, the pools `b2_pool`,
    `b4_pool`, `b6_pool` (and `b7_pool`, `b8_pool` where kept), `b9` (fc6) and `b10` (fc7). The
    dropout after b10 belongs to the classifier, which may normalise the features first.

    Args:
        x: tensor of shape `(B, H, W, 3)`, preprocessed.
        width: factor on all numbers of channels; 1.0 is VGG16.
        strides: stride of the pool after each of the five blocks; None removes the pool.
        pool_size: window of the pools that halve; those with stride 1 are 3x3.
        centered_pools: whether the windows of the pools that halve are centred on pixels 0, 2, 4,
            ... for even sizes too, as Caffe's with a padding of 1; needs a `pool_size` of 3. A side
            of n pixels becomes n // 2 + 1, so that no pixel is beyond the last centre.
        dilations: dilation of each block's convolutions.
        fc6_kernel: kernel size of b9.
        fc6_dilation: dilation of b9.
        fc_width: channels of b9 and b10, before `width`.
        average_pool: whether a 3x3 average pool with stride 1 precedes b9 (DeepLab-LargeFOV). As in
            Caffe it divides by 9 at the border too, where the window contains zeros.
        dropout: rate after b9.

    Returns:
        Dictionary from layer name to its output, in the order of the network; the last is the
        backbone's output.

    Raises:
        ValueError: if an argument doesn't cover all five blocks, or for `centered_pools` with
            another `pool_size` than 3.
    """
    check_channels_last("vgg16_backbone")
    if len(strides) != len(BLOCKS) or len(dilations) != len(BLOCKS):
        raise ValueError(
            "Invalid values for arguments `strides` and `dilations`: expected one for each of "
            f"{len(BLOCKS)} blocks, received {strides} and {dilations}."
        )
    maps = vgg16_blocks(
        x,
        width=width,
        strides=strides,
        pool_size=pool_size,
        centered_pools=centered_pools,
        dilations=dilations,
    )
    return maps | fully_connected(
        list(maps.values())[-1],
        width=width,
        fc6_kernel=fc6_kernel,
        fc6_dilation=fc6_dilation,
        fc_width=fc_width,
        average_pool=average_pool,
        dropout=dropout,
    )


def fully_connected(
    x: Tensor,
    *,
    width: float,
    fc6_kernel: int,
    fc6_dilation: int,
    fc_width: int,
    average_pool: bool = False,
    dropout: float = 0.5,
) -> dict[str, Tensor]:
    """Apply VGG16's fully connected layers as convolutions, b9 (fc6) and b10 (fc7).

    Args:
        x: last map of the convolutions, `(B, h, w, C)`.
        width: factor on the numbers of channels.
        fc6_kernel: as the other arguments, see `vgg16_backbone`.
        fc6_dilation: of b9.
        fc_width: channels of b9 and b10, before `width`.
        average_pool: whether a 3x3 average pool with stride 1 precedes b9.
        dropout: rate after b9.

    Returns:
        Dictionary from layer name to its output, in the order of the network.
    """
    check_positive_int("fc_width", fc_width)
    maps = {}

    def add(layer: layers.Layer) -> None:
        nonlocal x
        x = maps[layer.name] = layer(x)

    if average_pool:
        x = layers.ZeroPadding2D(1, name="b8_average_pad")(x)
        add(layers.AveragePooling2D(3, 1, name="b8_average"))
    add(vgg16_conv("b9", fc_width, fc6_kernel, fc6_dilation, width=width))
    add(Dropout(dropout, name="b9_dropout"))
    add(vgg16_conv("b10", fc_width, 1, width=width))
    return maps


def vgg16_trunk(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
    """Deprecated, see `vgg16_backbone`."""
    warn_renamed("vgg16_trunk", "vgg16_backbone")
    return vgg16_backbone(*args, **kwargs)


def vgg16_blocks(
    x: Tensor,
    *,
    width: float = 1.0,
    strides: Sequence[int | None] = (2, 2, 2, 2, 2),
    pool_size: int = 2,
    centered_pools: bool = False,
    dilations: Sequence[int] = (1, 1, 1, 1, 1),
) -> dict[str, Tensor]:
    """Apply VGG16's convolutions and pools, or its first blocks, to `x`; see `vgg16_backbone`.

    Args:
        x: tensor of shape `(B, H, W, 3)`, preprocessed.
        width: factor on all numbers of channels.
        strides: stride of the pool after each block, for as many of the five blocks as are to be
            built; None removes a pool.
        pool_size: window of the pools that halve.
        centered_pools: as in `vgg16_backbone`.
        dilations: of the blocks' convolutions, at least as many as `strides`.

    Returns:
        Dictionary from layer name to its output, in the order of the network.

    Raises:
        ValueError: for `centered_pools` with another `pool_size` than 3.
    """
    if centered_pools and pool_size != 3:
        raise ValueError(
            "Invalid value for argument `pool_size`: expected 3 with `centered_pools`, received "
            f"{pool_size}."
        )
    maps = {}

    def add(layer: layers.Layer) -> None:
        nonlocal x
        x = maps[layer.name] = layer(x)

    for (group, count, channels), pool, stride, dilation in zip(
        BLOCKS, POOLS, strides, dilations, strict=False
    ):
        for i in range(1, count + 1):
            add(vgg16_conv(f"{group}_conv{i}", channels, 3, dilation, width=width))
        if stride is not None:
            window = 3 if stride == 1 else pool_size
            padding = "same"
            if centered_pools and stride > 1:
                x = layers.ZeroPadding2D(((1, stride), (1, stride)), name=f"{pool}_pad")(x)
                padding = "valid"  # after a ReLU, zeros don't change a maximum
            add(layers.MaxPooling2D(window, stride, padding=padding, name=pool))
    return maps


def vgg16_conv(
    name: str, channels: int, kernel: int, dilation: int = 1, *, width: float = 1.0
) -> layers.Conv2D:
    """Return one of VGG16's convolutions, with "same" padding and ReLU, `width` times as wide."""
    check_positive_number("width", width)
    return layers.Conv2D(
        max(1, round(channels * width)),
        kernel,
        dilation_rate=dilation,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )
