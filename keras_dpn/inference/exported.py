"""Exported models as networks: a SavedModel that `keras_dpn.export.export` wrote."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.inference.images import size_of_shorter_side
from keras_dpn.presets.files import METADATA
from keras_dpn.presets.source import RUN_MODEL, available
from keras_dpn.typing import Tensor

FACTS = "model.json"
SAVED_MODEL = "saved_model.pb"


def exported_version(source: str | Path) -> Path | None:
    """Return the directory of an exported model's version.

    Args:
        source: such a directory, or the model's, whose highest version is taken.

    Returns:
        None for anything else, such as the name of an included preset, or the directory of a
        preset or a training run that also holds an export.
    """
    if str(source) in available():  # a directory of this name is not meant
        return None
    path = Path(source)
    if (path / SAVED_MODEL).is_file():
        return path
    if any((path / name).is_file() for name in (METADATA, RUN_MODEL)):
        return None
    versions = [p.parent for p in path.glob(f"*/{SAVED_MODEL}") if p.parent.name.isdecimal()]
    return max(versions, key=lambda version: int(version.name), default=None)


def read_facts(version: Path) -> dict[str, Any]:
    """Return what an exported model says of itself; "classes" are `Classes`.

    Raises:
        ValueError: if its `model.json` is missing, damaged, another, or without such classes.
    """
    path = version / FACTS
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: can't be read ({error}). Export again.") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("max_pixels"), int):
        raise ValueError(f"{path}: expected what `keras_dpn.export.export` writes. Export again.")
    if not facts.get("classes"):
        raise ValueError(
            f"{path}: names no classes. Export with the argument `classes`, as `keras-dpn export` "
            "does."
        )
    try:
        return facts | {"classes": Classes.from_json(facts["classes"])}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


class ExportedModel(keras.Model):
    """A network of images that is a SavedModel. Its layers and weights are not Keras's.

    A SavedModel is a program: open only those whose maker you trust.

    Args:
        version: the directory of a version, see `exported_version`.

    Attributes:
        classes: `Classes`.
        max_pixels: largest number of pixels of an image.
        shorter_side: that to which it resizes images, in pixels; None for their own size.
        resizes: whether it resizes images itself, so that other scales have no effect.
        has_probabilities: whether it was exported with the output "probabilities". If not, the
            label of each pixel counts as certain.

    Raises:
        ValueError: if Keras runs on another backend than TensorFlow, for a model of clips, and as
            `read_facts`.
    """

    def __init__(self, version: Path) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"{version}: expected Keras's TensorFlow backend for an exported model, received "
                f"{keras.backend.backend()}."
            )
        import tensorflow as tf

        facts = read_facts(version)
        if (facts.get("frames") or 1) != 1:
            raise ValueError(f"{version}: expected a network of images, received one of clips.")
        super().__init__(name="exported", dtype="float32", trainable=False)
        self.classes: Classes = facts["classes"]
        self.max_pixels: int = facts["max_pixels"]
        self.shorter_side: int | None = facts.get("shorter_side")
        self.resizes = bool(facts.get("image_size") or self.shorter_side)
        self._loaded = tf.saved_model.load(str(version))  # its variables are released with it
        if "image" not in self._loaded.signatures:
            raise ValueError(f"{version}: expected the signature `image`. Export again.")
        self._served = self._loaded.signatures["image"]
        self.has_probabilities = "probabilities" in self._served.structured_outputs

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        """As Keras's; images too large for the model once it has resized them are a SizeError."""
        if self.shorter_side is not None:
            _, height, width, _ = x.shape
            size_of_shorter_side(height, width, self.shorter_side, self.max_pixels)
        return super().predict_on_batch(x)

    def call(self, images: Tensor) -> Tensor:
        """Return the logarithm of the probabilities, float32 (B, H, W, L).

        Args:
            images: (B, H, W, 3), RGB, 0-255.
        """
        answer = self._served(image=keras.ops.cast(keras.ops.round(images), "uint8"))
        if self.has_probabilities:
            probabilities = answer["probabilities"]
        else:
            probabilities = keras.ops.one_hot(answer["labels"], self.classes.num_classes)
        return keras.ops.log(keras.ops.maximum(probabilities, np.finfo("float32").tiny))
