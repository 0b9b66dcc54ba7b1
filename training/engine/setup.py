"""Preparation of a training run, and the run itself."""

import dataclasses
import json
import os
import platform
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

import keras_dpn
from keras_dpn import models, presets
from keras_dpn.models import pretrained
from keras_dpn.presets.source import is_directory

from ..configs.crf import read_crf
from ..configs.networks import DeepLabTrainConfig, PiecewiseTrainConfig
from ..configs.networks.deeplab import CRFConfig
from ..configs.schema import TrainConfig
from ..configs.serialization import build, from_json, to_json
from ..data.checks import scan_dataset
from ..data.clips.base import RecordedClips
from ..data.dataset import Dataset
from ..data.shards.dataset import absolute
from ..rundir import paths as workdir
from ..rundir.dataset import open_dataset
from ..utils.files import atomic_file, read_json, write_json
from .changes import Change, find_changes
from .checkpoints import Checkpoints
from .trainer import Progress, StagedTraining

_ISSUES_SHOWN = 5


def train(
    config: TrainConfig,
    work_dir: Path,
    *,
    data_dir: Path | None = None,
    crf: Path | None = None,
    resume: bool = False,
    devices: str = "all",
) -> None:
    """Train a network through its stages.

    Everything that can be checked is checked before the first step.

    Args:
        config: the run's configuration.
        work_dir: receives the configuration, checkpoints, logs, results and models.
        data_dir: instead of `config.data.data_dir`.
        crf: settings of a DeepLab's or PiecewiseCRF's CRF, a JSON file.
        resume: continue from the last completed epoch of `work_dir`.
        devices: as in `choose_devices`.

    Raises:
        ValueError: for settings, data or a directory that can't be trained with or in.
    """
    console = Console(width=120, soft_wrap=True)
    config = with_absolute_paths(config, data_dir)
    if crf:
        config = with_crf(config, crf)
    config.check()
    dataset = open_dataset(config, work_dir)
    strategy = choose_devices(devices)
    changes = check_work_dir(work_dir, config, resume)
    console.print_json(json.dumps(to_json(config)))
    counts = check_data(dataset, config, console)
    fill_flow(dataset, config)
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()  # a resumed run equals an undisturbed one
    keras.config.set_dtype_policy(config.precision)
    if forecast := config.forecast(dataset.classes.num_classes):
        console.print(forecast, markup=False, highlight=False)
    with strategy.scope():
        model = build_model(config, dataset.classes.num_classes)
        if config.weights:
            console.print(load_weights(model, config.weights))
    training = StagedTraining(config, model, dataset, counts, work_dir, strategy)
    if resume:
        training.resume(changes)
    write_json(work_dir / workdir.CONFIG, to_json(config))
    write_json(work_dir / workdir.CLASSES, dataset.classes.to_json())
    stages = training.run()
    with atomic_file(work_dir / workdir.MODEL) as temporary:
        model.save(temporary)
    results = {
        "config": to_json(config),
        "classes": dataset.classes.to_json(),
        "seed": config.seed,
        "versions": versions(),
        "stages": stages,
        "recoveries": training.progress.notes("recovery"),
        "changes": training.progress.notes("change"),
    }
    write_json(work_dir / workdir.RESULTS, results)
    for stage in stages:
        console.print(
            f"{stage['name']}: mIoU {stage['miou']:.4f}, accuracy {stage['accuracy']:.4f}"
        )


def with_absolute_paths(config: TrainConfig, data_dir: Path | None) -> TrainConfig:
    """The configuration with the paths that it names made absolute, so that they hold anywhere."""
    data_dir, weights = data_dir or config.data.data_dir, config.weights
    if data_dir is not None:
        data = dataclasses.replace(config.data, data_dir=absolute(data_dir))
        config = dataclasses.replace(config, data=data)
    if weights is not None and "://" not in weights and weights not in presets.available():
        config = dataclasses.replace(config, weights=str(Path(weights).resolve()))
    return config


