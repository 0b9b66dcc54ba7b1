"""One class as the second of two labels."""

from keras import ops

from keras_dpn.typing import Tensor


def two_labels(logits: Tensor) -> Tensor:
    """Return the logits of one class, `(..., 1)`, as those of two labels, "not it" and "it".

    The softmax of the two is the sigmoid of the one: a random field or a loss of two labels then
    serves one class as well.

    Args:
        logits: `(..., 1)`; logits of other numbers of labels are returned as they are.

    Returns:
        `(..., 2)`, the first label's logits 0.

    Example:

    >>> two_labels(keras.ops.array([[3.0]]))
    [[0. 3.]]
    """
    if logits.shape[-1] != 1:
        return logits
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1)


def one_class(logits: Tensor) -> Tensor:
    """Return the logits of the second of two labels against the first, the other way round.

    Args:
        logits: `(..., 2)`.

    Returns:
        `(..., 1)`.

    Example:

    >>> one_class(keras.ops.array([[1.0, 3.0]]))
    [[2.]]
    """
    return logits[..., 1:] - logits[..., :1]
