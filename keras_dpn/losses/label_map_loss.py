"""Base of all losses on label maps: ignore labels and class weights."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import keras
from keras import ops

from keras_dpn.ops.checks import (
    check_labels,
    check_no_sample_weight,
    check_numbers_in_order,
    check_one_of,
)
from keras_dpn.ops.label_maps import read_labels, standardize_ignore_label
from keras_dpn.ops.two_labels import two_labels
from keras_dpn.typing import IgnoreLabel, Tensor


class LabelMapLoss(keras.losses.Loss):
    """Base of the losses of logits against label maps, in float32.

    Subclasses implement `compare`, whose result must not depend on pixels that don't count. Weights
    of samples are refused: pixels have those of their class, or none.

    Args:
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.
        class_weights: L non-negative numbers, one per class, or None.
        reduction: "mean", or "sum" over the pixels for losses that support it.
        name: of the loss.
        dtype: of the loss; float32 by default, whatever `keras.config.floatx()`.

    Shapes:
        `y_true` `(B, *S)` or `(B, *S, 1)` labels, `y_pred` `(B, *S, L)` logits; `*S` are any
        number of axes, `(H, W)` for images. All sizes but L may be unknown. With an L of 1 the
        labels are 0, not the class, and 1, the class, and the class weights are two numbers.
    """

    reductions: ClassVar[tuple[str, ...]] = ("mean",)

    def __init__(
        self,
        ignore_label: IgnoreLabel,
        class_weights: Sequence[float] | None,
        name: str,
        reduction: Literal["mean", "sum"] = "mean",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        check_one_of("reduction", reduction, self.reductions)
        super().__init__(name=name, reduction=reduction, dtype=dtype or "float32")
        if class_weights is not None:
            class_weights = check_numbers_in_order("class_weights", class_weights)
        self.ignore_label = standardize_ignore_label(ignore_label)
        self.class_weights = class_weights

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        instead = "Mark pixels with `ignore_label`, weight classes with `class_weights`."
        check_no_sample_weight(sample_weight, type(self).__name__, instead)
        return super().__call__(y_true, y_pred)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        check_labels(y_true.shape, y_pred.shape)
        y_pred = two_labels(y_pred)
        num_classes = y_pred.shape[-1]
        y_true = ops.reshape(y_true, (-1,))
        labels, counted, _ = read_labels(y_true, num_classes, self.ignore_label)
        logits = ops.cast(ops.reshape(y_pred, (-1, num_classes)), "float32")
        # Before any computation: values there that aren't finite would reach the gradient.
        logits = ops.where(counted[:, None], logits, 0.0)
        loss = self.compare(labels, logits, counted)
        # Keras divides a mean by the number of replicas only if it reduces it itself, not a scalar.
        return ops.reshape(loss, (1,))

    def compare(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            labels: int32 `(N,)`, 0 ... L-1; 0 where a pixel does not count.
            logits: float32 `(N, L)`; 0 where a pixel does not count.
            counted: bool `(N,)`, which of the N pixels of the batch count.
        """
        raise NotImplementedError

    def weights_of_classes(self, num_classes: int) -> Tensor:
        """Return the weight of each class, float32 `(L,)`."""
        if self.class_weights is None:
            return ops.ones((num_classes,), "float32")
        if len(self.class_weights) != num_classes:
            raise ValueError(
                f"Invalid value for argument `class_weights`: expected {num_classes} weights, one "
                f"for each of the logits' classes, received {len(self.class_weights)}."
            )
        return ops.convert_to_tensor(self.class_weights, "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ignore_label": self.ignore_label,
            "class_weights": self.class_weights,
        }


def one_hot_of_counted(labels: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """Return the one-hot labels, float32 `(N, L)`; zeros where a pixel does not count."""
    return ops.one_hot(ops.where(counted, labels, -1), num_classes, dtype="float32")


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of `values`, both `(N,)`; 0 where all weights are 0."""
    total = ops.sum(weights)
    return ops.sum(values * weights) / ops.where(total > 0, total, 1.0)
