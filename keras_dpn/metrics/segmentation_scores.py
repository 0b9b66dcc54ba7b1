"""SegmentationScores: the usual scores in `model.fit` and `evaluate`, from a confusion matrix."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_dpn.ops.checks import check_labels, check_no_sample_weight, check_positive_int
from keras_dpn.ops.label_maps import read_labels, standardize_ignore_label
from keras_dpn.ops.segment_sum import segment_sum
from keras_dpn.ops.two_labels import two_labels
from keras_dpn.typing import IgnoreLabel, Shape, Tensor

_CARRY = 2**30  # a batch has fewer pixels


@keras.saving.register_keras_serializable(package="keras_dpn")
class SegmentationScores(keras.metrics.Metric):
    """mIoU, pixel accuracy, mean accuracy and frequency-weighted IoU of logits.

    They are computed from one confusion matrix of integer counts, so that the scores of an epoch
    depend neither on the batch size nor on the number of devices. Classes that neither occur nor
    are predicted don't enter the means.

    Args:
        num_classes: L, integer >= 1; 1 for logits of one class, which are scored as two labels, 0
            for not the class and 1 for the class.
        ignore_label: label of pixels that don't count; a tuple of several; None if all count.
        name: other than "scores" it begins the names of the results, as in `aux_miou`, so that the
            scores of several outputs don't replace each other.

    Shapes:
        `y_true` `(B, H, W)` integers, 0 ... L-1 or an ignore label; `y_pred` `(B, H, W, L)` logits
        or probabilities, of one class logits.

    Returns:
        `result()` is a dictionary of `miou`, `accuracy`, `mean_accuracy` and
        `frequency_weighted_iou`, in 0 ... 1, and `out_of_range`, the number of pixels whose label
        is neither a class nor an ignore label. A compiled step, as in `fit` and `evaluate`, can't
        raise an error for them; they don't count in the scores. `confusion` is the matrix, with
        the truth in rows.

    Raises:
        ValueError: if labels and logits differ in size, the logits don't have L channels,
            `ignore_label` is no integer, a label is out of range or a fraction, and for a
            `sample_weight`.

    Example:

    >>> metric = SegmentationScores(num_classes=2)
    >>> metric.update_state([[[0, 1, 255]]], [[[[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]]]])
    >>> {name: float(value) for name, value in metric.result().items()}["miou"]
    0.25
    """

    def __init__(
        self, num_classes: int, ignore_label: IgnoreLabel = 255, name: str = "scores", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.num_classes = check_positive_int("num_classes", num_classes)
        self.ignore_label = standardize_ignore_label(ignore_label)
        self._labels = labels = max(2, num_classes)
        self._counts = self._add_counts((labels, labels), "confusion")
        self._carried = self._add_counts((labels, labels), "carried")
        self._out_of_range = self._add_counts((), "out_of_range")

    def _add_counts(self, shape: Shape, name: str) -> keras.Variable:
        # As float32 they would stop growing at 2**24 pixels. JAX has no 64 bits by default: there
        # multiples of _CARRY are counted apart.
        dtype = "int32" if keras.backend.backend() == "jax" else "int64"
        return self.add_variable(shape, "zeros", dtype, aggregation="sum", name=name)

    @property
    def confusion(self) -> np.ndarray:
        """Return the counts so far, int64 array `(L, L)`, `[truth, prediction]`."""
        counts, carried = map(ops.convert_to_numpy, (self._counts, self._carried))
        return counts.astype("int64") + _CARRY * carried.astype("int64")

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        instead = "Mark pixels that don't count with `ignore_label`."
        check_no_sample_weight(sample_weight, "SegmentationScores", instead)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        check_labels(y_true.shape, y_pred.shape)
        if y_pred.shape[-1] != self.num_classes:
            raise ValueError(
                f"Invalid value for argument `y_pred`: expected {self.num_classes} classes, "
                f"received shape {tuple(y_pred.shape)}."
            )
        labels = ops.reshape(y_true, (-1,))
        labels, counted, out_of_range = read_labels(labels, self._labels, self.ignore_label)
        y_pred = two_labels(y_pred)
        predictions = ops.reshape(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), (-1,))
        pairs = ops.where(counted, labels * self._labels + predictions, 0)
        counts = segment_sum(ops.cast(counted, "int32"), pairs, self._labels**2)
        counts = ops.reshape(counts, (self._labels, self._labels))
        self._counts.assign_add(ops.cast(counts, self._counts.dtype))
        if keras.backend.backend() == "jax":
            self._carried.assign_add(self._counts // _CARRY)
            self._counts.assign(self._counts % _CARRY)
        self._out_of_range.assign_add(ops.sum(ops.cast(out_of_range, self._out_of_range.dtype)))

    def result(self) -> dict[str, Tensor]:
        counts = ops.cast(self._counts, "float32") + _CARRY * ops.cast(self._carried, "float32")
        hits, truth = ops.diagonal(counts), ops.sum(counts, axis=1)
        union = truth + ops.sum(counts, axis=0) - hits
        iou = hits / ops.maximum(union, 1)
        total = ops.maximum(ops.sum(truth), 1)
        scores = {
            "miou": _mean_where(iou, union > 0),
            "accuracy": ops.sum(hits) / total,
            "mean_accuracy": _mean_where(hits / ops.maximum(truth, 1), truth > 0),
            "frequency_weighted_iou": ops.sum(truth * iou) / total,
            "out_of_range": ops.cast(self._out_of_range, "float32"),
        }
        prefix = "" if self.name == "scores" else f"{self.name}_"
        return {f"{prefix}{name}": score for name, score in scores.items()}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_label": self.ignore_label,
        }


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    mask = ops.cast(mask, "float32")
    return ops.sum(values * mask) / ops.maximum(ops.sum(mask), 1)
