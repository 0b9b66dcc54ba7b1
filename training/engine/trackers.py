"""Experiment trackers: Weights & Biases and MLflow receive the scores of each epoch."""

import importlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, Self

from ..configs.schema import TrainConfig
from ..configs.serialization import to_json
from ..configs.trackers import TrackerName
from ..rundir import paths as workdir
from ..utils.files import read_json, write_json
from ..utils.installation import install_command

_LOGGER = logging.getLogger("keras_dpn")
PROJECT = "keras-dpn"
"""The project, or experiment, of runs without WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME."""
STATE = "trackers.json"
"""A file next to a run's TensorBoard logs: each tracker's run, and how many rows it has."""


class Tracker(Protocol):
    """A run of an experiment tracker."""

    def start(self, run: str | None) -> str:
        """Begin a run, or go on with one, and return its identifier."""

    def log(self, scores: dict[str, float], step: int) -> None:
        """Send the scores of an epoch."""

    def finish(self) -> None:
        """End the run."""


class WandbTracker:
    """A run of Weights & Biases; WANDB_PROJECT, WANDB_MODE and its other variables apply.

    Args:
        work_dir: directory of the training run, whose name the tracker shows.
        config: the configuration, shown next to the scores.
    """

    def __init__(self, work_dir: Path, config: TrainConfig) -> None:
        self._module = _required("wandb")
        self._work_dir = work_dir
        self._config = config
        self._run: Any = None

    def start(self, run: str | None) -> str:
        self._run = self._module.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self._work_dir.name,
            dir=str(self._work_dir / workdir.LOGS),
            id=run,
            resume="allow",
            config=to_json(self._config),
        )
        return str(self._run.id)

    def log(self, scores: dict[str, float], step: int) -> None:
        self._run.log(scores, step=step)

    def finish(self) -> None:
        self._run.finish()


class MLflowTracker:
    """A run of MLflow; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and its other variables apply.

    Args:
        work_dir: directory of the training run, whose name the tracker shows.
        config: the configuration, shown next to the scores.
    """

    def __init__(self, work_dir: Path, config: TrainConfig) -> None:
        self._module = _required("mlflow")
        self._work_dir = work_dir
        self._config = config

    def start(self, run: str | None) -> str:
        mlflow = self._module
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        if run is not None:
            return str(mlflow.start_run(run_id=run).info.run_id)
        started = mlflow.start_run(run_name=self._work_dir.name)
        try:
            mlflow.log_params(_flat(to_json(self._config)))
        except Exception:
            mlflow.end_run("FAILED")  # else it stays active, and MLflow starts no other one
            raise
        return str(started.info.run_id)

    def log(self, scores: dict[str, float], step: int) -> None:
        self._module.log_metrics(scores, step=step)

    def finish(self) -> None:
        self._module.end_run()


TRACKERS: dict[str, Callable[[Path, TrainConfig], Tracker]] = {
    "wandb": WandbTracker,
    "mlflow": MLflowTracker,
}


class Trackers:
    """The trackers of a training run.

    Each receives every row of the run's history once, also across `--resume`, which goes on with
    the tracker's own run. A tracker that fails is warned about and gets the missing rows after the
    next epoch; training goes on. As a context it ends their runs.

    Args:
        names: of the trackers.
        work_dir: directory of the training run.
        config: its configuration.

    Raises:
        ValueError: if the package of a tracker isn't installed.
    """

    def __init__(self, names: Sequence[TrackerName], work_dir: Path, config: TrainConfig) -> None:
        self._trackers: dict[str, Tracker] = {
            name: TRACKERS[name](work_dir, config) for name in dict.fromkeys(names)
        }
        self._file = work_dir / workdir.LOGS / STATE
        self._started: set[str] = set()
        self._failed: set[str] = set()

    def send(self, history: Sequence[dict[str, Any]]) -> None:
        """Send the rows that a tracker doesn't have yet.

        Args:
            history: all rows of the run, see `Progress`.
        """
        for name, tracker in self._trackers.items():
            try:
                self._send(name, tracker, history)
            except Exception as error:  # of the tracker's package, or of its server
                self._warn(name, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the trackers' runs."""
        for name in sorted(self._started):
            try:
                self._trackers[name].finish()
            except Exception as error:
                self._warn(name, error)

    def _send(self, name: str, tracker: Tracker, history: Sequence[dict[str, Any]]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        states = read_json(self._file) if self._file.exists() else {}
        state = {"run": None, "rows": 0} | states.get(name, {})
        if name not in self._started:
            state["run"] = tracker.start(state["run"])
            self._started.add(name)
            write_json(self._file, states | {name: state})
        for step in range(state["rows"], len(history)):
            if scores := scores_of(history[step]):
                tracker.log(scores, step)
            write_json(self._file, states | {name: {**state, "rows": step + 1}})

    def _warn(self, name: str, error: Exception) -> None:
        if name not in self._failed:
            self._failed.add(name)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            _LOGGER.warning("%s: %s; training continues without it", name, reason)


def scores_of(row: dict[str, Any]) -> dict[str, float]:
    """Return the numbers in a row of the history, by stage; none of one without scores.

    Example:
    >>> scores_of({"stage": "unary", "epoch": 2, "loss": 0.5})
    {'unary/loss': 0.5, 'unary/epoch': 2.0}
    >>> scores_of({"stage": "unary", "epoch": 2, "change": {"field": "unary.epochs"}})
    {}
    """
    scores = {
        f"{row['stage']}/{key}": float(value)
        for key, value in row.items()
        if key != "epoch" and isinstance(value, int | float)
    }
    return {**scores, f"{row['stage']}/epoch": float(row["epoch"])} if scores else {}


def _required(package: TrackerName) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ValueError(
            f"--callbacks {package} needs {package}, the extra {package!r}: "
            f"{install_command(package)}."
        ) from None


def _flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return nested values by dotted names.

    A dictionary by regular expressions is one value: MLflow refuses most of their characters in
    names.

    Example:
    >>> _flat({"seed": 1, "unary": {"loss": {"dice": 0.5}, "layer_rates": {"b9|b10": 10.0}}})
    {'seed': 1, 'unary.loss.dice': 0.5, 'unary.layer_rates': {'b9|b10': 10.0}}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value and all(map(str.isidentifier, value)):
            flat |= _flat(value, f"{path}{name}.")
        else:
            flat[f"{path}{name}"] = value
    return flat
