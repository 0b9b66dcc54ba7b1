"""SegmentationFocal: the focal loss on label maps."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dpn.losses.label_map_loss import LabelMapLoss, weighted_mean
from keras_dpn.ops.checks import check_number
from keras_dpn.typing import IgnoreLabel, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class SegmentationFocal(LabelMapLoss):
    """Focal loss of logits against a label map: easy pixels have less weight.

    The cross-entropy of a pixel times (1 - p) ** gamma, p the probability of its class; the mean is
    that of `SegmentationCrossEntropy`. A batch without a counted pixel has loss 0. Without ignored
    pixels and class weights it is `keras.losses.CategoricalFocalCrossentropy(alpha=1.0,
    gamma=gamma, from_logits=True)` of the one-hot labels.

    Args:
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.
        class_weights: L non-negative numbers, one per class, or None: the paper's alpha.
        gamma: from 0 up; 0 is the cross-entropy.

    Shapes:
        `y_true` `(B, H, W)` integers, 0 ... L-1 or an ignore label; `y_pred` `(B, H, W, L)` logits.
        In a compiled step, where no error can be raised, a label out of range does not count.

    Raises:
        ValueError: if `gamma` is negative, weights are negative or their number is not the number
            of classes, `ignore_label` is no integer, labels and logits differ in size, or a label
            is out of range or a fraction.

    References:
    - Lin et al., Focal loss for dense object detection (https://arxiv.org/abs/1708.02002), eq. (4)

    Example:

    >>> loss = SegmentationFocal(gamma=2.0)
    >>> logits = keras.ops.zeros((1, 1, 2, 4))
    >>> round(float(loss(keras.ops.array([[[3, 255]]]), logits)), 4)  # (3/4)^2 ln 4
    0.7798
    """

    def __init__(
        self,
        ignore_label: IgnoreLabel = 255,
        class_weights: Sequence[float] | None = None,
        gamma: float = 2.0,
        name: str = "segmentation_focal",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, name, **kwargs)
        self.gamma = check_number("gamma", gamma, minimum=0)

    def compare(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        # Above 0, where the gradient of a power below 1 is infinite.
        missing = ops.maximum(-ops.expm1(-losses), 1e-12)
        weights = ops.cast(counted, "float32")
        weights = weights * ops.take(self.weights_of_classes(logits.shape[-1]), labels)
        return weighted_mean(ops.power(missing, self.gamma) * losses, weights)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma}
