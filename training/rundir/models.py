"""Trained networks of a training run."""

from pathlib import Path

import keras

import keras_dpn  # noqa: F401  registers the classes that saved models name
from keras_dpn.classes import Classes
from keras_dpn.models.model_file import load_model as read_model

from ..utils.files import read_json
from .paths import CLASSES, model_file


def load_model(work_dir: Path, stage: str | None = None) -> keras.Model:
    """Load the trained model of a run, or the best model of one of its stages.

    Raises:
        ValueError: where the run isn't finished, doesn't train the stage, or its file is damaged.
    """
    path = model_file(work_dir, stage)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the model of a finished training run.")
    return read_model(path)


def load_classes(work_dir: Path) -> Classes:
    """Read names, colors and ignore label of the classes that a run was trained on."""
    return Classes.from_json(read_json(work_dir / CLASSES))
