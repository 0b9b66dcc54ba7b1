"""The Deep Parsing Network (ICCV 2015), Table 1(b)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_dpn.layers import BlockMinPool, LocalConv2D, Resize
from keras_dpn.layers.deep_parsing_field import contexts_layer
from keras_dpn.models.backbones import as_config, backbone_maps
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
from keras_dpn.models.guide import Guide, check_guide_channels
from keras_dpn.models.label_contexts import context_kernels, triple_penalty_sign
from keras_dpn.models.skips import check_skips, decode
from keras_dpn.models.staged import check_input_shape
from keras_dpn.models.vgg16 import Preprocess, fully_connected, vgg16_backbone
from keras_dpn.ops.checks import (
    check_one_of,
    check_positive_int,
    check_positive_number,
    standardize_window,
)
from keras_dpn.ops.mean_field import parsing_field_logits
from keras_dpn.ops.two_labels import one_class, two_labels
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
        num_classes: L, integer >= 2; or 1 for the logits of one class, whose sigmoid is its
            probability: as with two labels, "not it" and "it". Several labels of one pixel are not
            supported.
        input_shape: `(height, width, C)`; None for sizes that differ from image to image.
        width: factor on the backbone's numbers of channels.
        backbone: "vgg16" (default) or "large_fov"; a functional Keras model from an image to a map
            of features, such as `keras.applications.ResNet50V2(include_top=False)`; or a dictionary
            with any of the keys `name`, `model`, `preprocessing`, `fc6_kernel`, `fc6_dilation`,
            `fc_width`, `keep_pools`, `pool_size`, `output_stride`, `skips` and `skip_width`, see
            `BackboneArguments`.
        unary_activation: "softmax" (the author's later code) or "sigmoid" (the paper's legend) of
            b11, o11. b12 takes marginals: with sigmoids, o11 divided by its sum over the labels, as
            the q of eq. (7), where eq. (8) prints o11 itself. The products of sigmoids that are all
            small would vanish just where the unary term is undecided, and later updates have
            marginals only.
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
        guide_channels: indices of the image's channels that b12 compares, such as (0, 1, 2) for the
            colours of RGB and depth; None for all.

    Input shape:
        `(B, H, W, C)`, RGB if C is 3, 0-255, uint8 or float. Any height and width from 1 up.

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
        input_shape: Shape = (None, None, 3),
        width: float = 1.0,
        backbone: BackboneArguments | keras.Model | str | None = None,
        unary_activation: str = "softmax",
        pairwise: str | None = "contexts",
        local_conv: LocalConvArguments | None = None,
        contexts: ContextsArguments | None = None,
        color_unit: float = 32.0,
        num_iterations: int = 1,
        pairwise_stride: int = 1,
        dropout: float = 0.5,
        global_context: bool = False,
        guide_channels: Sequence[int] | None = None,
        name: str = "dpn",
    ) -> None:
        config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        config |= {group: complete_group("DPN", group, config[group]) for group in DEFAULTS}
        check_dpn_config(config)
        check_input_shape(input_shape)
        check_guide_channels(guide_channels, input_shape[-1])

        image = keras.Input(input_shape, name="image")
        unary, reference = unary_term(image, config)  # (B, h, w, L), the grid of the pairwise part
        heads = {"unary": unary, "final": unary}
        if pairwise is not None:
            b12 = LocalConv2D(**config["local_conv"], name="b12")
            heads = parsing_field_logits(
                unary,
                triple=lambda marginals: b12((marginals, reference)),
                contexts=smallest_contexts(config) if pairwise == "contexts" else None,
                num_iterations=num_iterations,
            )
        b15 = layers.Identity(dtype="float32", name="b15")
        heads["final"] = b15(heads["final"])
        if num_classes == 1:
            heads = {head: one_class(x) for head, x in heads.items()}
        if pairwise_stride > 1:
            to_image = Resize(factor=pairwise_stride, name="resize")
            heads = {head: to_image((x, image)) for head, x in heads.items()}
        super().__init__(image, heads, config | {"backbone": as_config(config["backbone"])})

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
    check_positive_int("num_classes", config["num_classes"])
    check_positive_int("contexts.mixtures", contexts["mixtures"])
    check_positive_int("num_iterations", config["num_iterations"])
    standardize_window(config["local_conv"]["window"], 2, "local_conv.window")
    standardize_window(contexts["window"], 2, "contexts.window")
    check_one_of("backbone.name", backbone["name"], tuple(BACKBONES))
    check_one_of("unary_activation", config["unary_activation"], ("softmax", "sigmoid"))
    if config["num_classes"] == 1:
        check_one_of("unary_activation", config["unary_activation"], ("softmax",))
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
    if backbone["model"] is not None and (backbone["keep_pools"] or backbone["pool_size"] != 2):
        raise ValueError(
            "Invalid values for arguments `backbone.keep_pools` and `backbone.pool_size`: these "
            "are of VGG16's pools; leave them out with `backbone.model`."
        )
    check_skips(backbone["skips"], backbone["output_stride"])
    check_positive_int("backbone.skip_width", backbone["skip_width"])
    check_positive_number("color_unit", config["color_unit"])


def unary_term(image: Tensor, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return ln o11 (b1-b11) and the colours that b12 compares, on the pairwise part's grid.

    Args:
        image: `(B, H, W, C)`.
        config: a network's arguments, as those of `DPN`.

    Returns:
        Tensors `(B, h, w, L)`, with two labels for one class, and `(B, h, w, C)`, or as many
        channels as there are `guide_channels`.
    """
    backbone, dropout = config["backbone"], config["dropout"]
    maps, stride = _backbone(image, config)
    features = maps["b10"]  # (B, H/stride, W/stride, fc_width)
    if backbone["skips"]:
        width = max(1, round(backbone["skip_width"] * config["width"]))
        features, stride = decode(maps, features, stride, backbone["skips"], width, dropout)
        dropout = 0.0
    if config["pairwise_stride"] > stride:
        raise ValueError(
            "Invalid value for argument `pairwise_stride`: expected at most the stride of the "
            f"unary term, {stride} with `backbone.skips` {backbone['skips']}, received "
            f"{config['pairwise_stride']}."
        )
    context: dict[str, Any] = (
        {"fusion": "late", "normalize": True} if config["global_context"] else {}
    )
    b11 = layers.Conv2D(config["num_classes"], 1, dtype="float32", name="b11")
    scores = two_labels(class_scores(b11, features, dropout=dropout, **context))
    upsample = Resize(factor=stride // config["pairwise_stride"], name="b11_resize")
    log_unary = "log_softmax" if config["unary_activation"] == "softmax" else "log_sigmoid"
    log_o11 = layers.Activation(log_unary, dtype="float32", name="b11_log")
    grid = config["pairwise_stride"], config["color_unit"], config["guide_channels"]
    guide = Guide(*grid, name="guide")(image)
    return log_o11(upsample((scores, guide))), guide


def _backbone(image: Tensor, config: Mapping[str, Any]) -> tuple[dict[str, Tensor], int]:
    """Return the backbone's maps by VGG16's layers, b1_conv1 ... b10, and the stride of b10."""
    backbone = config["backbone"]
    settings: dict[str, Any] = dict(BACKBONES[backbone["name"]])
    output_stride = backbone["output_stride"]
    strides: Sequence[int | None]
    if output_stride == 16:
        strides, dilations = (2, 2, 2, 2, None), (1, 1, 1, 1, 1)
        settings["fc6_dilation"] //= 2
    else:
        strides = (2, 2, 2, 1, 1) if backbone["keep_pools"] else (2, 2, 2, None, None)
        dilations = (1, 1, 1, 1, 2)
    chosen = {key: backbone[key] for key in ("fc6_kernel", "fc6_dilation", "fc_width")}
    settings |= {key: n for key, n in chosen.items() if n is not None}
    settings |= {"width": config["width"], "dropout": config["dropout"]}
    if backbone["model"] is not None:
        maps, stride = backbone_maps(backbone, image, output_stride)
        return maps | fully_connected(maps["backbone"], **settings), stride
    maps = vgg16_backbone(
        Preprocess(name="preprocess")(image),
        strides=strides,
        dilations=dilations,
        pool_size=backbone["pool_size"],
        **settings,
    )
    return maps, output_stride


def smallest_contexts(config: Mapping[str, Any], frames: int = 1) -> Callable[[Tensor], Tensor]:
    """Return b13 and b14, whose filters see the maps of the labels' penalties of N frames at once.

    Args:
        config: a network's arguments, as those of `DPN`.
        frames: N.

    Returns:
        Function from penalties `(B, h, w, N L)` to the smallest mixtures `(B, h, w, L)`.
    """
    contexts = config["contexts"]
    window = standardize_window(contexts["window"], 2)
    b13 = contexts_layer(
        max(2, config["num_classes"]), window, contexts["mixtures"], contexts["noise"], frames
    )
    b14 = BlockMinPool(contexts["mixtures"], dtype="float32", name="b14")
    return lambda o12: b14(b13(o12))
