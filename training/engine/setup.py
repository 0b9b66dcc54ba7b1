"""Preparation of a training run, and the run itself."""

import dataclasses
import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_dpn
from keras_dpn import models, presets

from ..configs.schema import TrainConfig
from ..configs.serialization import from_json, to_json, with_crf
from ..configs.trackers import TrackerName
from ..data.clips.base import RecordedClips
from ..data.dataset import Dataset
from ..data.shards.dataset import absolute
from ..rundir import paths as workdir
from ..rundir.dataset import open_dataset
from ..rundir.lock import LOCK, FileLock
from ..utils.files import read_json, remove_temporaries, write_json
from . import hosts
from .changes import Change
from .checkpoints import Checkpoints
from .checks import check_config, check_data, check_work_dir
from .devices import Strategy, check_batch_sizes, choose_devices, in_use
from .dry_run import dry_run
from .networks import adapter, build_model
from .plan import resolve_steps
from .trackers import Trackers
from .trainer import Trainer

_LOGGER = logging.getLogger("keras_dpn")


@dataclass(frozen=True)
class TrainingJob:
    """A run that is ready for training: checked, with its network built and loaded.

    Args:
        config: the configuration, with absolute paths.
        work_dir: receives the configuration, checkpoints, logs, results and models.
        dataset: training and validation images.
        trainer: of the network, at the run's last completed epoch if it is resumed.
        held: the directory's lock and the devices, released at the end.
    """

    config: TrainConfig
    work_dir: Path
    dataset: Dataset
    trainer: Trainer
    held: ExitStack

    def run(self) -> list[dict[str, Any]]:
        """Train the remaining stages, write all files and return each stage's results."""
        with self.held, self.trainer.trackers:
            hosts.on_chief(self._write_settings)
            stages = self.trainer.fit()
            # Rows that came after the last epoch, or that a tracker has failed to take.
            self.trainer.trackers.send(self.trainer.progress.history)
            hosts.on_chief(lambda: self._write_results(stages))
        return stages

    def _write_settings(self) -> None:
        write_json(self.work_dir / workdir.CONFIG, to_json(self.config))
        write_json(self.work_dir / workdir.CLASSES, self.dataset.classes.to_json())

    def _write_results(self, stages: list[dict[str, Any]]) -> None:
        self.trainer.write_model()
        results = {
            "config": to_json(self.config),
            "classes": self.dataset.classes.to_json(),
            "seed": self.config.seed,
            "versions": versions(),
            "stages": stages,
            "recoveries": self.trainer.progress.notes("recovery"),
            "changes": self.trainer.progress.notes("change"),
            "warnings": self.trainer.progress.notes("warning"),
        }
        write_json(self.work_dir / workdir.RESULTS, results)


def train(config: TrainConfig, work_dir: Path, **options: Any) -> list[dict[str, Any]]:
    """Train a network through its stages; arguments and ValueError as `prepare`.

    Returns:
        The results of each stage: name, scores, epochs, steps, seconds.
    """
    return prepare(config, work_dir, **options).run()


def prepare(
    config: TrainConfig,
    work_dir: Path,
    *,
    data_dir: Path | None = None,
    crf: Path | None = None,
    resume: bool = False,
    devices: str = "all",
    callbacks: Sequence[TrackerName] = (),
) -> TrainingJob:
    """Check the run as far as possible before the first step, and build the network.

    Args:
        config: the run's configuration.
        work_dir: receives the configuration, checkpoints, logs, results and models.
        data_dir: instead of `config.data.data_dir`.
        crf: settings of a DeepLab's or PiecewiseCRF's CRF, a JSON file.
        resume: continue from the last completed epoch of `work_dir`.
        devices: as in `choose_devices`.
        callbacks: names of experiment trackers that receive the scores of each epoch.

    Raises:
        ValueError: for settings, data or a directory that don't allow training.
    """
    config, dataset, trackers, strategy = _checked(
        config, work_dir, data_dir, crf, resume, devices, callbacks
    )
    with ExitStack() as stack:
        if hosts.is_chief():
            work_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(work_dir / LOCK, work_dir))
        stack.enter_context(in_use(strategy))
        found = hosts.from_chief(
            lambda: [change.to_json() for change in check_work_dir(work_dir, config, resume)]
        )
        changes = [Change(values["field"], values["from"], values["to"]) for values in found]
        _LOGGER.debug(json.dumps(to_json(config), indent=2))
        *counts, sizes = hosts.from_chief(
            lambda: [values.tolist() for values in check_data(dataset, config)]
        )
        hosts.on_chief(lambda: fill_flow(dataset, config))
        if resume:
            hosts.on_chief(lambda: _remove_partial_models(work_dir))
        model = _built(config, dataset, strategy, _is_restored(work_dir, resume))
        pixel_counts = (np.asarray(counts[0]), np.asarray(counts[1]))
        trainer = Trainer(config, model, dataset, pixel_counts, work_dir, strategy, sizes, trackers)
        if resume:
            trainer.resume(changes)
        held = stack.pop_all()  # the job releases them
    return TrainingJob(config, work_dir, dataset, trainer, held)


