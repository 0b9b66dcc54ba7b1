"""ParseNet (ICLR 2016): DeepLab's large field of view with the mean feature of the whole image."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers

from keras_dpn.layers import Resize
from keras_dpn.models.backbones import (
    ModelBackbone,
    as_config,
    backbone_maps,
    standardize_backbone,
)
from keras_dpn.models.global_context import class_scores
from keras_dpn.models.staged import StagedModel, check_input_shape
from keras_dpn.models.vgg16 import Preprocess, fully_connected, vgg16_backbone
from keras_dpn.ops.checks import check_one_of, check_positive_int
from keras_dpn.typing import Shape

_STRIDE = 8  # of the backbone, whose first three pools halve


@keras.saving.register_keras_serializable(package="keras_dpn")
class ParseNet(StagedModel):
    """ParseNet: classifies each cell by its features and by their mean over the image.

    The network of "ParseNet: Looking Wider to See Better" (ICLR 2016). Its baseline
    (`fusion=None, normalize=False`) is DeepLab-LargeFOV with 2x2 pools and without the average pool
    before fc6. To fc7 it adds pool6, the mean of fc7 over the image:

        early fusion: classifier(norm(fc7) ++ norm(pool6))
        late fusion: classifier(norm(fc7)) + classifier(norm(pool6))

    where norm is `L2NormScale`. The classifiers are linear, so both compute the same function; late
    fusion doesn't repeat pool6 and adds 0.1% to the baseline's 20.5 M parameters.

    Args:
        num_classes: L, integer >= 2; or 1 for the logits of one class, whose sigmoid is its
            probability: as with two labels, "not it" and "it".
        fusion: "late", "early", or None for fc7 alone.
        normalize: whether to scale fc7 and pool6 to a learned length each before the fusion.
        init_scale: initial value of that length; 10 trains, 1 hardly does (Table 7).
        grid: an integer, or several: context over the whole image (1), or over each of 2x2, 4x4,
            ... regions. `(1, 2, 4)` is the pyramid that gave the authors no gain (sec. 4.2).
        combine: with early fusion, "concatenate"; or "conv": a 1x1 convolution with ReLU over both
            comes before the classifier (Table 7).
        width: factor on the backbone's numbers of channels.
        input_shape: `(height, width, C)`; None for sizes that differ from image to image.
        dropout: rate after fc6 and fc7.
        backbone: "vgg16"; or a functional Keras model instead of VGG16's convolutions, such as
            `keras.applications.ResNet50V2(include_top=False)`; or a dictionary with it, see
            `keras_dpn.models.ModelBackbone`. fc6 and fc7 come after either.

    Input shape:
        `(B, H, W, C)`, RGB if C is 3, 0-255, uint8 or float. Any height and width from 1 up.

    Output shape:
        `(B, H, W, num_classes)`, float32 logits.

    Raises:
        TypeError: for an argument that isn't one of these.
        ValueError: for values out of these ranges.

    Example:

    >>> model = ParseNet(num_classes=3, width=0.0625)
    >>> model(keras.ops.zeros((1, 13, 9, 3))).shape
    (1, 13, 9, 3)

    With a fully connected CRF on its logits:

    >>> from keras_dpn.layers import MeanFieldCRF
    >>> logits = MeanFieldCRF(num_iterations=5)((model.output, model.input))
    >>> keras.Model(model.input, logits).output.shape
    (None, None, None, 3)
    """

    def __init__(
        self,
        num_classes: int = 21,
        fusion: Literal["early", "late"] | None = "late",
        normalize: bool = True,
        init_scale: float = 10.0,
        grid: int | Sequence[int] = 1,
        combine: Literal["concatenate", "conv"] = "concatenate",
        width: float = 1.0,
        input_shape: Shape = (None, None, 3),
        dropout: float = 0.5,
        backbone: ModelBackbone | keras.Model | str = "vgg16",
        name: str = "parsenet",
    ) -> None:
        config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        check_positive_int("num_classes", num_classes)
        check_input_shape(input_shape)
        if fusion is not None:
            check_one_of("fusion", fusion, ("early", "late"))
        check_one_of("combine", combine, ("concatenate", "conv"))
        if combine == "conv" and fusion != "early":
            raise ValueError(
                "Invalid value for argument `combine`: expected 'concatenate' unless `fusion` is "
                f"'early', received 'conv' with fusion {fusion!r}."
            )

        other = standardize_backbone(backbone)
        config["backbone"] = as_config(other)

        # === Layers ===
        b11 = layers.Conv2D(num_classes, 1, dtype="float32", name="b11")

        # === Functional model ===
        image = keras.Input(input_shape, name="image")
        settings: dict[str, Any] = {"width": width, "dropout": dropout}
        settings |= {"fc6_kernel": 3, "fc6_dilation": 12, "fc_width": 1024}
        if other is None:
            x = Preprocess(name="preprocess")(image)
            maps, stride = vgg16_backbone(x, strides=(2, 2, 2, 1, 1), **settings), _STRIDE
        else:
            maps, stride = backbone_maps(other, image, _STRIDE)
            maps |= fully_connected(maps["backbone"], **settings)
        scores = class_scores(
            b11,
            maps["b10"],  # (B, H/8, W/8, 1024)
            dropout=dropout,
            fusion=fusion,
            normalize=normalize,
            init_scale=init_scale,
            grid=grid,
            combine=combine,
        )
        to_image = Resize(factor=stride, name="b11_resize")
        super().__init__(image, {"final": to_image((scores, image))}, config)
