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
    return ops.subtract(unary, pairwise(ops.softmax(logits, axis=-1)))


def parsing_field_logits(
    unary: Tensor,
    triple: Callable[[Tensor], Tensor],
    contexts: Callable[[Tensor], Tensor] | None = None,
    num_iterations: int = 1,
) -> dict[str, Tensor]:
    """Return the logits after each part of the Deep Parsing Network's random field, b12 to b15.

    Each mean-field update computes `o15 = ln o11 - o14` (ICCV 2015, eq. 9) with
    `o14 = contexts(triple(o15))` in place of the messages of eq. (6).

    Args:
        unary: `(B, *S, L)`, ln o11, up to a constant.
        triple: b12, a function from marginals `(B, *S, L)` to their triple penalties, of the same
            shape.
        contexts: b13 and b14, a function from triple penalties to the smallest mixtures of their
            label contexts, of the same shape; None for `o14 = o12`.
        num_iterations: mean-field updates, integer >= 1.

    Returns:
        Dictionary of `(B, *S, L)` in this order: "unary"; "triple", `ln o11 - o12`; "contexts",
        `ln o11 - o14` after the first update, if there are label contexts; "final", after the last.

    Example:

    >>> unary = keras.ops.array([[[0.0, 1.0]]])
    >>> parsing_field_logits(unary, triple=lambda q: 0.0 * q)["final"]
    [[[0. 1.]]]
    """
    heads = {"unary": unary}
    logits = unary
    for i in range(num_iterations):
        o12 = triple(ops.softmax(logits, axis=-1))
        logits = ops.subtract(unary, o12 if contexts is None else contexts(o12))
        if i == 0:
            heads["triple"] = ops.subtract(unary, o12)
            if contexts is not None:
                heads["contexts"] = logits
    heads["final"] = logits
    return heads
