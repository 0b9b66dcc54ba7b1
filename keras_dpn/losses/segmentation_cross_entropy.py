"""SegmentationCrossEntropy: cross-entropy on label maps, hard example mining, label smoothing."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_dpn.deprecation import renamed_argument, warn_renamed
from keras_dpn.losses.label_map_loss import LabelMapLoss, weighted_mean
from keras_dpn.typing import IgnoreLabel, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class SegmentationCrossEntropy(LabelMapLoss):
    """Cross-entropy of logits against a label map, over the pixels that count.

    The mean is over the weights of all counted pixels of the batch, so that neither ignored pixels
    nor the padding of a crop dilute it. A batch without a counted pixel has loss 0.

    Args:
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.
        class_weights: L non-negative numbers, one per class, or None. Median-frequency weights
            (median of the classes' frequencies divided by the frequency of a class) give rare
            classes more weight.
        ohem_fraction: in (0, 1], the fraction of the counted pixels, those of largest loss, to use
            (`hm_ratio` of the DPN author's unary solver: 0.5).
        reduction: "mean", or "sum" over the batch, as in ParseNet's solver: the mean times the sum
            of the weights of all counted pixels.
        name: of the loss.
        label_smoothing: e in [0, 1): the target is 1 - e + e / L for a pixel's class and e / L for
            each other one (Szegedy et al., Rethinking the Inception Architecture, section 7). The
            weight of a pixel stays that of its own class.

    Shapes:
        `y_true` `(B, H, W)` integers, 0 ... L-1 or an ignore label; `y_pred` `(B, H, W, L)` logits.
        In a compiled step, where no error can be raised, a label out of range does not count.

    Raises:
        ValueError: if `ohem_fraction` is outside (0, 1] or `label_smoothing` outside [0, 1),
            weights are negative or their number is not the number of classes, `reduction` is
            unknown, `ignore_label` is no integer, labels and logits differ in size, or a label is
            out of range or a fraction.

    Example:

    >>> loss = SegmentationCrossEntropy(ignore_label=255)
    >>> logits = keras.ops.zeros((1, 1, 2, 4))
    >>> round(float(loss(keras.ops.array([[[3, 255]]]), logits)), 4)  # ln 4
    1.3863
    """

    reductions = ("mean", "sum")

    @renamed_argument("hard_ratio", "ohem_fraction")
    def __init__(
        self,
        ignore_label: IgnoreLabel = 255,
        class_weights: Sequence[float] | None = None,
        ohem_fraction: float = 1.0,
        reduction: Literal["mean", "sum"] = "mean",
        name: str = "segmentation_cross_entropy",
        *,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, name, reduction, **kwargs)
        if not 0 < ohem_fraction <= 1:
            raise ValueError(
                "Invalid value for argument `ohem_fraction`: expected a number in (0, 1], received "
                f"{ohem_fraction}."
            )
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                "Invalid value for argument `label_smoothing`: expected a number in [0, 1), "
                f"received {label_smoothing}."
            )
        self.ohem_fraction = ohem_fraction
        self.label_smoothing = label_smoothing

    @property
    def hard_ratio(self) -> float:
        """Deprecated, see `ohem_fraction`."""
        warn_renamed("hard_ratio", "ohem_fraction")
        return self.ohem_fraction

    def __dir__(self) -> list[str]:
        # Keras reads every attribute of the loss of a compiled model that it saves.
        return [name for name in super().__dir__() if name != "hard_ratio"]

    def compare(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if self.label_smoothing:
            to_all = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)  # mean of -ln p
            losses += self.label_smoothing * (to_all - losses)
        weights = ops.cast(counted, "float32")
        if self.ohem_fraction < 1:
            weights = weights * self._hard_pixels(losses, weights)
        weights = weights * ops.take(self.weights_of_classes(logits.shape[-1]), labels)
        if self.reduction == "sum":
            return ops.sum(losses * weights)
        return weighted_mean(losses, weights)

    def _hard_pixels(self, losses: Tensor, weights: Tensor) -> Tensor:
        """Return 1 for the pixels of largest loss among those that count, else 0."""
        ranked = ops.where(weights > 0, ops.stop_gradient(losses), -1.0)
        ranked = ops.flip(ops.sort(ops.append(ranked, -1.0)))  # a batch may have no pixels
        keep = ops.cast(ops.ceil(self.ohem_fraction * ops.sum(weights)), "int32")
        threshold = ops.take(ranked, ops.maximum(keep - 1, 0))
        return ops.cast(losses >= threshold, "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "ohem_fraction": self.ohem_fraction,
            "reduction": self.reduction,
            "label_smoothing": self.label_smoothing,
        }
