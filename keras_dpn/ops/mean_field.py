"""One mean-field update of a Markov random field."""

from collections.abc import Callable

from keras import ops

from keras_dpn.typing import Tensor


def mean_field_update(
    unary: Tensor, logits: Tensor, pairwise: Callable[[Tensor], Tensor]
) -> Tensor:
    """Update all marginals in parallel, given the current ones.

        ln q_i^u <- -Phi_i^u - (the cost of u at i, given the other marginals)

    up to a constant (ICCV 2015, eq. 6), which the Deep Parsing Network's b12-b15 compute with its
    triple penalty and label contexts (eq. 9) and fully connected CRFs with Gaussian kernels.

    Args:
        unary: `(B, *S, L)`, -Phi, for example a network's logits.
        logits: `(B, *S, L)`, whose softmax are the current marginals.
        pairwise: function from marginals `(B, *S, L)` to their penalties `(B, *S, L)`.

    Returns:
        `(B, *S, L)`, logits of the updated marginals.

    Example:

    >>> unary = keras.ops.array([[[0.0, 1.0]]])
    >>> mean_field_update(unary, unary, pairwise=lambda q: 0.0 * q)
    [[[0. 1.]]]
    """
    return unary - pairwise(ops.softmax(logits, axis=-1))
