"""DeepLab v1 (ICLR 2015): VGG16 with holes, multi-scale branches, a fully connected CRF."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers, ops

from keras_dpn.layers import Dropout, MeanFieldCRF, Resize
from keras_dpn.models.backbones import (
    ModelBackbone,
    as_config,
    backbone_maps,
    standardize_backbone,
)
from keras_dpn.models.global_context import class_scores
from keras_dpn.models.guide import Guide, check_guide_channels
from keras_dpn.models.staged import (
    StagedModel,
    check_crf,
    check_input_shape,
)
from keras_dpn.models.vgg16 import Preprocess, fully_connected, vgg16_backbone
from keras_dpn.ops.checks import check_one_of, check_positive_int
from keras_dpn.ops.resize import resize
from keras_dpn.typing import Shape, Tensor

# Table 2 of the paper; "input stride" there is the dilation.
VARIANTS: dict[str, dict[str, Any]] = {
    "7x7": {"fc6_kernel": 7, "fc6_dilation": 4, "fc_width": 4096},
    "4x4": {"fc6_kernel": 4, "fc6_dilation": 4, "fc_width": 4096},
    "4x4-largestride": {"fc6_kernel": 4, "fc6_dilation": 8, "fc_width": 4096},
    "largefov": {"fc6_kernel": 3, "fc6_dilation": 12, "fc_width": 1024},
}
_STRIDE = 8  # of the backbone, whose first three pools halve
_VGG16_STRIDE = 32  # of the map that VGG16's fc6 takes
# The inputs of the multi-scale branches, and their strides.
_BRANCHES = {"b2_pool": 2, "b4_pool": 4, "b6_pool": 8, "b7_pool": 8}
_BRANCH_WIDTH = 128


@keras.saving.register_keras_serializable(package="keras_dpn")
class DeepLab(StagedModel):
    """DeepLab v1: VGG16 as a dense classifier, and a fully connected CRF that refines boundaries.

    The networks of "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected
    CRFs" (ICLR 2015), with the layers of the author's files. All pools are 3x3; three of them
    halve. Cell (i, j) of the map at 1/8 resolution belongs to pixel (8i, 8j) whatever the size of
    the image, and bilinear upsampling preserves this: at every 8th pixel the unary logits are the
    map itself.

    Args:
        variant: fc6, Table 2: "7x7" (134.3 M parameters at 21 classes), "4x4" (65.1 M; the paper's
            DeepLab-CRF), "4x4-largestride" (65.1 M; DeepLab-CRF-4x4) or "largefov" (20.5 M;
            DeepLab-CRF-LargeFOV).
        num_classes: L, integer >= 2; or 1 for the logits of one class, whose sigmoid is its
            probability: as with two labels, "not it" and "it".
        multiscale: whether branches from the image and from the first four pools add their scores
            (MSc). Each works at its own resolution and is upsampled, as in the author's network for
            testing; the one for training, with strides, equals this one at every 8th pixel. Before
            training they add zero.
        crf: None, or a dictionary of arguments of `keras_dpn.layers.MeanFieldCRF`; `{}` for its
            defaults.
        width: factor on all numbers of channels, but for those of another backbone.
        input_shape: `(height, width, C)`; None for sizes that differ from image to image.
        dropout: rate after fc6, fc7 and the layers of the branches.
        global_context: whether to classify the mean of fc7 over the image too and add its scores to
            the unary term's, both features normalised: late fusion, see `ParseNet`.
        backbone: "vgg16"; or a functional Keras model instead of VGG16's convolutions, such as
            `keras.applications.ResNet50V2(include_top=False)`; or a dictionary with it, see
            `keras_dpn.models.ModelBackbone`. fc6 and fc7 come after either. Cell (i, j) of a Keras
            model's map covers the pixels from (8i, 8j) on, and its pools are its own.
        guide_channels: indices of the image's channels that the CRF compares, such as (0, 1, 2) for
            the colours of RGB and depth; None for all.

    Input shape:
        `(B, H, W, C)`, RGB if C is 3, 0-255, uint8 or float. Any height and width from 1 up;
        8k + 1, as the author's 321 and 513, wastes nothing.

    Output shape:
        `(B, H, W, num_classes)`, float32 logits.

    Raises:
        TypeError: for an argument that isn't one of these.
        ValueError: for values out of these ranges.

    Example:

    >>> model = DeepLab("largefov", num_classes=3, multiscale=True, width=0.0625)
    >>> model(keras.ops.zeros((1, 13, 9, 3))).shape
    (1, 13, 9, 3)
    >>> model.head_names
    ('unary', 'multiscale', 'final')
    """

    def __init__(
        self,
        variant: Literal["7x7", "4x4", "4x4-largestride", "largefov"] = "largefov",
        num_classes: int = 21,
        multiscale: bool = False,
        crf: dict[str, Any] | None = None,
        width: float = 1.0,
        input_shape: Shape = (None, None, 3),
        dropout: float = 0.5,
        global_context: bool = False,
        backbone: ModelBackbone | keras.Model | str = "vgg16",
        guide_channels: Sequence[int] | None = None,
        name: str = "deeplab",
    ) -> None:
        config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        check_one_of("variant", variant, tuple(VARIANTS))
        check_positive_int("num_classes", num_classes)
        check_input_shape(input_shape)
        check_guide_channels(guide_channels, input_shape[-1])
        check_crf(crf)
        other = standardize_backbone(backbone)
        config["backbone"] = as_config(other)

        # === Layers ===
        b11 = layers.Conv2D(num_classes, 1, dtype="float32", name="b11")

        # === Functional model ===
        image = keras.Input(input_shape, name="image")
        settings = {"width": width, "dropout": dropout, **VARIANTS[variant]}
        settings["average_pool"] = variant == "largefov"
        if other is None:
            x, stride = Preprocess(name="preprocess")(image), _STRIDE
            maps = vgg16_backbone(
                x,
                strides=(2, 2, 2, 1, 1),
                pool_size=3,
                centered_pools=True,
                **settings,
            )
        else:
            maps, stride = backbone_maps(other, image, _STRIDE)
            maps |= fully_connected(maps["backbone"], **settings)
            x = maps["image"]

        def upsample(x: Tensor, stride: int, name: str) -> Tensor:
            layer = Interp(stride, name=name) if other is None else Resize(factor=stride, name=name)
            return layer((x, image))

        features = maps["b10"]  # (B, h, w, fc_width), h and w those of H / 8
        context: dict[str, Any] = {"fusion": "late", "normalize": True} if global_context else {}
        scores = class_scores(b11, features, dropout=dropout, **context)
        logits = upsample(scores, stride, "b11_interp")  # (B, H, W, L)
        heads = {"unary": logits}
        if multiscale:
            channels = max(1, round(_BRANCH_WIDTH * width))
            scores = [_branch(x, "msc_image", channels, num_classes, dropout)]
            for layer, stride in _BRANCHES.items():
                branch = _branch(maps[layer], f"msc_{layer}", channels, num_classes, dropout)
                scores.append(upsample(branch, stride, f"msc_{layer}_interp"))
            logits = layers.Add(dtype="float32", name="msc_sum")([logits, *scores])
            heads["multiscale"] = logits
        if crf is not None:
            colors = image
            if guide_channels is not None:
                colors = Guide(1, 1.0, guide_channels, name="guide")(image)
            logits = MeanFieldCRF(**crf, name="crf")((logits, colors))
        heads["final"] = logits
        super().__init__(image, heads, config)

    def head_model(self, head: str) -> keras.Model:
        """Return the network up to one head, as a model that shares this one's weights.

        Args:
            head: "unary", the backbone's classifier; "multiscale", with the branches' scores added;
                or "final", after the CRF if there is one.

        Returns:
            `keras.Model` from images to logits `(B, H, W, L)`.

        Raises:
            ValueError: if the network has no such head.
        """
        return super().head_model(head)


def field_of_view(fc6_kernel: int, fc6_dilation: int) -> int:
    """Return the side of fc6's field of view in pixels, as Table 2 of the paper counts it.

    Every element of the kernel counts as 32 pixels, the distance of two cells of the map that
    VGG16's fc6 was made for (7 adjacent elements see 224 pixels, the size of VGG16's images);
    adjacent elements are the dilation times 8 pixels apart, the distance of two cells of this map.
    The convolutions below and their padding make the receptive field larger, by the same amount in
    all variants.

    Args:
        fc6_kernel: integer >= 1.
        fc6_dilation: integer >= 1.

    Raises:
        ValueError: for other values.

    Example:

    >>> field_of_view(fc6_kernel=3, fc6_dilation=12)
    224
    """
    check_positive_int("fc6_kernel", fc6_kernel)
    check_positive_int("fc6_dilation", fc6_dilation)
    return (fc6_kernel - 1) * fc6_dilation * _STRIDE + _VGG16_STRIDE


def _branch(x: Tensor, name: str, channels: int, num_classes: int, dropout: float) -> Tensor:
    """Return the scores of a branch: two hidden layers and a classifier initialised with zeros."""
    for part, kernel in (("conv", 3), ("fc", 1)):
        x = layers.Conv2D(
            channels,
            kernel,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_{part}",
        )(x)
        x = Dropout(dropout, name=f"{name}_{part}_dropout")(x)
    return layers.Conv2D(
        num_classes, 1, kernel_initializer="zeros", dtype="float32", name=f"{name}_scores"
    )(x)


@keras.saving.register_keras_serializable(package="keras_dpn")
class Interp(layers.Layer):
    """Caffe's `interp`: upsample a map so that cell i is at pixel stride * i.

    It takes the map and the image, and returns the map at the image's size.
    """

    def __init__(self, stride: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.stride = stride

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, image = inputs
        size = [self.stride * (n - 1) + 1 for n in ops.shape(x)[1:3]]
        height, width = ops.shape(image)[1:3]
        return resize(x, size, align_corners=True)[:, :height, :width]

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        x, image = inputs
        return keras.KerasTensor((*image.shape[:3], x.shape[-1]), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride}
