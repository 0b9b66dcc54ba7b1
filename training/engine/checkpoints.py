"""Checkpoints of a run in progress: weights, optimiser and position, whole or not at all."""

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..utils.files import read_json, write_json

_WEIGHTS, _RANDOM, _OPTIMIZER = "model.weights.h5", "random.npz", "optimizer.npz"
_STATE = "state.json"


class Checkpoints:
    """The newest checkpoint below a directory.

    A checkpoint is written beside and renamed when it is whole; the one before it goes only after
    that. A kill or a full disk at any moment leaves one that can be restored.
    """

    def __init__(self, directory: Path):
        self.directory = directory

    def save(self, model: keras.Model, optimizer, state: dict[str, Any]) -> Path:
        """Write a checkpoint; return where it lies.

        Args:
            model: its weights and the states of its random layers.
            optimizer: its variables, or None between stages.
            state: anything that JSON holds.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        earlier = self._complete()
        number = 1 + max((int(path.name) for path in earlier), default=0)
        temporary, final = self.directory / "partial", self.directory / f"{number:06d}"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            model.save_weights(temporary / _WEIGHTS)
            _save_variables(temporary / _RANDOM, _random_states(model))
            if optimizer is not None:
                _save_variables(temporary / _OPTIMIZER, optimizer.variables)
            write_json(temporary / _STATE, state)
            os.rename(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        for path in earlier:
            shutil.rmtree(path)
        return final

    def replace_state(self, state: dict[str, Any]) -> None:
        """Give the newest checkpoint another state; its weights stay."""
        write_json(self.latest() / _STATE, state)

    def latest(self) -> Path | None:
        """The newest whole checkpoint."""
        return max(self._complete(), default=None)

    def state(self) -> dict[str, Any] | None:
        """What `save` was given as state, or None without a checkpoint."""
        path = self.latest()
        return None if path is None else read_json(path / _STATE)

    def restore_model(self, model: keras.Model) -> None:
        """Load the newest checkpoint's weights and states of random layers."""
        model.load_weights(self.latest() / _WEIGHTS)
        _load_variables(self.latest() / _RANDOM, _random_states(model))

    def restore_optimizer(self, optimizer) -> None:
        """Load the newest checkpoint's optimiser variables into a built optimiser."""
        _load_variables(self.latest() / _OPTIMIZER, optimizer.variables)

    def _complete(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if path.name.isdigit())


def _random_states(model: keras.Model) -> list[keras.Variable]:
    """The seed generators of dropout and the like, which Keras doesn't save with the weights."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _save_variables(path: Path, variables: list[keras.Variable]) -> None:
    np.savez(path, **{str(i): np.asarray(variable) for i, variable in enumerate(variables)})


def _load_variables(path: Path, variables: list[keras.Variable]) -> None:
    with np.load(path) as values:
        if len(values) != len(variables):
            raise ValueError(f"{path}: expected {len(variables)} variables, found {len(values)}.")
        for i, variable in enumerate(variables):
            variable.assign(values[str(i)])
