"""SegmentationTversky: the Tversky loss on label maps."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_dpn.losses.overlap_loss import OverlapLoss
from keras_dpn.typing import IgnoreLabel


@keras.saving.register_keras_serializable(package="keras_dpn")
class SegmentationTversky(OverlapLoss):
    """Tversky loss of logits against a label map: weights for false positives and negatives.

    For each class 1 - hits / (hits + alpha (predicted - hits) + beta (true - hits)), sums of
    probabilities over the counted pixels of the batch; the mean is over the classes that occur in
    it. Both at 0.5 give `SegmentationDice`, both at 1 `SegmentationJaccard`. A batch without a
    counted pixel has loss 0. Without ignored pixels, and with a pixel of every class, it is
    `keras.losses.Tversky(alpha=beta, beta=alpha, axis=(0, 1, 2))` of the one-hot labels and the
    softmax of the logits: Keras's `alpha` weights false negatives, the paper's and this one false
    positives.

    Args:
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.
        class_weights: L non-negative numbers, one per class, or None: weights of the mean.
        alpha: weight of false positives, from 0 up.
        beta: weight of false negatives, from 0 up. More than `alpha`, as by default and in the
            paper's best result, detects more small objects and more false ones.

    Shapes:
        `y_true` `(B, H, W)` integers, 0 ... L-1 or an ignore label; `y_pred` `(B, H, W, L)` logits.
        In a compiled step, where no error can be raised, a label out of range does not count. On
        several devices the batch is each device's.

    Raises:
        ValueError: if `alpha` or `beta` is negative, or both are 0, weights are negative or their
            number is not the number of classes, `ignore_label` is no integer, labels and logits
            differ in size, or a label is out of range or a fraction.

    References:
    - Salehi, Erdogmus and Gholipour, Tversky loss function for image segmentation using 3D fully
      convolutional deep networks (https://arxiv.org/abs/1706.05721), eq. (2)

    Example:

    >>> loss = SegmentationTversky(alpha=0.0, beta=1.0)
    >>> logits = keras.ops.log([[[[0.75, 0.25], [0.5, 0.5]]]])
    >>> round(float(loss(keras.ops.array([[[0, 1]]]), logits)), 4)  # classes: 1/4 and 1/2
    0.375
    """

    def __init__(
        self,
        ignore_label: IgnoreLabel = 255,
        class_weights: Sequence[float] | None = None,
        alpha: float = 0.3,
        beta: float = 0.7,
        name: str = "segmentation_tversky",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, name, **kwargs)
        if not all(0 <= weight < math.inf for weight in (alpha, beta)) or alpha == beta == 0:
            raise ValueError(
                "Invalid values for arguments `alpha` and `beta`: expected numbers from 0 up, not "
                f"both 0, received {alpha} and {beta}."
            )
        self.alpha = alpha
        self.beta = beta

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}
