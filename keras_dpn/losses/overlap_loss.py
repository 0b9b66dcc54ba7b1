"""Base of the Dice, Jaccard and Tversky losses: the overlap of truth and prediction."""

from keras import ops

from keras_dpn.losses.label_map_loss import LabelMapLoss, one_hot_of_counted, weighted_mean
from keras_dpn.typing import Tensor


class OverlapLoss(LabelMapLoss):
    """One minus the Tversky index of each class, as a mean over the classes that occur.

    Subclasses set `alpha`, the weight of false positives, and `beta`, that of false negatives. Sums
    are over all counted pixels of the batch.
    """

    def compare(self, labels: Tensor, logits: Tensor, counted: Tensor) -> Tensor:
        num_classes = logits.shape[-1]
        truth = one_hot_of_counted(labels, counted, num_classes)
        probabilities = ops.where(counted[:, None], ops.softmax(logits, axis=-1), 0.0)
        hits = ops.sum(truth * probabilities, axis=0)  # (L,)
        predicted, true = ops.sum(probabilities, axis=0), ops.sum(truth, axis=0)
        whole = hits + self.alpha * (predicted - hits) + self.beta * (true - hits)
        losses = 1 - hits / ops.where(whole > 0, whole, 1.0)
        weights = self.weights_of_classes(num_classes) * ops.cast(true > 0, "float32")
        return weighted_mean(losses, weights)
