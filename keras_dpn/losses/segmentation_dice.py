"""SegmentationDice: the Dice loss on label maps."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_dpn.losses.overlap_loss import OverlapLoss
from keras_dpn.typing import IgnoreLabel


@keras.saving.register_keras_serializable(package="keras_dpn")
class SegmentationDice(OverlapLoss):
    """Dice loss of logits against a label map: the overlap of each class, whatever its size.

    For each class 1 - 2 hits / (predicted + true), sums of probabilities over the counted pixels of
    the batch; the mean is over the classes that occur in it. Probability of a class that does not
    occur is missing from the other classes, whose overlap it lowers. A batch without a counted
    pixel has loss 0. Without ignored pixels, and with a pixel of every class, it is
    `keras.losses.Dice(axis=(0, 1, 2))` of the one-hot labels and the softmax of the logits; Keras
    counts a class that does not occur as 1, and by `axis=None` adds the classes up before it
    divides.

    Args:
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.
        class_weights: L non-negative numbers, one per class, or None: weights of the mean.

    Shapes:
        `y_true` `(B, H, W)` integers, 0 ... L-1 or an ignore label; `y_pred` `(B, H, W, L)` logits.
        In a compiled step, where no error can be raised, a label out of range does not count. On
        several devices the batch is each device's.

    Raises:
        ValueError: if weights are negative or their number is not the number of classes,
            `ignore_label` is no integer, labels and logits differ in size, or a label is out of
            range or a fraction.

    References:
    - Milletari, Navab and Ahmadi, V-Net (https://arxiv.org/abs/1606.04797), there with squares

    Example:

    >>> loss = SegmentationDice()
    >>> logits = keras.ops.log([[[[0.75, 0.25], [0.5, 0.5]]]])
    >>> round(float(loss(keras.ops.array([[[0, 1]]]), logits)), 4)  # classes: 1/3 and 3/7
    0.381
    """

    alpha = beta = 0.5

    def __init__(
        self,
        ignore_label: IgnoreLabel = 255,
        class_weights: Sequence[float] | None = None,
        name: str = "segmentation_dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, name, **kwargs)
