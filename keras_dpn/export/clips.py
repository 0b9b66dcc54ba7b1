"""The signatures of a served network for clips: from frames and flow to label maps."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_dpn.export.headers import checked
from keras_dpn.export.heads import call_heads, head_maps, labels_all_frames, trace
from keras_dpn.export.images import padded_pixels
from keras_dpn.limits import MIN_SIDE, SMALL
from keras_dpn.models import traits
from keras_dpn.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

# The response to a batch, padded to one size, has at most this many times `max_pixels`.
MAX_BATCH = 16


def clip_signatures(
    model: keras.Model, outputs: Sequence[str], max_pixels: int, jit_compile: bool
) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """Return the signatures for clips, and for clips with flow where the network takes it.

    Args:
        model: a network for clips.
        outputs: some of `signatures.OUTPUTS`; clips have labels, probabilities and stages.
        max_pixels: largest number of pixels of a frame.
        jit_compile: whether XLA compiles the model.

    Returns:
        As `signatures.signatures`.
    """
    inputs = model.input if traits(model).needs_flow else {"frames": model.input}
    specs = {
        name: tf.TensorSpec(x.shape, "float32" if name.endswith("flow") else "uint8", name)
        for name, x in inputs.items()
    }

    network = call_heads(model, outputs)

    def call(*tensors: Tensor) -> list[Tensor]:
        inputs = dict(zip(specs, tensors, strict=True))
        return network(inputs if len(specs) > 1 else inputs["frames"])

    logits = trace(call, [*specs.values()], jit_compile)

    def clip_with_flow(frames: Tensor, *flows: Tensor) -> dict[str, Tensor]:
        frames = _checked_clip(frames, not labels_all_frames(model), max_pixels)
        return head_maps(logits(frames, *flows), outputs)

    def clip(frames: Tensor) -> dict[str, Tensor]:
        nothing_moves = tf.zeros_like(frames[:, 1:, ..., :2], "float32")
        return clip_with_flow(frames, *[nothing_moves] * (len(specs) - 1))

    signatures = {"clip": (clip, [specs["frames"]])}
    if len(specs) > 1:
        signatures["clip_with_flow"] = (clip_with_flow, [*specs.values()])
    return signatures


def _checked_clip(frames: Tensor, needs_middle: bool, max_pixels: int) -> Tensor:
    batch, time, height, width, _ = tf.unstack(tf.shape(frames, "int64"))
    fits = (batch * time * height * width > 0) & (height * width <= max_pixels)
    most, padded = max(max_pixels, SMALL), padded_pixels(tf.stack([height, width]))
    fits &= (padded <= most) & (batch * time * padded <= MAX_BATCH * most)
    message = f"expected clips of frames of 1 to {max_pixels} pixels, and {MAX_BATCH} times as many"
    frames = checked(fits, [f"{message} in all, with sides below {MIN_SIDE} as {MIN_SIDE}"], frames)
    if not needs_middle:
        return frames
    parts = ["expected clips of an odd number of frames, received ", tf.strings.as_string(time)]
    return checked(time % 2 == 1, parts, frames)
