"""Mean field without the messages of labels that are improbable at every point of an image."""

import math

from keras import ops

from keras_dpn.typing import Tensor

_NEVER = -1e30


def prune_labels(unary: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the labels that are probable somewhere, and the others' sum at each point.

    Args:
        unary: `(B, *S, L)`, logits.
        threshold: probability, from 0 to below 1/L.

    Returns:
        int32 `(K,)`, the labels whose softmax reaches the threshold at a point; and
        `(B, *S, 1)`, the logarithm of the sum of the other labels' exponentials.
    """
    labels = unary.shape[-1]
    probabilities = ops.softmax(unary, axis=-1)
    peaks = ops.max(ops.reshape(probabilities, (-1, labels)), axis=0)  # (L,)
    lowest = ops.cast(threshold, peaks.dtype)
    # All of them without a point, and if one is NaN.
    is_kept = ops.logical_not(peaks < ops.minimum(lowest, ops.max(peaks)))
    rest = ops.logsumexp(ops.where(is_kept, _NEVER, unary), axis=-1, keepdims=True)
    return ops.cast(ops.nonzero(is_kept)[0], "int32"), rest


def restore_labels(logits: Tensor, unary: Tensor, kept: Tensor) -> Tensor:
    """Return logits `(B, *S, L)` of all labels: those given, and the unary ones of the others.

    Args:
        logits: `(B, *S, K)` of the labels `kept`.
        unary: `(B, *S, L)`.
        kept: integers `(K,)` in ascending order.
    """
    labels = ops.arange(unary.shape[-1], dtype="int32")
    is_label = ops.expand_dims(labels, -1) == kept  # (L, K)
    column = ops.argmax(ops.cast(is_label, "int32"), axis=-1)  # (L,)
    return ops.where(ops.any(is_label, axis=-1), ops.take(logits, column, axis=-1), unary)


def pruning_error_bound(
    threshold: float, rest: float, strength: float, num_iterations: int
) -> float:
    """Return how far leaving out labels can move any marginal of a fully connected CRF.

    `MeanFieldCRF(prune_below=threshold)` leaves out the messages of the labels D whose unary
    probability p is below the threshold everywhere: `q(l) ~ p(l)` for l in D, and for the others
    `q(l) ~ p(l) exp m(l)`, with the messages m of Potts' model. With R the strength of messages:

    * Messages aren't negative and the p sum to 1, so the normalisation is at least 1: with all
      messages, a label of D has at most `a <- threshold exp(R a)` after each update, which stays
      near the threshold, and those of D together at most `d = rest exp(R a)`.
    * The marginals of a label change by `q_l (x_l - sum_m q_m x_m)` if logits change by x. Those of
      D lack at most R a, the others are wrong by at most R e, if e is the error of their marginals
      before the update. As `2 q (1 - q) <= 1/2`: `e <- R e / 2 + d R a`, from e = 0, since both
      start from the same marginals.
    * A label of D is wrong by at most `a R (a + e)`.

    The error thus shrinks with the square of the threshold, but grows in the worst case, where
    every point is undecided, by R / 2 per update; measured errors are smaller by orders.

    Args:
        threshold: probability, from 0 to below 1.
        rest: the largest sum, at any point, of the unary probabilities of the labels left out.
        strength: R, the largest message that a label with probability 1 at all points gets. With
            `normalization="row"` the sum of the kernels' weights; with the other normalisations,
            these times the largest row sum of a normalised kernel.
        num_iterations: mean-field updates.

    Returns:
        Bound of the absolute error of all marginals, at most 1.

    Example:

    >>> f"{pruning_error_bound(1e-6, 1e-5, strength=7.0, num_iterations=10):.1e}"
    '7.7e-06'
    """
    a, e, last = threshold, 0.0, 0.0
    for _ in range(num_iterations):
        a, last = min(1.0, threshold * math.exp(strength * a)), e
        d = min(1.0, rest * math.exp(strength * a))
        e = min(1.0, strength * e / 2 + d * strength * a)
    return min(1.0, max(e, a * strength * (a + last)))
