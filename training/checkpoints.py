"""Checkpoints of a run in progress: weights, optimiser and position, whole or not at all."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

_WEIGHTS, _OPTIMIZER, _STATE = "model.weights.h5", "optimizer.npz", "state.json"


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
            model: its weights, states of random layers among them.
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
            if optimizer is not None:
                values = {str(i): np.asarray(v) for i, v in enumerate(optimizer.variables)}
                np.savez(temporary / _OPTIMIZER, **values)
            (temporary / _STATE).write_text(json.dumps(state))
            os.rename(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        for path in earlier:
            shutil.rmtree(path)
        return final

    def latest(self) -> Path | None:
        """The newest whole checkpoint."""
        return max(self._complete(), default=None)

    def state(self) -> dict[str, Any] | None:
        """What `save` was given as state, or None without a checkpoint."""
        path = self.latest()
        return None if path is None else json.loads((path / _STATE).read_text())

    def restore_model(self, model: keras.Model) -> None:
        """Load the newest checkpoint's weights."""
        model.load_weights(self.latest() / _WEIGHTS)

    def restore_optimizer(self, optimizer) -> None:
        """Load the newest checkpoint's optimiser variables into a built optimiser."""
        path = self.latest() / _OPTIMIZER
        with np.load(path) as values:
            if len(values) != len(optimizer.variables):
                raise ValueError(
                    f"{path}: expected {len(optimizer.variables)} variables, found {len(values)}."
                )
            for i, variable in enumerate(optimizer.variables):
                variable.assign(values[str(i)])

    def _complete(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if path.name.isdigit())
