"""The model of the page: labels and confidences at each head.

An exported model runs without Keras; presets and training runs go through `Segmenter`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from keras_dpn.classes import Classes
from keras_dpn.client.video import clips
from keras_dpn.inference.exported import exported_version, read_facts
from keras_dpn.io.flow import dis_flow
from keras_dpn.segmentation import Segmentation
from keras_dpn.segmenter import Segmenter


class Prediction(NamedTuple):
    """The labels of an image at each of a model's S heads.

    Attributes:
        labels: uint8 (S, H, W).
        confidences: uint8 (S, H, W), percent; None if the model doesn't return them.
        is_unfamiliar: whether the confidence is lower than on any validation image.
    """

    labels: np.ndarray
    confidences: np.ndarray | None
    is_unfamiliar: bool = False


class Model(Protocol):
    """Interface of a model for the page.

    Attributes:
        classes: the model's `Classes`.
        heads: names of its heads.
        max_pixels: largest number of pixels of an image.
        description: the model in one line, or "".
    """

    classes: Classes
    heads: tuple[str, ...]
    max_pixels: int
    description: str

    def __call__(self, image: np.ndarray) -> Prediction:
        """Predict an image, uint8 RGB (H, W, 3)."""

    def video(self, frames: Iterable[np.ndarray]) -> Iterator[Prediction]:
        """Predict each frame of a video, uint8 RGB (H, W, 3)."""


class LoadedModel:
    """A preset or a run, through `Segmenter`; attributes and calls as of `Model`."""

    max_pixels = 2**62  # Segmenter tiles images that don't fit into memory

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.classes = segmenter.classes
        self.heads = segmenter.predictor.heads
        self.description = segmenter.description

    def __call__(self, image: np.ndarray) -> Prediction:
        """Predict an image, uint8 RGB (H, W, 3)."""
        return _to_prediction(self._segmenter.image(image))

    def video(self, frames: Iterable[np.ndarray]) -> Iterator[Prediction]:
        """Predict each frame of a video, uint8 RGB (H, W, 3)."""
        return map(_to_prediction, self._segmenter.video(frames))


def _to_prediction(segmentation: Segmentation) -> Prediction:
    heads = list(segmentation.maps)
    # Per head, since the probabilities of all at the image's size would take too much memory.
    labels = np.stack([segmentation.head_labels(head) for head in heads])
    highest = (segmentation.head_confidences(head) for head in heads)
    confidences = np.stack([np.rint(100 * p).astype("uint8") for p in highest])
    return Prediction(labels, confidences, bool(segmentation.is_unfamiliar))


class ServedModel:
    """An exported model, run from its SavedModel only.

    Args:
        path: directory of a version, such as saved_models/street/1.

    Attributes:
        path: the directory.
        classes: the model's `Classes`.
        heads: names of the heads, only "final" for a model exported without the output "stages".
        max_pixels: largest number of pixels of an image.

    Raises:
        ValueError: if the directory contains no exported model, or one without classes.
    """

    def __init__(self, path: Path) -> None:
        facts = read_facts(path)
        self.path = path
        self.classes: Classes = facts["classes"]
        self.heads = tuple(facts.get("stages") or ("final",))
        self.max_pixels = int(facts["max_pixels"])
        self._frames = int(facts.get("frames") or 1)  # of the clips that it takes
        self.description = ""
        self._loaded = tf.saved_model.load(path)  # its variables are released with it

    def __call__(self, image: np.ndarray) -> Prediction:
        """Predict an image, uint8 RGB (H, W, 3)."""
        return self._predict("image", {"image": image})

    def video(self, frames: Iterable[np.ndarray]) -> Iterator[Prediction]:
        """Predict each frame of a video, with its neighbours if the model takes clips."""
        if self._frames == 1:
            yield from map(self, frames)
            return
        links = "clip_with_flow" in self._loaded.signatures
        for clip in clips(frames, self._frames, dis_flow if links else None):
            prediction = self._predict("clip_with_flow" if links else "clip", clip)
            confidences = prediction.confidences
            yield Prediction(
                _center(prediction.labels), None if confidences is None else _center(confidences)
            )

    def _predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Prediction:
        """Return the prediction of a batch of one; for a clip it may have time before H and W."""
        batch = {name: tf.constant(x[None]) for name, x in inputs.items()}
        response = self._loaded.signatures[signature](**batch)
        if "stage_labels" in response:
            maps = response["stage_labels"], response["stage_confidences"]
            return Prediction(*(x[0].numpy() for x in maps))
        confidences = None
        if "probabilities" in response:
            highest = response["probabilities"].numpy().max(axis=-1)
            confidences = np.rint(100 * highest).astype("uint8")
        return Prediction(response["labels"].numpy(), confidences)


def _center(maps: np.ndarray) -> np.ndarray:
    """Return the maps of a clip's center frame, (S, H, W), from those or from (S, T, H, W)."""
    return maps if maps.ndim == 3 else maps[:, maps.shape[1] // 2]


def open_model(source: str) -> Model:
    """Open an exported model, a preset or a training run.

    Args:
        source: an exported model, such as saved_models/street, whose highest version is taken; one
            of its versions; a preset, or the directory of a training run, see
            `keras_dpn.models.from_preset`.

    Raises:
        ValueError: if there is no model, and as `ServedModel` and `Segmenter.from_preset`.
    """
    version = exported_version(source)
    if version is not None:
        return ServedModel(version)
    return LoadedModel(Segmenter.from_preset(source, heads="all"))
