"""SegmentationJaccard: the soft Jaccard (IoU) loss on label maps."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_dpn.losses.overlap_loss import OverlapLoss
from keras_dpn.typing import IgnoreLabel


@keras.saving.register_keras_serializable(package="keras_dpn")
class SegmentationJaccard(OverlapLoss):
    """Jaccard loss of logits against a label map: one minus the IoU of probabilities.

    For each class 1 - hits / (predicted + true - hits), sums of probabilities over the counted
    pixels of the batch; the mean is over the classes that occur in it. It is
    `SegmentationTversky(alpha=1, beta=1)`. Where the probabilities are 0 and 1 it is one minus the
    IoU; between them `LovaszSoftmax` is closer to it. A batch without a counted pixel has loss 0.

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
    - Rahman and Wang, Optimizing intersection-over-union in deep neural networks for image
      segmentation (2016)

    Example:

    >>> loss = SegmentationJaccard()
    >>> logits = keras.ops.log([[[[0.75, 0.25], [0.5, 0.5]]]])
    >>> round(float(loss(keras.ops.array([[[0, 1]]]), logits)), 4)  # classes: 1/2 and 3/5
    0.55
    """

    alpha = beta = 1.0

    def __init__(
        self,
        ignore_label: IgnoreLabel = 255,
        class_weights: Sequence[float] | None = None,
        name: str = "segmentation_jaccard",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, name, **kwargs)