def describe_dry_run(
    config: TrainConfig,
    work_dir: Path,
    *,
    data_dir: Path | None = None,
    crf: Path | None = None,
    resume: bool = False,
    devices: str = "all",
    callbacks: Sequence[TrackerName] = (),
) -> str:
    """Make all checks of `prepare` and measure a few steps, without writing a file.

    Args:
        config: the run's configuration.
        work_dir: the directory of the run; it need not exist.
        data_dir: instead of `config.data.data_dir`.
        crf: settings of a CRF, a JSON file.
        resume: plan the epochs that remain.
        devices: as in `choose_devices`.
        callbacks: names of experiment trackers, whose packages must be installed.

    Returns:
        The plan of the run, its memory and its time, as text.

    Raises:
        ValueError: as `prepare`.
    """
    config, dataset, _, strategy = _checked(
        config, work_dir, data_dir, crf, resume, devices, callbacks
    )
    check_work_dir(work_dir, config, resume)
    pixels, present, sizes = check_data(dataset, config)
    with in_use(strategy):
        model = _built(config, dataset, strategy, _is_restored(work_dir, resume))
        counts = (pixels, present)
        trainer = Trainer(config, model, dataset, counts, work_dir, strategy, sizes.tolist())
        if resume:
            trainer.resume()
        return dry_run(trainer)


def _checked(
    config: TrainConfig,
    work_dir: Path,
    data_dir: Path | None,
    crf: Path | None,
    resume: bool,
    devices: str,
    callbacks: Sequence[TrackerName],
) -> tuple[TrainConfig, Dataset, Trackers, Strategy]:
    """Return the configuration with all of its values, its dataset, trackers and devices."""
    config = with_absolute_paths(config, data_dir)
    if crf:
        config = with_crf(config, crf)
    check_config(config)
    dataset = open_dataset(config, work_dir)
    earlier = hosts.from_chief(lambda: _earlier_values(work_dir) if resume else None)
    before = earlier and from_json(earlier, work_dir / workdir.CONFIG)
    # Another network is refused later.
    config = resolve_steps(config, dataset, before if type(before) is type(config) else None)
    _LOGGER.info("%s: %s", config.network, "; ".join(config.summary()))
    trackers = Trackers(callbacks if hosts.is_chief() else (), work_dir, config)
    strategy = choose_devices(devices)
    check_batch_sizes(config, strategy.num_replicas_in_sync)
    return config, dataset, trackers, strategy


def _earlier_values(work_dir: Path) -> Any:
    """Return the configuration of the run in a directory, as JSON values, if there is one."""
    path = work_dir / workdir.CONFIG
    return read_json(path) if path.exists() else None


def _is_restored(work_dir: Path, resume: bool) -> bool:
    """Return whether a checkpoint replaces all initial weights."""
    checkpoints = Checkpoints(work_dir / workdir.CHECKPOINTS)
    return hosts.from_chief(lambda: resume and checkpoints.latest() is not None)


def _remove_partial_models(work_dir: Path) -> None:
    """Remove the models that killed processes were writing."""
    for directory in filter(Path.is_dir, (work_dir, *(work_dir / workdir.STAGES).glob("*"))):
        remove_temporaries(directory / workdir.MODEL)


def _built(
    config: TrainConfig, dataset: Dataset, strategy: Strategy, is_restored: bool
) -> keras.Model:
    """Return the network before the first step, or before its checkpoint is restored."""
    if is_restored:  # the files of initial weights may be gone
        config = dataclasses.replace(config, weights=None, adapt_scales=0)
    model = _build(config, dataset.classes.num_classes, strategy)
    _adapt_scales(config, model, dataset)
    return model


def _build(config: TrainConfig, num_classes: int, strategy: Strategy) -> keras.Model:
    """Return the network before the first step, from the run's seed."""
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()  # a resumed run equals an uninterrupted one
    keras.config.set_dtype_policy(config.precision)
    if size := adapter(config).describe_size(config, num_classes):
        _LOGGER.info(size)
    with strategy.scope():
        model = build_model(config, num_classes)
        if config.weights:
            _LOGGER.info(adapter(config).load_weights(model, config.weights, config.weights_sha256))
    return model


def _adapt_scales(config: TrainConfig, model: keras.Model, dataset: Dataset) -> None:
    if not config.adapt_scales:
        return
    if config.clip_frames:
        raise ValueError("--adapt-scales: expected a network for images, received one for clips.")
    examples = dataset.examples(config.data.train_split)
    chosen = examples[:: max(1, len(examples) // config.adapt_scales)][: config.adapt_scales]
    local = hosts.local_copy(model)
    with hosts.alone():
        scales = models.adapt_scales(local, (dataset.read(example)[0] for example in chosen))
    if local is not model:
        model.set_weights(hosts.broadcast(local.get_weights()))
    if not scales:
        raise ValueError(f"--adapt-scales: this {config.network} has no normalised features.")
    described = ", ".join(f"{name} {scale:.3g}" for name, scale in scales.items())
    _LOGGER.info("initial scales from %d images: %s", len(chosen), described)


def with_absolute_paths(config: TrainConfig, data_dir: Path | None) -> TrainConfig:
    """Return the configuration with absolute paths, which are valid in every directory."""
    directory, weights = data_dir or config.data.data_dir, config.weights
    if directory is not None:
        data = dataclasses.replace(config.data, data_dir=absolute(directory))
        config = dataclasses.replace(config, data=data)
    if weights is not None and "://" not in weights and weights not in presets.available():
        config = dataclasses.replace(config, weights=str(Path(weights).resolve()))
    return config


def fill_flow(dataset: Dataset, config: TrainConfig) -> None:
    """Compute all flow that the run needs, at once and in parallel."""
    if config.clip_frames and config.needs_flow and isinstance(dataset, RecordedClips):
        for split in (config.data.train_split, config.data.val_split):
            dataset.fill_flow(split, config.clip_frames)


def versions() -> dict[str, str]:
    """Return the versions and hardware that the results depend on."""
    backend = {}
    if keras.backend.backend() == "jax":
        backend = {"jax": importlib.metadata.version("jax")}
    return {
        "keras_dpn": keras_dpn.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        **backend,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
    }
