"""Atomic checkpoints of a run in progress: weights, optimizer and position."""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dpn.models.model_file import weights_bytes

from ..utils.files import atomic_directory, read_json, write_json

_WEIGHTS, _RANDOM, _OPTIMIZER = "model.weights.h5", "random.npz", "optimizer.npz"
_STATE = "state.json"


class Checkpoints:
    """The newest checkpoint below a directory.

    A checkpoint is written under a temporary name and renamed when it is complete; only then the
    previous one is removed. If the process is killed or the disk is full, one can be restored.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None,
        state: dict[str, Any],
    ) -> Path:
        """Write a checkpoint and return its directory.

        Args:
            model: its weights and the states of its random layers.
            optimizer: its variables, or None between stages.
            state: JSON values.
        """
        number = 1 + max((int(path.name) for path in self._complete()), default=0)
        final = self.directory / f"{number:06d}"
        weights = weights_bytes(model)
        others = [*_random_states(model), *(optimizer.variables if optimizer else ())]
        needed = len(weights) + sum(np.asarray(variable).nbytes for variable in others)
        with atomic_directory(final, needed) as temporary:
            (temporary / _WEIGHTS).write_bytes(weights)
            _save_variables(temporary / _RANDOM, _random_states(model))
            if optimizer is not None:
                _save_variables(temporary / _OPTIMIZER, optimizer.variables)
            write_json(temporary / _STATE, state)
        # Earlier checkpoints, and temporary files of killed processes.
        for path in self.directory.iterdir():
            if path.is_dir() and path != final:
                shutil.rmtree(path)
        return final

    def replace_state(self, state: dict[str, Any]) -> None:
        """Replace the state of the newest checkpoint; its weights stay."""
        write_json(self._latest() / _STATE, state)

    def latest(self) -> Path | None:
        """Return the newest complete checkpoint, if there is one."""
        return max(self._complete(), default=None)

    def state(self) -> dict[str, Any] | None:
        """Return the state that `save` was given, or None without a checkpoint."""
        path = self.latest()
        return None if path is None else read_json(path / _STATE)

    def restore_model(self, model: keras.Model) -> None:
        """Load the newest checkpoint's weights and states of random layers."""
        model.load_weights(self._latest() / _WEIGHTS)
        _load_variables(self._latest() / _RANDOM, _random_states(model))

    def restore_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Load the newest checkpoint's optimizer variables into a built optimizer."""
        _load_variables(self._latest() / _OPTIMIZER, optimizer.variables)

    def _latest(self) -> Path:
        """Return the newest complete checkpoint, which must exist."""
        return self._complete()[-1]

    def _complete(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if path.name.isdigit())


def _random_states(model: keras.Model) -> list[keras.Variable]:
    """Return the seeds of layers such as dropout, which Keras doesn't save with the weights."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _save_variables(path: Path, variables: list[keras.Variable]) -> None:
    arrays: dict[str, Any] = {str(i): np.asarray(v) for i, v in enumerate(variables)}
    np.savez(path, **arrays)


def _load_variables(path: Path, variables: list[keras.Variable]) -> None:
    with np.load(path) as values:
        if len(values) != len(variables):
            raise ValueError(
                f"{path}: expected {len(variables)} variables, received {len(values)}."
            )
        for i, variable in enumerate(variables):
            variable.assign(values[str(i)])
