"""The signatures of a served model: from bytes, arrays and clips to label maps and PNGs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_dpn.export.images import (
    check_size,
    checked,
    decode_image,
    encoded_size,
    label_png,
    overlay_png,
)
from keras_dpn.models import traits
from keras_dpn.ops import two_labels
from keras_dpn.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

OUTPUTS = ("labels", "probabilities", "overlay", "label_png", "classes", "stages")
# The response to a batch, padded to one size, has at most this many times `max_pixels`.
MAX_BATCH = 16
IGNORE = 255
# Maps of an image's size, and their values below and to the right of smaller images.
_PADDING = {
    "labels": IGNORE,
    "probabilities": 0,
    "stage_labels": IGNORE,
    "stage_confidences": 0,
}
_HEAD_MAPS = ("stage_labels", "stage_confidences")


def signatures(
    model: keras.Model,
    *,
    outputs: Sequence[str],
    classes: Mapping[str, Any] | None,
    image_size: int | tuple[int, int] | None,
    max_pixels: int,
    jit_compile: bool,
) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """The signatures of a model's SavedModel.

    Args:
        model: from images (B, H, W, 3) to logits, or a network for clips.
        outputs: some of `OUTPUTS`.
        classes: None, or "names" and "colors" of the classes.
        image_size: None, images stay as they are; n, those with a longer side than n
            pixels are downsampled to n; `(height, width)`, all are resized to this.
        max_pixels: largest number of pixels of an image.
        jit_compile: whether XLA compiles the model.

    Returns:
        A function and its `tf.TensorSpec`s for each signature's name.
    """
    answers = _ImageSignatures(model, outputs, classes, image_size, max_pixels, jit_compile)
    found = {
        "serving_default": (
            answers.from_bytes,
            [tf.TensorSpec((None,), "string", "image_bytes")],
        ),
        "image": (answers.from_arrays, [tf.TensorSpec((None, None, None, 3), "uint8", "image")]),
    }
    if traits(model).clip_frames is not None:
        found |= _clip_signatures(model, outputs, max_pixels, jit_compile)
    return found


class _ImageSignatures:
    """Signatures for images, each of which gets the same prediction as by itself."""

    def __init__(
        self,
        model: keras.Model,
        outputs: Sequence[str],
        classes: Mapping[str, Any] | None,
        image_size: int | tuple[int, int] | None,
        max_pixels: int,
        jit_compile: bool,
    ) -> None:
        self.outputs, self.classes = outputs, classes
        self.image_size, self.max_pixels = image_size, max_pixels
        self.num_classes = max(2, model.output_shape[-1])
        self.num_heads = len(_head_names(model, outputs))
        size = image_size if isinstance(image_size, tuple) else (None, None)
        spec = tf.TensorSpec((None, *size, 3), "uint8" if image_size is None else "float32")
        network = _network(model, outputs)
        if traits(model).clip_frames is not None:
            network = _still(model, network)
        self.logits = _traced(network, [spec], jit_compile)

    def from_bytes(self, image_bytes: Tensor) -> dict[str, Tensor]:
        sizes = tf.map_fn(
            lambda data: encoded_size(data, self.max_pixels),
            image_bytes,
            fn_output_signature=tf.TensorSpec((2,), "int32"),
        )

        def load(start: Tensor, stop: Tensor) -> Tensor:
            pixels = tf.TensorSpec((None, None, 3), "uint8")
            return tf.map_fn(decode_image, image_bytes[start:stop], fn_output_signature=pixels)

        return self._answer(sizes, load)

    def from_arrays(self, image: Tensor) -> dict[str, Tensor]:
        batch, height, width, _ = tf.unstack(tf.shape(image))
        size = check_size(tf.stack([height, width]), self.max_pixels)
        sizes = tf.tile(size[None], tf.stack([batch, 1]))
        return self._answer(sizes, lambda start, stop: image[start:stop])

    def _answer(self, sizes: Tensor, load: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        """Predict images of one size together, up to `max_pixels` at a time."""
        batch = tf.shape(sizes)[0]
        sizes = checked(batch > 0, ["expected at least one image, received none"], sizes)
        tallest, widest = tf.unstack(tf.reduce_max(sizes, axis=0))
        area = tf.cast(tallest, "int64") * tf.cast(widest, "int64")
        message = (
            f"expected a batch of at most {MAX_BATCH * self.max_pixels} pixels with all images "
            "at the size of the largest; send fewer at a time"
        )
        fits = tf.cast(batch, "int64") * area <= MAX_BATCH * self.max_pixels
        batch, tallest, widest = checked(fits, [message], (batch, tallest, widest))
        together = tf.cast(tf.maximum(self.max_pixels // area, 1), "int32")
        together = tf.where(tf.reduce_all(sizes == sizes[:1]), together, 1)

        def step(start: Tensor, answers: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            found = self._answer_alike(load(start, tf.minimum(start + together, batch)))
            padded = {
                name: _padded(name, x, tallest, widest) if name in _PADDING else x
                for name, x in found.items()
            }
            return start + together, {
                name: tf.concat([answers[name], x], axis=0) for name, x in padded.items()
            }

        nothing = self._no_answers(tallest, widest)
        shapes = {name: tf.TensorShape([None] * x.shape.rank) for name, x in nothing.items()}
        if "probabilities" in shapes:
            shapes["probabilities"] = tf.TensorShape((None, None, None, self.num_classes))
        for name in shapes.keys() & set(_HEAD_MAPS):
            shapes[name] = tf.TensorShape((None, self.num_heads, None, None))
        _, answers = tf.while_loop(
            lambda start, _: start < batch,
            step,
            (0, nothing),
            (tf.TensorShape(()), shapes),
            parallel_iterations=1,
        )
        if self.classes is not None and "classes" in self.outputs:
            answers |= _tiled_classes(self.classes, batch)
        return answers | {"sizes": sizes}

    def _no_answers(self, height: Tensor, width: Tensor) -> dict[str, Tensor]:
        empty = {"labels": tf.zeros(tf.stack([0, height, width]), "uint8")}
        if "probabilities" in self.outputs:
            empty["probabilities"] = tf.zeros(tf.stack([0, height, width, self.num_classes]))
        if "stages" in self.outputs:
            nothing = tf.zeros(tf.stack([0, self.num_heads, height, width]), "uint8")
            empty |= dict.fromkeys(_HEAD_MAPS, nothing)
        for name in ("overlay", "label_png"):
            if name in self.outputs:
                empty[f"{name}_bytes"] = tf.zeros((0,), "string")
        return empty

    def _answer_alike(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs for images of one size (B, H, W, 3)."""
        answer = _answer(self._scores(images), self.outputs)
        labels = answer["labels"]
        colors: Any = self.classes["colors"] if self.classes else None
        string = tf.TensorSpec((), "string")
        if "overlay" in self.outputs:
            answer["overlay_bytes"] = tf.map_fn(
                lambda pair: overlay_png(pair[0], pair[1], colors),
                (images, labels),
                fn_output_signature=string,
            )
        if "label_png" in self.outputs:
            answer["label_png_bytes"] = tf.map_fn(
                lambda x: label_png(x, colors), labels, fn_output_signature=string
            )
        return answer

    def _scores(self, images: Tensor) -> list[Tensor]:
        """Return logits at each head; for a fixed input size, the log of resized probabilities."""
        if self.image_size is None:
            return self.logits(images)
        size = tf.shape(images)[1:3]
        if isinstance(self.image_size, tuple):
            seen = tf.constant(self.image_size)
        else:
            shrink = tf.minimum(1.0, self.image_size / tf.cast(tf.reduce_max(size), "float32"))
            seen = tf.maximum(1, tf.cast(tf.round(shrink * tf.cast(size, "float32")), "int32"))
        logits = self.logits(tf.image.resize(images, seen, antialias=True))
        return [tf.math.log(tf.image.resize(tf.nn.softmax(x), size)) for x in logits]


