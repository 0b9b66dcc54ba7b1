"""The model behind the page, asked for labels and confidences at each head.

An exported model runs without Keras; presets and training runs go through `Segmenter`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from keras_dpn.classes import Classes
from keras_dpn.client.video import clips
from keras_dpn.io.flow import dis_flow
from keras_dpn.segmenter import Segmentation, Segmenter

FACTS = "model.json"


class Found(NamedTuple):
    """What a model says of a picture after each of its S stages.

    Attributes:
        labels: uint8 (S, H, W).
        confidences: uint8 (S, H, W), percent; None where the model doesn't tell.
        is_unfamiliar: whether the model is less sure than of any validation image.
    """

    labels: np.ndarray
    confidences: np.ndarray | None
    is_unfamiliar: bool = False


class Model(Protocol):
    """What the page needs of a model.

    Attributes:
        classes: the model's `Classes`.
        stages: names of its heads.
        max_pixels: the most that a picture may have.
        description: a line on it, or "".
    """

    classes: Classes
    stages: tuple[str, ...]
    max_pixels: int
    description: str

    def __call__(self, image: np.ndarray) -> Found:
        """Label a picture, uint8 RGB (H, W, 3)."""

    def film(self, frames: Iterable[np.ndarray]) -> Iterator[Found]:
        """Label each frame of a film, uint8 RGB (H, W, 3)."""


class LoadedModel:
    """A preset or a run, through `Segmenter`; attributes and calls as of `Model`."""

    max_pixels = 2**62  # Segmenter cuts into tiles what the memory doesn't hold

    def __init__(self, segmenter: Segmenter):
        self._segmenter = segmenter
        self.classes = segmenter.classes
        self.stages = segmenter.predictor.heads
        self.description = segmenter.description

    def __call__(self, image: np.ndarray) -> Found:
        """Label a picture, uint8 RGB (H, W, 3)."""
        return _found(self._segmenter.image(image))

    def film(self, frames: Iterable[np.ndarray]) -> Iterator[Found]:
        """Label each frame of a film, uint8 RGB (H, W, 3)."""
        return map(_found, self._segmenter.video(frames))


def _found(result: Segmentation) -> Found:
    heads = list(result.maps)
    # Per head, since the probabilities of all at the image's size would take too much memory.
    labels = np.stack([result.head_labels(head) for head in heads])
    highest = (result.head_confidences(head) for head in heads)
    confidences = np.stack([np.rint(100 * p).astype("uint8") for p in highest])
    return Found(labels, confidences, bool(result.is_unfamiliar))


class ServedModel:
    """An exported model, run from its SavedModel alone.

    Args:
        path: directory of a version, as saved_models/street/1.

    Attributes:
        path: the directory.
        classes: the model's `Classes`.
        stages: names of the stages, only "final" for a model exported without the output "stages".
        max_pixels: the most that a picture may have.

    Raises:
        ValueError: for a directory that is none, and for a model that was exported without its
            classes.
    """

    def __init__(self, path: Path):
        facts = _read_facts(path)
        self.path = path
        self.classes = Classes.from_json(facts["classes"])
        self.stages = tuple(facts.get("stages") or ("final",))
        self.max_pixels = int(facts["max_pixels"])
        self._frames = int(facts.get("frames") or 1)  # of the clips that it takes
        self.description = ""
        self._loaded = tf.saved_model.load(path)  # its variables go when it goes

    def __call__(self, image: np.ndarray) -> Found:
        """Asks for a picture, uint8 RGB (H, W, 3)."""
        return self._asked("image", {"image": image})

    def film(self, frames: Iterable[np.ndarray]) -> Iterator[Found]:
        """Asks for each frame of a film, uint8 RGB (H, W, 3), with those beside it if it can."""
        if self._frames == 1:
            yield from map(self, frames)
            return
        links = "clip_with_flow" in self._loaded.signatures
        for clip in clips(frames, self._frames, dis_flow if links else None):
            found = self._asked("clip_with_flow" if links else "clip", clip)
            confidences = found.confidences
            yield Found(
                _middle(found.labels), None if confidences is None else _middle(confidences)
            )

    def _asked(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Found:
        """The answer to a batch of one; to a clip with its time before H and W if it has one."""
        batch = {name: tf.constant(x[None]) for name, x in inputs.items()}
        answer = self._loaded.signatures[signature](**batch)
        if "stage_labels" in answer:
            maps = answer["stage_labels"], answer["stage_confidences"]
            return Found(*(x[0].numpy() for x in maps))
        confidences = None
        if "probabilities" in answer:
            highest = answer["probabilities"].numpy().max(axis=-1)
            confidences = np.rint(100 * highest).astype("uint8")
        return Found(answer["labels"].numpy(), confidences)


def _middle(maps: np.ndarray) -> np.ndarray:
    """Those of a clip's middle frame (S, H, W), also where a network labels all: (S, T, H, W)."""
    return maps if maps.ndim == 3 else maps[:, maps.shape[1] // 2]


def open_model(source: str) -> Model:
    """Open what a user calls a model.

    Args:
        source: an exported model, saved_models/street, of which the highest version is taken; one
            of its versions; a preset, or the directory of a training run, see
            `keras_dpn.models.from_preset`.

    Raises:
        ValueError: where there is no model, and as `ServedModel` and `Segmenter.from_preset`.
    """
    path = Path(source)
    if (path / "saved_model.pb").is_file():
        return ServedModel(path)
    versions = [p for p in path.glob("*/saved_model.pb") if p.parent.name.isdecimal()]
    if versions:
        return ServedModel(max(versions, key=lambda p: int(p.parent.name)).parent)
    return LoadedModel(Segmenter.from_preset(source, heads="all"))


def _read_facts(path: Path) -> dict:
    try:
        facts = json.loads((path / FACTS).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path / FACTS}: can't be read ({error}). Export again.") from None
    if not facts.get("classes"):
        raise ValueError(
            f"{path / FACTS}: names no classes. Export with keras_dpn.export's `classes`, as "
            "training.export does."
        )
    return facts
