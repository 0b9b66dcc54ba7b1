"""Class probabilities as NumPy arrays: from logits, and to labels."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits (..., L), along the last axis."""
    exponential = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def class_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits (..., L): their softmax.

    Of one class, (..., 1), those of two labels (..., 2), not the class and the class, whose second
    is the sigmoid.
    """
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    return softmax(logits)


def to_labels(probabilities: np.ndarray) -> np.ndarray:
    """Return the most probable class: (..., L) to uint8 (...), or int32 above 256 classes."""
    dtype = np.uint8 if probabilities.shape[-1] <= 256 else np.int32
    return np.argmax(probabilities, axis=-1).astype(dtype)
