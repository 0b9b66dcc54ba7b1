"""The signatures of a served model: from bytes, arrays and clips to label maps and PNGs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from keras_dpn.export.clips import MAX_BATCH, clip_signatures
from keras_dpn.export.headers import checked
from keras_dpn.export.heads import call_as_clips, call_heads, head_maps, head_names, trace
from keras_dpn.export.images import (
    check_size,
    decode_image,
    encoded_size,
    label_png,
    overlay_png,
    padded_pixels,
)
from keras_dpn.limits import SMALL
from keras_dpn.models import traits
from keras_dpn.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

OUTPUTS = ("labels", "probabilities", "overlay", "label_png", "classes", "stages")
IGNORE = 255
# Maps of an image's size, and their values below and to the right of smaller images.
_PADDING = {
    "labels": IGNORE,
    "probabilities": 0,
    "stage_labels": IGNORE,
    "stage_confidences": 0,
}
# Outputs that are files, which have a signature of their own, as REST returns all outputs.
FILES = ("overlay", "label_png")
_HEAD_MAPS = ("stage_labels", "stage_confidences")


def signatures(
    model: keras.Model,
    *,
    outputs: Sequence[str],
    classes: Mapping[str, Any] | None,
    image_size: int | tuple[int, int] | None,
    shorter_side: int | None,
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
        shorter_side: None, or the shorter side to which images are resized.
        max_pixels: largest number of pixels of an image.
        jit_compile: whether XLA compiles the model.

    Returns:
        A function and its `tf.TensorSpec`s for each signature's name.
    """
    resizing = _Resizing(image_size, shorter_side)
    answers = _ImageSignatures(model, outputs, classes, resizing, max_pixels, jit_compile)
    files = [tf.TensorSpec((None,), "string", "image_bytes")]
    from_bytes = tf.function(answers.from_bytes, files, autograph=False).get_concrete_function()
    found: dict[str, tuple[Callable[..., Any], list[Any]]] = {
        "serving_default": (lambda image_bytes: from_bytes(image_bytes), files),
        "image": (answers.from_arrays, [tf.TensorSpec((None, None, None, 3), "uint8", "image")]),
    }
    for name in FILES:
        if name in outputs:
            found[name] = (partial(_one_output, from_bytes, f"{name}_bytes"), files)
    if traits(model).clip_frames is not None:
        found |= clip_signatures(model, outputs, max_pixels, jit_compile)
    return found


def _one_output(
    function: Callable[..., dict[str, Tensor]], name: str, image_bytes: Tensor
) -> dict[str, Tensor]:
    """Return one of a signature's outputs, with the sizes: REST would leave out a single name."""
    answers = function(image_bytes)
    return {name: answers[name], "sizes": answers["sizes"]}


@dataclass(frozen=True)
class _Resizing:
    """The size that the network sees of an image, see `signatures`."""

    image_size: int | tuple[int, int] | None
    shorter_side: int | None

    @property
    def is_needed(self) -> bool:
        return self.image_size is not None or self.shorter_side is not None

    @property
    def fixed_size(self) -> tuple[int | None, int | None]:
        return self.image_size if isinstance(self.image_size, tuple) else (None, None)

    def size_of(self, size: Tensor) -> Tensor:
        """Return height and width, int32 (2,), that the network sees of an image (2,)."""
        if isinstance(self.image_size, tuple):
            return tf.constant(self.image_size)
        exact = tf.cast(size, "float64")
        if self.shorter_side is not None:
            factor = self.shorter_side / tf.reduce_min(exact)
        elif self.image_size is not None:
            factor = tf.minimum(tf.ones((), "float64"), self.image_size / tf.reduce_max(exact))
        else:
            return size
        scaled = tf.round(factor * exact)
        return tf.maximum(1, tf.cast(tf.minimum(scaled, 2.0**31 - 1), "int32"))


class _ImageSignatures:
    """Signatures for images, each of which gets the same prediction as by itself."""

    def __init__(
        self,
        model: keras.Model,
        outputs: Sequence[str],
        classes: Mapping[str, Any] | None,
        resizing: _Resizing,
        max_pixels: int,
        jit_compile: bool,
    ) -> None:
        self.outputs, self.classes = outputs, classes
        self.resizing, self.max_pixels = resizing, max_pixels
        self.num_classes = max(2, model.output_shape[-1])
        self.num_heads = len(head_names(model, outputs))
        dtype = "float32" if resizing.is_needed else "uint8"
        spec = tf.TensorSpec((None, *resizing.fixed_size, 3), dtype)
        network = call_heads(model, outputs)
        if traits(model).clip_frames is not None:
            network = call_as_clips(model, network)
        self.logits = trace(network, [spec], jit_compile)

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
        most = tf.reduce_max(tf.map_fn(self._pixels, sizes, fn_output_signature="int64"))
        together = tf.cast(tf.maximum(max(self.max_pixels, SMALL) // most, 1), "int32")
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

    def _pixels(self, size: Tensor) -> Tensor:
        """Return the pixels that an image (2,) has in memory, before or after it is resized."""
        return tf.maximum(padded_pixels(size), padded_pixels(self.resizing.size_of(size)))

    def _no_answers(self, height: Tensor, width: Tensor) -> dict[str, Tensor]:
        empty = {"labels": tf.zeros(tf.stack([0, height, width]), "uint8")}
        if "probabilities" in self.outputs:
            empty["probabilities"] = tf.zeros(tf.stack([0, height, width, self.num_classes]))
        if "stages" in self.outputs:
            nothing = tf.zeros(tf.stack([0, self.num_heads, height, width]), "uint8")
            empty |= dict.fromkeys(_HEAD_MAPS, nothing)
        for name in FILES:
            if name in self.outputs:
                empty[f"{name}_bytes"] = tf.zeros((0,), "string")
        return empty

    def _answer_alike(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs for images of one size (B, H, W, 3)."""
        answer = head_maps(self._scores(images), self.outputs)
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
        if not self.resizing.is_needed:
            return self.logits(images)
        size = tf.shape(images)[1:3]
        seen = self.resizing.size_of(size)
        if self.resizing.shorter_side is not None:  # which a long image far exceeds
            seen = check_size(seen, self.max_pixels)
        logits = self.logits(tf.image.resize(images, seen, antialias=True))
        return [tf.math.log(tf.image.resize(tf.nn.softmax(x), size)) for x in logits]


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
