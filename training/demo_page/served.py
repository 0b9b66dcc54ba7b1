"""A model as it is served: asked for labels and confidences after each stage, without Keras."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_dpn.classes import Classes
from keras_dpn.client.video import clips
from keras_dpn.io.flow import dis_flow

FACTS = "model.json"


class Found(NamedTuple):
    """What a model says of a picture after each of its S stages.

    Attributes:
        labels: uint8 (S, H, W).
        confidences: uint8 (S, H, W), percent; None where the model doesn't tell.
    """

    labels: np.ndarray
    confidences: np.ndarray | None


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
            yield Found(*(None if x is None else _middle(x) for x in found))

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


def open_model(path: Path, scratch: Path) -> ServedModel:
    """Opens what a user calls a model.

    Args:
        path: an exported model, saved_models/street, of which the highest version is taken; one of
            its versions; or the directory of a training run, whose model is exported first.
        scratch: directory for that export.

    Raises:
        ValueError: where there is no model, and as `ServedModel`.
    """
    if (path / "saved_model.pb").is_file():
        return ServedModel(path)
    if (path / "model.keras").is_file():
        return ServedModel(_export(path, scratch))
    versions = [p for p in path.glob("*/saved_model.pb") if p.parent.name.isdecimal()]
    if not versions:
        raise ValueError(
            f"{path}: expected an exported model (saved_models/NAME or one of its versions) or a "
            "training run's directory, found neither saved_model.pb nor model.keras."
        )
    return ServedModel(max(versions, key=lambda p: int(p.parent.name)).parent)


def _export(work_dir: Path, scratch: Path) -> Path:
    # Not above: what is exported already needs no Keras.
    from keras_dpn.export import export
    from training.workdir import load_classes, load_model

    model, classes = load_model(work_dir), load_classes(work_dir)
    return export(model, scratch, classes=classes.to_json(), outputs=["stages"], warmup=None)


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
