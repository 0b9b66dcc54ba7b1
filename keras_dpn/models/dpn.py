"""The Deep Parsing Network (ICCV 2015), Table 1(b)."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_dpn.layers import BlockMinPool, LocalConv2D, Resize
from keras_dpn.models.dpn_arguments import (
    DEFAULTS,
    BackboneArguments,
    ContextsArguments,
    GroupedModel,
    LocalConvArguments,
    accept_flat_arguments,
    complete_group,
)
from keras_dpn.models.global_context import class_scores
from keras_dpn.models.label_contexts import context_kernels, triple_penalty_sign
from keras_dpn.models.skips import SKIPS, check_skips, decode
from keras_dpn.models.staged import check_input_shape
from keras_dpn.models.vgg16 import Preprocess, vgg16_backbone
from keras_dpn.ops.checks import check_one_of, check_positive_int, standardize_window
from keras_dpn.ops.mean_field import mean_field_update
from keras_dpn.typing import Shape, Tensor

BACKBONES = {
    "vgg16": {"fc6_kernel": 7, "fc6_dilation": 4, "fc_width": 4096},
    "large_fov": {"fc6_kernel": 3, "fc6_dilation": 12, "fc_width": 1024},
}


@keras.saving.register_keras_serializable(package="keras_dpn")
class DPN(GroupedModel):
    """Deep Parsing Network: VGG16 as the unary term of a Markov random field, mean field as layers.

    The network returns logits whose softmax are the labels' marginals,

        o15(i, u) = softmax_u( ln o11(i, u) - o14(i, u) )                  (ICCV 2015, eq. 9)

    with o11 the unary probabilities (b1-b11), o12 their triple penalty (b12, eq. 8), o13 the label
    contexts (b13: K filters per label) and o14 the smallest of the K (b14). `head_model` returns
    the network of each of the paper's training stages, with shared weights.

    Args:
        num_classes: L, integer >= 2.
        input_shape: `(height, width, 3)`; None for sizes that differ from image to image.
        width: factor on the backbone's numbers of channels.
        backbone: name of the backbone, "vgg16" (default) or "large_fov"; or a dictionary with any
            of the keys `name`, `fc6_kernel`, `fc6_dilation`, `fc_width`, `keep_pools`, `pool_size`,
            `output_stride`, `skips` and `skip_width`, see `BackboneArguments`.
        unary_activation: "softmax" (the author's later code) or "sigmoid" (the paper's legend).
        pairwise: None, the unary term alone; "triple", `softmax(ln o11 - o12)`; or "contexts".
        local_conv: b12, the triple penalty: a dictionary with any of the keys `window` (50),
            `kernel`, `gate`, `color_weight`, `position_weight` and `scale`, see
            `LocalConvArguments`.
        contexts: b13, the label contexts: a dictionary with any of the keys `window` (9),
            `mixtures` (5) and `noise` (0.01), see `ContextsArguments`.
        color_unit: the unit in which b12 compares colours, in intensity levels of 0-255.
        num_iterations: mean-field updates; b12-b15 repeat with shared weights (Fig. 6b).
        pairwise_stride: 1, 2, 4 or 8: b12-b15 work on the image's grid (1, the paper) or on a
            grid that many times coarser, but not coarser than the unary term's; their logits are
            then upsampled.
        dropout: rate after b9 and b10.
        global_context: whether to classify the mean of b10 over the image too and add its scores to
            b11's, both features normalised: late fusion, see `ParseNet`.

    Input shape:
        `(B, H, W, 3)`, RGB, 0-255, uint8 or float. Any height and width from 1 up.

    Output shape:
        `(B, H, W, num_classes)`, float32 logits.

    Raises:
        TypeError: for an argument, or a key of one, that isn't one of these.
        ValueError: for values out of these ranges.

    Example:

    >>> model = DPN(num_classes=3, width=0.125, backbone="large_fov", local_conv={"window": 5})
    >>> model(keras.ops.zeros((1, 13, 9, 3))).shape
    (1, 13, 9, 3)
    >>> model.head_names
    ('unary', 'triple', 'contexts', 'final')
    """

    @accept_flat_arguments
    def __init__(
        self,
        num_classes: int = 21,
        input_shape: tuple[int | None, int | None, int] = (None, None, 3),
        width: float = 1.0,
        backbone: BackboneArguments | str | None = None,
        unary_activation: str = "softmax",
        pairwise: str | None = "contexts",
        local_conv: LocalConvArguments | None = None,
        contexts: ContextsArguments | None = None,
        color_unit: float = 32.0,
        num_iterations: int = 1,
        pairwise_stride: int = 1,
        dropout: float = 0.5,
        global_context: bool = False,
        name: str = "dpn",
    ) -> None:
        config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        config |= {group: complete_group("DPN", group, config[group]) for group in DEFAULTS}
        check_dpn_config(config)
        check_input_shape(input_shape)

        image = keras.Input(input_shape, name="image")
        unary, reference = unary_term(image, config)  # (B, h, w, L), the grid of the pairwise part
        heads = {"unary": unary}
        if pairwise is not None:
            b12 = LocalConv2D(**config["local_conv"], name="b12")
            heads["triple"] = mean_field_update(unary, unary, lambda q: b12((q, reference)))
        if pairwise == "contexts":
            b13 = contexts_layer(config)
            b14 = BlockMinPool(config["contexts"]["mixtures"], dtype="float32", name="b14")

        def penalty(marginals: Tensor) -> Tensor:
            o12 = b12((marginals, reference))
            return o12 if pairwise == "triple" else b14(b13(o12))

        logits = unary
        for i in range(num_iterations if pairwise else 0):
            logits = mean_field_update(unary, logits, penalty)
            if pairwise == "contexts" and i == 0:
                heads["contexts"] = logits
        b15 = layers.Identity(dtype="float32", name="b15")
        heads["final"] = b15(logits)
        if pairwise_stride > 1:
            to_image = Resize(factor=pairwise_stride, name="resize")
            heads = {head: to_image((x, image)) for head, x in heads.items()}
        super().__init__(image, heads, config)

    def head_model(self, head: str) -> keras.Model:
        """Return the network up to one head, as a model that shares this one's weights.

        Args:
            head: "unary", ln o11; "triple", `ln o11 - o12`; "contexts", `ln o11 - o14` after the
                first mean-field update; or "final", after the last.

        Returns:
            `keras.Model` from images to logits `(B, H, W, L)`, the log-marginals of the labels up
            to a constant.

        Raises:
            ValueError: if the network has no such head.
        """
        return super().head_model(head)

    def context_kernels(self) -> np.ndarray | None:
        return context_kernels(self)

    def triple_penalty_sign(self, inputs: Any) -> int:
        """Return whether b12's penalty is larger (1) or smaller (-1) where a label is present.

        `context_kernels` weight b12's penalties: negate them where the sign is -1.

        Args:
            inputs: a batch of the network's inputs.

        Returns:
            1, -1, or 0 where it depends on the position.
        """
        return triple_penalty_sign(self, inputs)


def check_dpn_config(config: Mapping[str, Any]) -> None:
    """Raise ValueError unless the arguments that the Deep Parsing Networks share are right."""
    backbone, contexts = config["backbone"], config["contexts"]
    check_positive_int("num_classes", config["num_classes"], minimum=2)
    check_positive_int("contexts.mixtures", contexts["mixtures"])
    check_positive_int("num_iterations", config["num_iterations"])
    standardize_window(config["local_conv"]["window"], 2, "local_conv.window")
    standardize_window(contexts["window"], 2, "contexts.window")
    check_one_of("backbone.name", backbone["name"], tuple(BACKBONES))
    check_one_of("unary_activation", config["unary_activation"], ("softmax", "sigmoid"))
    if config["pairwise"] is not None:
        check_one_of("pairwise", config["pairwise"], ("triple", "contexts"))
    if config["pairwise_stride"] not in (1, 2, 4, 8):
        raise ValueError(
            "Invalid value for argument `pairwise_stride`: expected 1, 2, 4 or 8, received "
            f"{config['pairwise_stride']}."
        )
    check_one_of("backbone.output_stride", backbone["output_stride"], (8, 16))
    if backbone["output_stride"] == 16 and backbone["keep_pools"]:
        raise ValueError(
            "Invalid value for argument `backbone.keep_pools`: expected False with an "
            "`output_stride` of 16, whose fourth pool halves, received True."
        )
    check_skips(backbone["skips"], backbone["output_stride"])
    check_positive_int("backbone.skip_width", backbone["skip_width"])
    if config["pairwise_stride"] > _unary_stride(backbone):
        raise ValueError(
            "Invalid value for argument `pairwise_stride`: expected at most the stride of the "
            f"unary term, {_unary_stride(backbone)} with `backbone.skips` {backbone['skips']}, "
            f"received {config['pairwise_stride']}."
        )
    if not config["color_unit"] > 0:
        raise ValueError(
            "Invalid value for argument `color_unit`: expected a positive number, received "
            f"{config['color_unit']}."
        )


def unary_term(image: Tensor, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return ln o11 (b1-b11) and the colours that b12 compares, on the pairwise part's grid.

    Args:
        image: `(B, H, W, 3)`.
        config: a network's arguments, as those of `DPN`.

    Returns:
        Tensors `(B, h, w, L)` and `(B, h, w, 3)`.
    """
    backbone, dropout = config["backbone"], config["dropout"]
    maps = _backbone(image, config)
    features, stride = maps["b10"], backbone["output_stride"]  # (B, H/stride, W/stride, fc_width)
    if backbone["skips"]:
        width = max(1, round(backbone["skip_width"] * config["width"]))
        features, stride = decode(maps, features, stride, backbone["skips"], width, dropout)
        dropout = 0.0
    context: dict[str, Any] = (
        {"fusion": "late", "normalize": True} if config["global_context"] else {}
    )
    b11 = layers.Conv2D(config["num_classes"], 1, dtype="float32", name="b11")
    scores = class_scores(b11, features, dropout=dropout, **context)
    upsample = Resize(factor=stride // config["pairwise_stride"], name="b11_resize")
    log_unary = "log_softmax" if config["unary_activation"] == "softmax" else "log_sigmoid"
    log_o11 = layers.Activation(log_unary, dtype="float32", name="b11_log")
    guide = Guide(config["pairwise_stride"], config["color_unit"], name="guide")(image)
    return log_o11(upsample((scores, guide))), guide


def _backbone(image: Tensor, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return VGG16's maps by layer, b1_conv1 ... b10."""
    backbone = config["backbone"]
    settings: dict[str, Any] = dict(BACKBONES[backbone["name"]])
    strides: Sequence[int | None]
    if backbone["output_stride"] == 16:
        strides, dilations = (2, 2, 2, 2, None), (1, 1, 1, 1, 1)
        settings["fc6_dilation"] //= 2
    else:
        strides = (2, 2, 2, 1, 1) if backbone["keep_pools"] else (2, 2, 2, None, None)
        dilations = (1, 1, 1, 1, 2)
    chosen = {key: backbone[key] for key in ("fc6_kernel", "fc6_dilation", "fc_width")}
    settings |= {key: n for key, n in chosen.items() if n is not None}
    return vgg16_backbone(
        Preprocess(name="preprocess")(image),
        width=config["width"],
        strides=strides,
        dilations=dilations,
        pool_size=backbone["pool_size"],
        dropout=config["dropout"],
        **settings,
    )


def _unary_stride(backbone: Mapping[str, Any]) -> int:
    """Return the pixels between two cells of the unary term's own grid."""
    skips = backbone["skips"]
    return SKIPS[skips[-1]][1] if skips else backbone["output_stride"]


def contexts_layer(config: Mapping[str, Any], frames: int = 1) -> layers.Conv2D:
    """Return b13, whose filters see the maps of the labels' penalties of N frames at once."""
    contexts = config["contexts"]
    return layers.Conv2D(
        config["num_classes"] * contexts["mixtures"],
        contexts["window"],
        padding="same",
        kernel_initializer=IdentityContexts(contexts["mixtures"], contexts["noise"], frames),
        dtype="float32",
        name="b13",
    )


@keras.saving.register_keras_serializable(package="keras_dpn")
class Guide(layers.Layer):
    """The guidance image whose colours b12 compares, in `color_unit` and averaged over cells."""

    def __init__(self, stride: int, color_unit: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.stride = stride
        self.color_unit = color_unit

    def call(self, image: Tensor) -> Tensor:
        image = ops.cast(image, "float32") / self.color_unit
        if self.stride == 1:
            return image
        # The backbone's cells start at the image's first pixel; padding "same" would centre them.
        # No remainders of negative numbers: tf2onnx (1.17) computes other ones.
        cells = [(n + self.stride - 1) // self.stride for n in ops.shape(image)[1:3]]
        sides = zip(cells, ops.shape(image)[1:3], strict=True)
        missing = [count * self.stride - n for count, n in sides]
        padding = [(0, 0), (0, missing[0]), (0, missing[1]), (0, 0)]
        total, fraction = (
            ops.average_pool(ops.pad(x, padding), self.stride, self.stride)
            for x in (image, ops.ones_like(image))
        )
        return total / fraction  # the mean over the cell's pixels in the image

    def compute_output_spec(self, image: Tensor) -> keras.KerasTensor:
        batch, *size, channels = image.shape
        size = (None if n is None else -(-n // self.stride) for n in size)
        return keras.KerasTensor((batch, *size, channels), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride, "color_unit": self.color_unit}


@keras.saving.register_keras_serializable(package="keras_dpn")
class IdentityContexts(keras.initializers.Initializer):
    """Initialise b13's filters as the identity of each label's penalty, plus noise.

    The noise distinguishes a label's K filters. Adding b13 to a trained b12 then leaves the
    network's output unchanged but for the noise (b14 of K equal channels is that channel).
    """

    def __init__(self, mixtures: int, noise: float = 0.01, frames: int = 1) -> None:
        self.mixtures = mixtures
        self.noise = noise
        self.frames = frames  # concatenated; the middle frame's labels are passed on

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        height, width, channels, _ = shape
        labels, middle = channels // self.frames, self.frames // 2
        identity = ops.repeat(ops.eye(labels, dtype=dtype), self.mixtures, axis=-1)
        # Convolutions with padding "same" have the centre of an even window one further forward
        # than the other windows here.
        centre = [((n - 1) // 2, n // 2) for n in (height, width)]
        others = (middle * labels, (self.frames - 1 - middle) * labels)
        identity = ops.pad(identity[None, None], [*centre, others, (0, 0)])
        return identity + keras.random.normal(shape, stddev=self.noise, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"mixtures": self.mixtures, "noise": self.noise, "frames": self.frames}
