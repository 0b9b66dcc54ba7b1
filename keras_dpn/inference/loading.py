"""Load trained networks with their classes from presets and training runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from keras_dpn.classes import Classes
from keras_dpn.inference.precision import in_precision
from keras_dpn.models.model_file import load_model
from keras_dpn.models.preset import from_preset
from keras_dpn.presets.files import METADATA, read_metadata
from keras_dpn.presets.source import RUN_MODEL, find, read_classes


@dataclass(frozen=True)
class Trained:
    """A trained network, or several to average, with classes and description.

    Attributes:
        models: the networks.
        classes: names, colours and ignore label of their classes.
        size: shorter side of the images that they were trained on, in pixels; None for any.
        lowest_confidence: lowest mean confidence of a validation image; None if unknown.
        description: the network in one line.
    """

    models: tuple[keras.Model, ...]
    classes: Classes
    size: int | None = None
    lowest_confidence: float | None = None
    description: str = ""


def load_trained(sources: Sequence[str | Path], precision: str = "float32") -> Trained:
    """Load one network or several with the same classes.

    Args:
        sources: names of presets, directories of presets or of finished training runs, or
            addresses on the Hub, as `keras_dpn.models.from_preset` takes them.
        precision: name of the dtype policy to compute in.

    Returns:
        The networks, with the size and confidence of the first.

    Raises:
        ValueError: without a source, for one that doesn't exist, is damaged or doesn't name its
            classes, and if their classes differ.
        OSError: if a download fails.
    """
    if not sources:
        raise ValueError(
            "Expected a preset or a training run, received none; the commands take it as --model."
        )
    first, *others = [_load(source, precision) for source in sources]
    for source, other in zip(sources[1:], others, strict=True):
        if (other.classes.names, other.classes.ignore) != (
            first.classes.names,
            first.classes.ignore,
        ):
            raise ValueError(
                f"{sources[0]} has the classes {', '.join(first.classes.names)} (ignore label "
                f"{first.classes.ignore}), {source} has {', '.join(other.classes.names)} (ignore "
                f"label {other.classes.ignore}): their predictions can't be averaged."
            )
    models = tuple(model for one in (first, *others) for model in one.models)
    return Trained(models, first.classes, first.size, first.lowest_confidence, first.description)


def _load(source: str | Path, precision: str) -> Trained:
    directory = find(source)
    classes = read_classes(directory)
    if classes is None:
        raise ValueError(
            f"{directory}: expected a classes.json that names the classes. Write the preset with "
            "`save_to_preset(..., classes=...)`."
        )
    if (directory / METADATA).is_file():
        metadata = read_metadata(directory)
        model = from_preset(directory, dtype=precision)
        _check_classes(directory, classes, model)
        return Trained(
            (model,),
            classes,
            metadata.get("size"),
            metadata.get("lowest_confidence"),
            metadata.get("description") or "",
        )
    model = load_model(directory / RUN_MODEL)
    _check_classes(directory, classes, model)
    return Trained((model if precision == "float32" else in_precision(model, precision),), classes)


def _check_classes(directory: Path, classes: Classes, model: keras.Model) -> None:
    """Refuse a network whose labels have no name."""
    labels = getattr(model, "num_classes", 0)
    if labels > classes.num_classes:
        raise ValueError(
            f"{directory}: its classes.json names {classes.num_classes} classes, its network has "
            f"{labels}."
        )
