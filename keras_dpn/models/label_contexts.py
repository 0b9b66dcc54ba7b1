"""What a Deep Parsing Network has learned about labels: b13's filters, and how to read them."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dpn.viz.contexts import frame_kernels

if TYPE_CHECKING:
    from keras_dpn.models.staged import StagedModel

# Fraction of the probability at which b12's penalties must agree for a sign to be named.
_AGREEMENT = 0.9


def context_kernels(network: "StagedModel") -> np.ndarray | None:
    """Return b13's filters by frame, `(frames, n, n, L, L K)`; None without label contexts."""
    if network.pairwise != "contexts":
        return None
    kernel = keras.ops.convert_to_numpy(network.get_layer("b13").kernel)
    return frame_kernels(kernel, network.clip_frames or 1)


def triple_penalty_sign(network: "StagedModel", inputs: Any) -> int:
    """Return whether b12's penalty is larger (1) or smaller (-1) where a label is present, or 0.

    The sign of b12's weights alone does not tell: colors and positions may pull apart, and which
    of them wins depends on the image, or on the position in it. Each pixel and label counts with
    its probability in the unary term.

    Args:
        network: a network with b12.
        inputs: what the network takes, a batch.

    Returns:
        1 or -1 where nine tenths of the probability agree; 0 if they do not.
    """
    unary, triple = (network.head_model(head)(inputs) for head in ("unary", "triple"))
    penalty = keras.ops.convert_to_numpy(unary - triple - network.get_layer("b12").b)
    present = keras.ops.convert_to_numpy(keras.ops.softmax(unary))
    larger = (present * (penalty > 0)).sum() / present.sum()
    return 1 if larger >= _AGREEMENT else -1 if larger <= 1 - _AGREEMENT else 0