def with_crf(config: TrainConfig, path: Path) -> TrainConfig:
    """The configuration with a settings file's values for the network's CRF."""
    if not isinstance(config, (DeepLabTrainConfig, PiecewiseTrainConfig)):
        raise ValueError(
            f"--crf needs a recipe of DeepLab or PiecewiseCRF, received {config.network.__name__}."
        )
    values = dataclasses.asdict(config.model.crf or CRFConfig()) | read_crf(path)
    model = dataclasses.replace(config.model, crf=build(CRFConfig, values, path))
    return dataclasses.replace(config, model=model)


def fill_flow(dataset: Dataset, config: TrainConfig) -> None:
    """Compute all flow that the run needs, at once and in parallel."""
    if config.clips and config.clips.flow and isinstance(dataset, RecordedClips):
        for split in (config.data.train_split, config.data.val_split):
            dataset.fill_flow(split, config.clips.frames)


def load_weights(model: keras.Model, source: str) -> str:
    """Fill the network from a file, or start a network for clips from one for pictures.

    Returns:
        What was done, in a line.
    """
    if isinstance(model, models.SpatialTemporalDPN):
        trained = None
        if is_directory(source):
            trained = models.from_preset(source)
        elif source.endswith(".keras"):
            trained = keras.saving.load_model(source, compile=False)
        if isinstance(trained, models.DPN):
            model.start_from(trained)
            return f"{source}: started from a network for pictures"
    report = pretrained.load_pretrained(model, source)
    return f"{report.path}: filled {len(report.filled)} weights, left {report.left}"


def build_model(config: TrainConfig, num_classes: int) -> keras.Model:
    """The configured network."""
    return config.network(num_classes=num_classes, **dataclasses.asdict(config.model))


def choose_devices(devices: str) -> tf.distribute.Strategy:
    """All GPUs ("all"), or N logical devices on the CPU ("cpu:N")."""
    kind, _, count = devices.partition(":")
    if devices != "all" and not (kind == "cpu" and count.isdecimal() and int(count) > 0):
        raise ValueError(
            f"Invalid value for argument `devices`: expected all or cpu:N, received {devices!r}."
        )
    if devices == "all":
        gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
        return tf.distribute.MirroredStrategy(gpus) if gpus else tf.distribute.get_strategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * int(count)
    tf.config.set_logical_device_configuration(cpu, parts)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(int(count))])


def check_work_dir(work_dir: Path, config: TrainConfig, resume: bool) -> list[Change]:
    """Make the directory; refuse one that holds a run, or one that this can't go on with.

    Returns:
        What changes in the configuration of a run that goes on.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    path = work_dir / workdir.CONFIG
    if not path.exists():
        return []
    if not resume:
        raise ValueError(f"{work_dir} holds a run already: --resume it, or choose another.")
    earlier = from_json(read_json(path), path)
    progress = Progress(**(Checkpoints(work_dir / workdir.CHECKPOINTS).state() or {}))
    return find_changes(earlier, config, stage=progress.stage, epoch=progress.epoch, source=path)


def check_data(dataset: Dataset, config: TrainConfig, console: Console):
    """Read all pictures once; refuse faulty data, naming the first faults.

    Returns:
        Pixels of each class in the training split, and pixels of the pictures that show it.
    """
    for split in (config.data.train_split, config.data.val_split):
        dataset.examples(split)
    scan = scan_dataset(dataset)
    for issue in scan.issues:
        if issue.is_warning:
            console.print(f"warning: {issue}")
    errors = scan.errors
    if errors:
        shown = "; ".join(str(issue) for issue in errors[:_ISSUES_SHOWN])
        raise ValueError(
            f"{dataset.name}: {len(errors)} issues, the first: {shown}. "
            f"`keras-dpn check-data {config.data.dataset}` lists all."
        )
    return scan.pixel_counts(config.data.train_split)


def versions() -> dict[str, str]:
    """What the numbers depend on beside the configuration."""
    return {
        "keras_dpn": keras_dpn.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
    }
