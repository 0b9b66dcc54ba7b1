"""The losses of the stages, and the network's output and metric that go with them."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_dpn.losses import (
    LovaszSoftmax,
    SegmentationCrossEntropy,
    SegmentationDice,
    SegmentationFocal,
    SegmentationJaccard,
    SegmentationTversky,
    WeightedSum,
)
from keras_dpn.metrics import SegmentationScores
from keras_dpn.typing import Tensor

from ..configs.schema import LossConfig, TrainConfig
from .networks import adapter


def build_loss(
    config: LossConfig,
    ignore_label: int,
    class_weights: Sequence[float] | np.ndarray | None = None,
    stride: int | None = None,
) -> keras.losses.Loss:
    """Return the loss of logits on label maps, without a second loss on the unary term.

    Args:
        config: the losses and their weights.
        ignore_label: label of pixels that don't count.
        class_weights: one number per class, or None.
        stride: pixels per axis between those that a subsampled loss compares.

    Raises:
        ValueError: if a weight or an argument of a loss is out of its range.
    """
    pixels: dict[str, Any] = {"ignore_label": ignore_label, "class_weights": class_weights}
    fraction, alpha, beta = config.ohem_fraction, config.tversky_alpha, config.tversky_beta
    cross_entropy = SegmentationCrossEntropy(
        **pixels,
        ohem_fraction=fraction,
        reduction=config.reduction,
        label_smoothing=config.label_smoothing,
    )
    terms = [
        (1.0, cross_entropy),
        (config.dice, SegmentationDice(ignore_label)),
        (config.jaccard, SegmentationJaccard(ignore_label)),
        (config.tversky, SegmentationTversky(ignore_label, alpha=alpha, beta=beta)),
        (config.focal, SegmentationFocal(**pixels, gamma=config.focal_gamma)),
        (config.lovasz, LovaszSoftmax(ignore_label, stride=config.lovasz_stride)),
    ]
    weights, losses = zip(*(term for term in terms if term[0]), strict=True)
    if len(losses) > 1 and config.reduction == "sum":
        raise ValueError(
            "A sum over the pixels outweighs the other losses, which are means; leave out "
            "`reduction`."
        )
    loss = losses[0] if len(losses) == 1 else WeightedSum(losses, weights)
    return SubsampledLoss(loss, stride) if config.subsampled and stride else loss


def check_losses(config: TrainConfig) -> None:
    """Raise a ValueError for the loss of a stage that can't be built or compared."""
    for stage in config.stages:
        settings, option = config.stage(stage.name), f"--{config.section(stage.name)}.loss"
        if not settings.is_trained:
            continue
        try:
            build_loss(settings.loss, ignore_label=255)
        except ValueError as error:
            raise ValueError(f"Stage {stage.name}, {option}: {error}") from None
        if settings.loss.subsampled and not adapter(config).loss_stride(config, stage.head):
            raise ValueError(
                f"Stage {stage.name} has no coarser grid to compare; leave out {option}.subsampled."
            )


class SubsampledLoss(keras.losses.Loss):
    """A loss at every N-th pixel per axis: on the grid from which the logits are upsampled."""

    def __init__(self, loss: keras.losses.Loss, stride: int) -> None:
        super().__init__(name="subsampled_loss")
        self._loss, self._stride = loss, stride

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        s = self._stride
        return self._loss(y_true[:, ::s, ::s], y_pred[:, ::s, ::s])


# === A second loss on the unary term ===


def with_unary(model: keras.Model, output: Tensor) -> keras.Model:
    """Return a model whose channels are the logits, then those of the unary term."""
    unary = model.head_model("unary").output
    both = keras.layers.Concatenate(dtype="float32", name="with_unary")((output, unary))
    return keras.Model(model.input, both)


class LossWithUnary(keras.losses.Loss):
    """A loss on both halves of the channels of `with_unary`, the second one weighted."""

    def __init__(self, loss: keras.losses.Loss, weight: float) -> None:
        super().__init__(name="loss_with_unary")
        self._loss, self._weight = loss, weight

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        final, unary = keras.ops.split(y_pred, 2, axis=-1)
        return self._loss(y_true, final) + self._weight * self._loss(y_true, unary)


class ScoresWithoutUnary(SegmentationScores):
    """The scores of the first half of the channels of `with_unary`."""

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        super().update_state(y_true, y_pred[..., : self.num_classes])
