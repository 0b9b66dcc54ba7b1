"""LovaszSoftmax: the surrogate of IoU by the Lovász extension, on label maps."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dpn.losses.label_map_loss import LabelMapLoss, one_hot_of_counted, weighted_mean
from keras_dpn.ops.checks import check_labels, check_positive_int
from keras_dpn.ops.segment_sum import segment_sum
from keras_dpn.typing import IgnoreLabel, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class LovaszSoftmax(LabelMapLoss):
    """Lovász-softmax loss of logits against a label map: a convex surrogate of one minus mIoU.

    The error of a pixel for a class is the difference of its probability from the truth, 0 or 1.
    The errors of a class are sorted in descending order; each is weighted by the decrease of IoU
    when that pixel becomes wrong, too. If all errors are 0 or 1, the loss is one minus the IoU. The
    mean is over the classes that occur among the counted pixels of the batch ("present" in the
    author's code); a batch without a counted pixel has loss 0.

    Sorting the errors of every class takes two busy CPU cores 1 to 4 s for 4 images of 320x320 and
    11 classes, ten times as long as the other losses; `stride` compares fewer pixels.

    Args:
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.
        class_weights: L non-negative numbers, one per class, or None: weights of the mean.
        stride: compare every `stride`-th pixel along each axis; 1 compares all. For images the
            time decreases with its square.

    Shapes:
        `y_true` `(B, H, W)` integers, 0 ... L-1 or an ignore label; `y_pred` `(B, H, W, L)` logits.
        In a compiled step, where no error can be raised, a label out of range does not count. On
        several devices the batch is each device's.

    Raises:
        ValueError: if `stride` is not a positive integer, weights are negative or their number is
            not the number of classes, `ignore_label` is no integer, labels and logits differ in
            size, or a label is out of range or a fraction.

    References:
    - Berman, Triki and Blaschko, The Lovász-softmax loss (https://arxiv.org/abs/1705.08790),
      algorithm 1 and eq. (12)

    Example:

    >>> loss = LovaszSoftmax()
    >>> logits = keras.ops.log([[[[0.75, 0.25], [0.5, 0.5]]]])
    >>> round(float(loss(keras.ops.array([[[0, 1]]]), logits)), 4)  # classes: 3/8 and 1/2
    0.4375
    """

    def __init__(
        self,
        ignore_label: IgnoreLabel = 255,
        class_weights: Sequence[float] | None = None,
        stride: int = 1,
        name: str = "lovasz_softmax",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_label, class_weights, name, **kwargs)
        self.stride = check_positive_int("stride", stride)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        check_labels(y_true.shape, y_pred.shape)
        grid = (slice(None), *(slice(None, None, self.stride) for _ in y_pred.shape[1:-1]))
        return super().call(y_true[grid], y_pred[grid])

    def compare(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        num_classes = logits.shape[-1]
        truth = ops.transpose(one_hot_of_counted(labels, counted, num_classes))  # (L, N)
        probabilities = ops.transpose(ops.softmax(logits, axis=-1))  # (L, N)
        errors = ops.where(truth > 0, 1 - probabilities, probabilities)
        errors = ops.where(counted, errors, 0.0)
        weights = _jaccard_weights(ops.stop_gradient(errors), truth, counted)
        occurs = ops.cast(ops.any(truth > 0, axis=1), "float32")
        losses = ops.sum(errors * weights, axis=1)
        return weighted_mean(losses, self.weights_of_classes(num_classes) * occurs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride}


def _jaccard_weights(errors: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """Return the decrease of IoU by each pixel, given those of larger error, `(L, N)`.

    With g pixels of a class and n wrong ones, of which h are of the class, it is (g - h) / (g + n -
    h). The decrease is computed in closed form: the difference of two IoUs near 1 would lose
    digits.
    """
    num_classes, size = ops.shape(errors)
    order = ops.argsort(ops.where(counted, -errors, 1.0), axis=1)
    places = order + size * ops.expand_dims(ops.arange(num_classes, dtype=order.dtype), 1)
    places = ops.reshape(places, (-1,))
    is_true = ops.reshape(ops.take(ops.reshape(truth, (-1,)), places), (num_classes, size))
    is_true = ops.cast(is_true, "int32")
    total = ops.sum(is_true, axis=1, keepdims=True)
    left = ops.cast(total - ops.cumsum(is_true, axis=1), "float32")
    union = ops.cast(total + ops.cumsum(1 - is_true, axis=1), "float32")
    steps = ops.where(is_true > 0, 1.0, left / ops.maximum(union - 1, 1.0))
    steps = ops.reshape(steps / ops.maximum(union, 1.0), (-1,))
    steps = segment_sum(steps, places, num_classes * size)  # back to the pixels' order
    return ops.reshape(steps, (num_classes, size))
