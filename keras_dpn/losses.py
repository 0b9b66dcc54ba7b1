"""Losses on label maps that Keras lacks: an ignore label, class weights, hard pixels."""

import keras
from keras import ops

from keras_dpn.ops.checks import check_labels, check_one_of


@keras.saving.register_keras_serializable(package="keras_dpn")
class SegmentationCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits against a label map, over the pixels that count.

    The mean is over the weights of all counted pixels of the batch, so that neither ignored pixels
    nor the padding of a crop dilute it. A batch without a counted pixel has loss 0.

    Args:
        ignore_label: label of pixels that don't count.
        class_weights: L non-negative numbers, one a class, or None. Median-frequency weights
            (median of the classes' frequencies over a class's own) lift rare classes.
        hard_ratio: in (0, 1], the share of the counted pixels, the hardest, that count
            (`hm_ratio` of the DPN author's unary solver: 0.5).
        reduction: "mean", or "sum" over the batch, as ParseNet's solver has it: the mean times the
            weights of all counted pixels.

    Shapes:
        `y_true` `(B, H, W)` integers, `y_pred` `(B, H, W, L)` logits. A label outside of 0 ... L-1
        that isn't the ignore label makes the loss NaN, whichever weight it would have had.

    Raises:
        ValueError: if `hard_ratio` is outside (0, 1], weights are negative or their number is not
            the number of classes, `reduction` is another, or labels and logits differ in size.

    Example:

    >>> loss = SegmentationCrossEntropy(ignore_label=255)
    >>> logits = keras.ops.zeros((1, 1, 2, 4))
    >>> round(float(loss(keras.ops.array([[[3, 255]]]), logits)), 4)  # ln 4
    1.3863
    """

    def __init__(
        self,
        ignore_label=255,
        class_weights=None,
        hard_ratio=1.0,
        reduction="mean",
        name="segmentation_cross_entropy",
        **kwargs,
    ):
        check_one_of("reduction", reduction, ("mean", "sum"))
        super().__init__(name=name, reduction=reduction, **kwargs)
        if not 0 < hard_ratio <= 1:
            raise ValueError(
                "Invalid value for argument `hard_ratio`: expected a number in (0, 1], received "
                f"{hard_ratio}."
            )
        if class_weights is not None:
            class_weights = [float(w) for w in class_weights]
            if not all(w >= 0 for w in class_weights):
                raise ValueError(
                    "Invalid value for argument `class_weights`: expected non-negative numbers, "
                    f"received {class_weights}."
                )
        self.ignore_label = ignore_label
        self.class_weights = class_weights
        self.hard_ratio = hard_ratio

    def call(self, y_true, y_pred):
        check_labels(y_true.shape, y_pred.shape)
        num_classes = y_pred.shape[-1]
        logits = ops.cast(ops.reshape(y_pred, (-1, num_classes)), "float32")
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        counted = labels != self.ignore_label
        valid = ops.logical_and(labels >= 0, labels < num_classes)
        safe = ops.where(valid, labels, 0)
        losses = ops.sparse_categorical_crossentropy(safe, logits, from_logits=True)
        losses = ops.where(ops.logical_or(valid, ops.logical_not(counted)), losses, float("nan"))
        weights = ops.cast(counted, "float32")
        if self.hard_ratio < 1:
            weights = weights * self._hard_pixels(losses, weights)
        if self.class_weights is not None:
            weights = weights * ops.take(self._class_weights(num_classes), safe)
        losses = ops.where(counted, losses, 0.0)
        loss = ops.sum(losses * weights)
        if self.reduction == "mean":
            loss = loss / ops.maximum(ops.sum(weights), 1e-6)
        # Keras divides a mean by the number of replicas where it reduces one, no scalar.
        return ops.reshape(loss, (1,))

    def _class_weights(self, num_classes):
        if len(self.class_weights) != num_classes:
            raise ValueError(
                f"Invalid value for argument `class_weights`: expected {num_classes} weights, one "
                f"for each of the logits' classes, received {len(self.class_weights)}."
            )
        return ops.convert_to_tensor(self.class_weights, "float32")

    def _hard_pixels(self, losses, weights):
        """1 for the hardest pixels among those that count, else 0."""
        ranked = ops.flip(ops.sort(ops.where(weights > 0, ops.stop_gradient(losses), -1.0)))
        keep = ops.cast(ops.ceil(self.hard_ratio * ops.sum(weights)), "int32")
        threshold = ops.take(ranked, ops.maximum(keep - 1, 0))
        return ops.cast(losses >= threshold, "float32")

    def get_config(self):
        return {
            **super().get_config(),
            "ignore_label": self.ignore_label,
            "class_weights": self.class_weights,
            "hard_ratio": self.hard_ratio,
        }
