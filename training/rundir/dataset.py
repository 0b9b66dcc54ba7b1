"""Datasets of training runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_dpn.classes import Classes
from keras_dpn.presets.files import METADATA
from keras_dpn.presets.source import find, read_classes

from ..configs.schema import TrainConfig
from ..data.dataset import Dataset
from ..data.registry import load_dataset
from ..utils.files import reading
from .models import load_classes
from .paths import CONFIG, FLOW, load_config


def open_dataset(config: TrainConfig, work_dir: Path) -> Dataset:
    """Open the dataset of a configuration; a run for clips keeps the flow it computes in `FLOW`."""
    data: Any = config.data  # that of networks for clips has a `flow_dir`
    data_dir = Path(data.data_dir) if data.data_dir else None
    if config.clip_frames is None:
        return load_dataset(data.dataset, data_dir, seed=config.seed)
    flow_dir = Path(data.flow_dir or work_dir / FLOW)
    return load_dataset(data.dataset, data_dir, seed=config.seed, flow_dir=flow_dir)


def run_dataset(
    work_dir: Path, dataset: str | None = None, data_dir: Path | None = None
) -> Dataset:
    """Open the dataset a run was trained on, or another one with the same classes.

    Args:
        work_dir: directory of the run.
        dataset: name of a dataset; that of the run's configuration by default.
        data_dir: directory of the dataset; that of the run's configuration for the run's own
            dataset.

    Raises:
        ValueError: if the dataset's classes are not the run's, and as `load_dataset`.
    """
    config = load_config(work_dir)
    with reading(work_dir / CONFIG, "a configuration"):
        data, seed = config["data"], config["seed"]
        name = dataset or data["dataset"]
        if data_dir is None and name == data["dataset"] and data["data_dir"]:
            data_dir = Path(data["data_dir"])
        flow_dir = Path(data.get("flow_dir") or work_dir / FLOW)
    # Generated datasets depend on the seed.
    opened = load_dataset(name, data_dir, seed=seed, flow_dir=flow_dir)
    _check_classes(work_dir, load_classes(work_dir), opened)
    return opened


def find_run(sources: Sequence[str]) -> Path | None:
    """Return the directory of the first source if it is a training run; None for a preset.

    Args:
        sources: training runs and presets, as `Segmenter.from_preset` takes them.

    Raises:
        ValueError: without a source, and for one that is neither.
    """
    if not sources:
        raise ValueError("Expected a training run or a preset: name one or more.")
    directory = Path(sources[0])
    if (directory / CONFIG).is_file() and not (directory / METADATA).is_file():
        return directory
    find(sources[0])
    return None


def source_dataset(
    sources: Sequence[str], dataset: str | None = None, data_dir: Path | None = None
) -> Dataset:
    """Open the dataset to apply the first of some training runs or presets to.

    Args:
        sources: as in `find_run`.
        dataset: as in `run_dataset`; required for a preset, which names none.
        data_dir: as in `run_dataset`.

    Raises:
        ValueError: as `find_run` and `run_dataset`, and for a preset without a dataset.
    """
    work_dir = find_run(sources)
    if work_dir is not None:
        return run_dataset(work_dir, dataset, data_dir)
    preset = sources[0]
    if dataset is None:
        raise ValueError(f"{preset}: a preset names no dataset; give --dataset and --data-dir.")
    opened = load_dataset(dataset, data_dir)
    _check_classes(preset, read_classes(find(preset)), opened)
    return opened


def _check_classes(source: str | Path, classes: Classes | None, dataset: Dataset) -> None:
    if classes is not None and classes.names != dataset.classes.names:
        raise ValueError(
            f"{source} knows the classes {', '.join(classes.names)}; "
            f"{dataset.name} has {', '.join(dataset.classes.names)}."
        )
