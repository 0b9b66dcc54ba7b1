"""The label contexts that a Deep Parsing Network has learned: b13's filters and their sign."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dpn.viz.contexts import frame_kernels

if TYPE_CHECKING:
    from keras_dpn.models.staged import StagedModel

# Fraction of the probability for which b12's penalties must agree on a sign.
_AGREEMENT = 0.9


def context_kernels(network: "StagedModel") -> np.ndarray | None:
    """Return b13's filters by frame, `(frames, n, n, L, L K)`; None without label contexts."""
    if network.pairwise != "contexts":
        return None
    kernel = keras.ops.convert_to_numpy(network.get_layer("b13").kernel)
    return frame_kernels(kernel, network.clip_frames or 1)


def triple_penalty_sign(network: "StagedModel", inputs: Any) -> int:
    """Return whether b12's penalty is larger (1) or smaller (-1) where a label is present, or 0.

    The sign of b12's weights isn't enough: colours and positions may have opposite signs, and which
    of them dominates depends on the image, or on the position in it. Each pixel and label counts
    with its probability in the unary term.

    Args:
        network: a network with b12.
        inputs: a batch of the network's inputs.

    Returns:
        1 or -1 if nine tenths of the probability agree on the sign; 0 otherwise.
    """
    if network.num_classes == 1:
        names = ("b11_log", "b12")
        layers = keras.Model(network.input, [network.get_layer(name).output for name in names])
        unary, o12 = (keras.ops.reshape(x, (-1, 2)) for x in layers(inputs))
    else:
        unary, triple = (network.head_model(head)(inputs) for head in ("unary", "triple"))
        o12 = unary - triple
    penalty = keras.ops.convert_to_numpy(o12 - network.get_layer("b12").b)
    present = keras.ops.convert_to_numpy(keras.ops.softmax(unary))
    larger = (present * (penalty > 0)).sum() / present.sum()
    return 1 if larger >= _AGREEMENT else -1 if larger <= 1 - _AGREEMENT else 0