def _clip_signatures(
    model: keras.Model, outputs: Sequence[str], max_pixels: int, jit_compile: bool
) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    inputs = model.input if traits(model).needs_flow else {"frames": model.input}
    specs = {
        name: tf.TensorSpec(x.shape, "float32" if name.endswith("flow") else "uint8", name)
        for name, x in inputs.items()
    }

    network = _network(model, outputs)

    def call(*tensors: Tensor) -> list[Tensor]:
        inputs = dict(zip(specs, tensors, strict=True))
        return network(inputs if len(specs) > 1 else inputs["frames"])

    logits = _traced(call, [*specs.values()], jit_compile)

    def clip_with_flow(frames: Tensor, *flows: Tensor) -> dict[str, Tensor]:
        frames = _checked_clip(frames, not _labels_all_frames(model), max_pixels)
        return _answer(logits(frames, *flows), outputs)

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
    fits &= batch * time * height * width <= MAX_BATCH * max_pixels
    message = f"expected clips of frames of 1 to {max_pixels} pixels, and {MAX_BATCH} times as many"
    frames = checked(fits, [f"{message} in all"], frames)
    if not needs_middle:
        return frames
    parts = ["expected clips of an odd number of frames, received ", tf.strings.as_string(time)]
    return checked(time % 2 == 1, parts, frames)


