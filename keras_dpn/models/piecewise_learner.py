"""Training objectives for the potentials of a PiecewiseCRF, on labels of the graph's nodes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_dpn.ops.checks import check_labels, check_no_sample_weight
from keras_dpn.ops.crf_likelihood import conditional_losses, pairwise_losses, unary_losses
from keras_dpn.ops.resize_nearest import resize_nearest
from keras_dpn.typing import IgnoreLabel, Tensor

OBJECTIVES = ("piecewise", "pseudo_likelihood", "mean_field")


class PiecewiseLearner(keras.Model):
    """Networks of potentials with their objective, as `PiecewiseCRF.learner` returns them.

    Compile it with an optimiser and metrics, no loss, and fit it on images `(B, H, W, 3)` and label
    maps `(B, H, W)`. Metrics get the logits `(B, H, W, L)` of the prediction.

    Args:
        image: the networks' input.
        tensors: functions of `image`: "unary", a map `(B, h, w, L)`; "relations", by their names
            triples (edges, exist, pairwise) as `RangeBoxGraph` and `PairwisePotential` return them;
            "field", the map `(B, h, w, L)` of mean field; and "logits", the same in the image's
            size.
        potentials: names of the potentials to train, "unary" or a relation's.
        objective: one of `OBJECTIVES`.
        ignore_label: label of pixels that don't count.
        map_size: function from the image's height and width to the map's.
        name: of the model.
    """

    def __init__(
        self,
        image: keras.KerasTensor,
        tensors: Mapping[str, Any],
        potentials: Sequence[str],
        objective: str,
        ignore_label: IgnoreLabel,
        map_size: Callable[..., Sequence[Any]],
        name: str,
    ) -> None:
        super().__init__(image, tensors, name=name)
        self.potentials = potentials
        self.objective = objective
        self.ignore_label = ignore_label
        self._map_size = map_size

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        if y is None:
            raise ValueError("Invalid value for argument `y`: expected label maps, received None.")
        instead = "Mark pixels that don't count with `ignore_label`."
        check_no_sample_weight(sample_weight, "PiecewiseLearner", instead)
        check_labels(y.shape, y_pred["logits"].shape)
        labels = _flat(resize_nearest(y, self._map_size(*ops.shape(y)[1:3])))
        terms = self._terms(labels, y_pred)
        loss = sum(ops.sum(each) / ops.maximum(ops.sum(counted), 1e-6) for each, counted in terms)
        return sum(self.losses, loss) / _replicas()

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        return super().compute_metrics(x, y, y_pred["logits"], sample_weight)

    def save(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "A PiecewiseLearner can't be saved as a whole: save its PiecewiseCRF, which shares its "
            "weights, or the weights alone (save_weights)."
        )

    def _terms(self, labels: Tensor, tensors: Mapping[str, Any]) -> list[tuple[Tensor, Tensor]]:
        """Return pairs of losses, per node or per edge, and of which of them count."""
        unary, relations = _flat(tensors["unary"]), tensors["relations"]
        if self.objective == "mean_field":
            return [unary_losses(labels, _flat(tensors["field"]), self.ignore_label)]
        if self.objective == "pseudo_likelihood" and relations:
            edges, exist, pairwise = zip(*relations.values(), strict=True)
            edges, exist = ops.concatenate(edges, axis=0), ops.concatenate(exist, axis=0)
            pairwise = ops.concatenate(pairwise, axis=1)
            return [conditional_losses(labels, unary, edges, pairwise, self.ignore_label, exist)]
        terms = []
        if "unary" in self.potentials:
            terms.append(unary_losses(labels, unary, self.ignore_label))
        for edges, exist, pairwise in relations.values():
            terms.append(pairwise_losses(labels, edges, pairwise, self.ignore_label, exist))
        return terms


def _flat(x: Tensor) -> Tensor:
    """Return the cells of a map as nodes of a graph: (B, h, w, ...) as (B, N, ...)."""
    batch, height, width = ops.shape(x)[:3]
    return ops.reshape(x, (batch, height * width, *x.shape[3:]))


def _replicas() -> int:
    """Return the number of devices of a step: Keras adds up the gradients of their losses."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
