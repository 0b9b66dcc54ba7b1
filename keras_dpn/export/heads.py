"""The network of a served model: from its inputs to the logits and the maps of its heads."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_dpn.models import traits
from keras_dpn.ops import two_labels
from keras_dpn.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def head_names(model: keras.Model, outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the heads in the outputs, the last of them the model's output."""
    return traits(model).head_names if "stages" in outputs else ("final",)


def call_heads(model: keras.Model, outputs: Sequence[str]) -> Callable[..., list[Tensor]]:
    """Return a function from a model's inputs to the logits at each of `head_names`."""
    if "stages" not in outputs:
        return lambda inputs: [model(inputs, training=False)]
    heads = [model.head_model(name).output for name in head_names(model, outputs)]
    up_to_heads = keras.Model(model.input, heads)
    return lambda inputs: keras.tree.flatten(up_to_heads(inputs, training=False))


def call_as_clips(
    model: keras.Model, network: Callable[..., Any]
) -> Callable[[Tensor], list[Tensor]]:
    """Return a network for clips as one for images, each of them a clip of one frame."""
    needs_flow, labels_all = traits(model).needs_flow, labels_all_frames(model)

    def call(images: Tensor) -> list[Tensor]:
        frames = images[:, None]
        nothing = tf.zeros_like(frames[:, 1:, ..., :2], "float32")
        flows = {"forward_flow": nothing, "backward_flow": nothing}
        inputs = {"frames": frames, **flows} if needs_flow else frames
        logits = network(inputs)
        return [x[:, 0] for x in logits] if labels_all else logits

    return call


def labels_all_frames(model: keras.Model) -> bool:
    """Return whether a network for clips returns the logits of all frames (B, T, H, W, L)."""
    return len(model.output_shape) == 5


def trace(
    function: Callable[..., Sequence[Tensor]], specs: list[Any], jit_compile: bool
) -> Callable[..., list[Tensor]]:
    """Return the function as one graph for all signatures, with a list of float32 logits."""

    def call(*inputs: Tensor) -> list[Tensor]:
        return [two_labels(tf.cast(x, "float32")) for x in function(*inputs)]

    traced = tf.function(call, specs, autograph=False, jit_compile=jit_compile or None)
    return traced.get_concrete_function()


def head_maps(heads: Sequence[Tensor], outputs: Sequence[str]) -> dict[str, Tensor]:
    """Return the requested maps of logits at each head (B, ..., H, W, L)."""
    maps = {"labels": _labels(heads[-1])}
    if "probabilities" in outputs:
        maps["probabilities"] = tf.nn.softmax(heads[-1])
    if "stages" in outputs:
        maps["stage_labels"] = tf.stack([_labels(x) for x in heads], axis=1)
        maps["stage_confidences"] = tf.stack([_confidences(x) for x in heads], axis=1)
    return maps


def _labels(logits: Tensor) -> Tensor:
    return tf.cast(tf.argmax(logits, axis=-1, output_type="int32"), "uint8")


def _confidences(logits: Tensor) -> Tensor:
    """Return the most probable label's probability in percent, rounded: uint8."""
    return tf.cast(tf.round(100 * tf.reduce_max(tf.nn.softmax(logits), axis=-1)), "uint8")
