"""Atomic checkpoints of a run in progress: weights, optimizer and position."""

import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dpn.models.model_file import weights_bytes

from ..utils.files import atomic_directory, read_json, reading, write_json
from . import hosts

_WEIGHTS, _RANDOM, _OPTIMIZER = "model.weights.h5", "random.npz", "optimizer.npz"
_STATE = "state.json"
# Earlier checkpoints, and what killed processes leave: today and in version 0.1.
_OWN = re.compile(r"\d+|\.[0-9a-f]+\.\d+|partial")


class Checkpoints:
    """The newest checkpoint below a directory.

    A checkpoint is written under a temporary name and renamed when it is complete; only then the
    previous one is removed. If the process is killed or the disk is full, one can be restored. Of
    several processes the chief alone reads and writes.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def save(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None,
        state: dict[str, Any],
    ) -> None:
        """Write a checkpoint.

        Args:
            model: its weights and the states of its random layers.
            optimizer: its variables, or None between stages.
            state: JSON values.
        """
        hosts.on_chief(lambda: self._write(model, optimizer, state))

    def _write(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None,
        state: dict[str, Any],
    ) -> None:
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
        for path in self.directory.iterdir():
            if _OWN.fullmatch(path.name) and path != final and not path.is_symlink():
                shutil.rmtree(path)

    def replace_state(self, state: dict[str, Any]) -> None:
        """Replace the state of the newest checkpoint; its weights stay."""
        hosts.on_chief(lambda: write_json(self._latest() / _STATE, state))

    def latest(self) -> Path | None:
        """Return the newest complete checkpoint, if there is one."""
        return max(self._complete(), default=None)

    def state(self) -> dict[str, Any] | None:
        """Return the state that `save` was given, or None without a checkpoint."""
        path = self.latest()
        return None if path is None else read_json(path / _STATE)

    def restore_model(self, model: keras.Model) -> None:
        """Load the newest checkpoint's weights and states of random layers."""
        local = hosts.local_copy(model)
        if hosts.is_chief():
            with hosts.alone():
                local.load_weights(self._latest() / _WEIGHTS)
        if local is not model:
            model.set_weights(hosts.broadcast(local.get_weights()))
        self._load_variables(_RANDOM, _random_states(model))

    def restore_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Load the newest checkpoint's optimizer variables into a built optimizer."""
        self._load_variables(_OPTIMIZER, optimizer.variables)

    def _load_variables(self, name: str, variables: list[keras.Variable]) -> None:
        if hosts.is_chief():
            values = _read_arrays(self._latest() / name, len(variables))
        else:
            values = [np.asarray(variable) for variable in variables]
        for variable, value in zip(variables, hosts.broadcast(values), strict=True):
            variable.assign(value)

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


def _read_arrays(path: Path, count: int) -> list[np.ndarray]:
    with reading(path, "the arrays of a checkpoint"), np.load(path) as values:
        if len(values) != count:
            raise ValueError(f"{path}: expected {count} variables, received {len(values)}.")
        return [values[str(i)] for i in range(count)]
