"""WeightedSum: several losses of the same labels and logits as one."""

from collections.abc import Iterable
from typing import Any, Self

import keras

from keras_dpn.ops.checks import check_no_sample_weight, check_numbers_in_order
from keras_dpn.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class WeightedSum(keras.losses.Loss):
    """Add up losses of the same labels and predictions, each times its weight.

    Dice or Lovász-softmax is usually combined with cross-entropy: the former give small classes
    weight, the latter gives each pixel a gradient.

    Args:
        losses: instances of `keras.losses.Loss` that reduce to a number.
        weights: non-negative numbers, one per loss; None: 1 each.

    Shapes:
        `y_true` and `y_pred` are what each of the losses takes.

    Raises:
        ValueError: without any loss, for an object that is no loss, and if weights are negative or
            their number is not the number of losses.

    Example:

    >>> from keras_dpn.losses import SegmentationCrossEntropy, SegmentationDice
    >>> loss = WeightedSum([SegmentationCrossEntropy(), SegmentationDice()], weights=[1.0, 0.5])
    >>> logits = keras.ops.log([[[[0.75, 0.25], [0.5, 0.5]]]])
    >>> round(float(loss(keras.ops.array([[[0, 1]]]), logits)), 4)  # 0.4904 + 0.381 / 2
    0.6809
    """

    def __init__(
        self,
        losses: Iterable[keras.losses.Loss],
        weights: Iterable[float] | None = None,
        name: str = "weighted_sum",
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        super().__init__(name=name, reduction="mean", dtype=dtype or "float32")
        losses = list(losses)
        given = [1.0] * len(losses) if weights is None else weights
        self.weights = check_numbers_in_order("weights", given)
        if not losses or not all(isinstance(loss, keras.losses.Loss) for loss in losses):
            raise ValueError(
                "Invalid value for argument `losses`: expected instances of keras.losses.Loss, at "
                f"least one, received {losses}."
            )
        if len(self.weights) != len(losses):
            raise ValueError(
                f"Invalid value for argument `weights`: expected {len(losses)} numbers, one for "
                f"each of `losses`, received {given}."
            )
        self.losses = losses

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        instead = "Its losses are compared as they are."
        check_no_sample_weight(sample_weight, "WeightedSum", instead)
        return super().__call__(y_true, y_pred)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        pairs = zip(self.weights, self.losses, strict=True)
        return sum(weight * loss(y_true, y_pred) for weight, loss in pairs)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "losses": [keras.losses.serialize(loss) for loss in self.losses],
            "weights": self.weights,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        losses = [keras.losses.deserialize(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})