def _head_names(model: keras.Model, outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the heads in the outputs, the last of them the model's output."""
    return traits(model).head_names if "stages" in outputs else ("final",)


def _network(model: keras.Model, outputs: Sequence[str]) -> Callable[..., list[Tensor]]:
    """Return a function from a model's inputs to the logits at each of `_head_names`."""
    if "stages" not in outputs:
        return lambda inputs: [model(inputs, training=False)]
    heads = [model.head_model(name).output for name in _head_names(model, outputs)]
    network = keras.Model(model.input, heads)
    return lambda inputs: keras.tree.flatten(network(inputs, training=False))


def _still(model: keras.Model, network: Callable[..., Any]) -> Callable[[Tensor], list[Tensor]]:
    """Return a network for clips as one for images, each of them a clip of one frame."""
    needs_flow, labels_all = traits(model).needs_flow, _labels_all_frames(model)

    def call(images: Tensor) -> list[Tensor]:
        frames = images[:, None]
        nothing = tf.zeros_like(frames[:, 1:, ..., :2], "float32")
        flows = {"forward_flow": nothing, "backward_flow": nothing}
        inputs = {"frames": frames, **flows} if needs_flow else frames
        logits = network(inputs)
        return [x[:, 0] for x in logits] if labels_all else logits

    return call


def _labels_all_frames(model: keras.Model) -> bool:
    """Return whether a network for clips returns the logits of all frames (B, T, H, W, L)."""
    return len(model.output_shape) == 5


def _traced(
    function: Callable[..., Sequence[Tensor]], specs: list[Any], jit_compile: bool
) -> Callable[..., list[Tensor]]:
    """Return the function as one graph for all signatures, with a list of float32 logits."""

    def call(*inputs: Tensor) -> list[Tensor]:
        return [two_labels(tf.cast(x, "float32")) for x in function(*inputs)]

    traced = tf.function(call, specs, autograph=False, jit_compile=jit_compile or None)
    return traced.get_concrete_function()


def _answer(heads: Sequence[Tensor], outputs: Sequence[str]) -> dict[str, Tensor]:
    """Return the requested maps of logits at each head (B, ..., H, W, L)."""
    answer = {"labels": _labels(heads[-1])}
    if "probabilities" in outputs:
        answer["probabilities"] = tf.nn.softmax(heads[-1])
    if "stages" in outputs:
        answer["stage_labels"] = tf.stack([_labels(x) for x in heads], axis=1)
        answer["stage_confidences"] = tf.stack([_confidences(x) for x in heads], axis=1)
    return answer


def _labels(logits: Tensor) -> Tensor:
    return tf.cast(tf.argmax(logits, axis=-1, output_type="int32"), "uint8")


def _confidences(logits: Tensor) -> Tensor:
    """Return the most probable label's probability in percent, rounded: uint8."""
    return tf.cast(tf.round(100 * tf.reduce_max(tf.nn.softmax(logits), axis=-1)), "uint8")


def _padded(name: str, x: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Pad maps (B, h, w), (B, h, w, L) or (B, S, h, w) at the bottom and the right."""
    rows = 2 if name in _HEAD_MAPS else 1
    shape = tf.shape(x)
    missing = [[0, 0]] * x.shape.rank
    missing[rows] = [0, height - shape[rows]]
    missing[rows + 1] = [0, width - shape[rows + 1]]
    return tf.pad(x, missing, constant_values=tf.cast(_PADDING[name], x.dtype))


def _tiled_classes(classes: Mapping[str, Any], batch: Tensor) -> dict[str, Tensor]:
    """Repeat names and colours for each image: servers split responses along the batch."""
    names, colors = tf.constant([classes["names"]]), tf.constant([classes["colors"]], "uint8")
    return {
        "class_names": tf.tile(names, tf.stack([batch, 1])),
        "class_colors": tf.tile(colors, tf.stack([batch, 1, 1])),
    }
