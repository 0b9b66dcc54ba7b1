"""Skip connections: a decoder that adds VGG16's earlier, finer features to its last ones."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from keras import layers

from keras_dpn.layers import Dropout, L2NormScale, Resize
from keras_dpn.typing import Tensor

# By the name of a skip connection: the layer of the backbone that it adds, and its stride.
SKIPS = {
    "conv4": ("b7_conv3", 8),
    "conv3": ("b5_conv3", 4),
    "conv2": ("b3_conv2", 2),
}


def check_skips(skips: Any, stride: int) -> None:
    """Raise ValueError unless `skips` names `SKIPS` from coarse to fine, up to `stride`."""
    known = isinstance(skips, (tuple, list)) and all(skip in SKIPS for skip in skips)
    strides = [SKIPS[skip][1] for skip in skips] if known else []
    are_finer = all(fine < coarse for coarse, fine in pairwise(strides))
    if not known or not are_finer or any(fine > stride for fine in strides):
        names = [name for name, (_, fine) in SKIPS.items() if fine <= stride]
        raise ValueError(
            f"Invalid value for argument `skips`: expected any of {', '.join(names)} in this order "
            f"for features of stride {stride}, received {skips!r}."
        )


def decode(
    maps: Mapping[str, Tensor],
    features: Tensor,
    stride: int,
    skips: Sequence[str],
    width: int,
    dropout: float,
) -> tuple[Tensor, int]:
    """Upsample features step by step, and add the normalised features of earlier layers.

    At each skip connection the decoder upsamples bilinearly, adds a projection of the earlier
    layer's features and applies a 3x3 convolution to the sum. The earlier features are normalised
    first (`L2NormScale`), as features of different layers differ in magnitude (ParseNet, ICLR 2016,
    sec. 3.3).

    The layers are named `b10_fc7_norm`, `b10_fc7_dropout`, `b10_fc7_project`, then for conv4
    `b10_conv4_norm`, `b10_conv4_project`, `b10_conv4_resize`, `b10_conv4_add`, `b10_conv4_relu`,
    `b10_conv4`, and so on.

    Args:
        maps: the backbone's maps by layer, as of `vgg16_backbone`.
        features: the backbone's last features, `(B, h, w, C)`.
        stride: pixels between two cells of `features`.
        skips: names of `SKIPS`, coarse to fine.
        width: channels of the decoder.
        dropout: dropout rate of `features` after their normalisation.

    Returns:
        Tensor of shape `(B, h', w', width)` on the grid of the last skip, and that grid's stride.
    """
    x = L2NormScale(name="b10_fc7_norm")(features)
    x = Dropout(dropout, name="b10_fc7_dropout")(x)
    x = layers.Conv2D(width, 1, name="b10_fc7_project")(x)
    for skip in skips:
        layer, fine = SKIPS[skip]
        finer = L2NormScale(name=f"b10_{skip}_norm")(maps[layer])
        finer = layers.Conv2D(width, 1, name=f"b10_{skip}_project")(finer)
        x = Resize(factor=stride // fine, name=f"b10_{skip}_resize")((x, finer))
        x = layers.Add(name=f"b10_{skip}_add")((x, finer))
        x = layers.Activation("relu", name=f"b10_{skip}_relu")(x)
        x = layers.Conv2D(
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"b10_{skip}",
        )(x)
        stride = fine
    return x, stride
