"""What is checked before a run begins: its configuration, directory and data."""

import logging
import os
from pathlib import Path

import numpy as np

from ..configs.schema import TrainConfig
from ..configs.serialization import from_json
from ..data.checks import scan_dataset
from ..data.dataset import Dataset
from ..rundir import paths as workdir
from ..utils.counts import counted
from ..utils.files import read_json, reading
from .changes import Change, find_changes
from .checkpoints import Checkpoints
from .losses import check_losses
from .progress import Progress

_LOGGER = logging.getLogger("keras_dpn")
_ISSUES_SHOWN = 5


def check_config(config: TrainConfig) -> None:
    """Raise a ValueError for stages that cannot be trained, their losses included."""
    config.check()
    check_losses(config)


def check_work_dir(work_dir: Path, config: TrainConfig, resume: bool) -> list[Change]:
    """Refuse a directory with another run, or one that can't be resumed.

    Returns:
        The changes in the configuration of a resumed run.

    Raises:
        ValueError: for a directory with a run, unless it is resumed, or with other files that a
            run would replace; and as `find_changes`.
    """
    path = work_dir / workdir.CONFIG
    if not path.exists():
        # Flow is computed before the configuration is written, into files named by their content.
        names = set(workdir.WRITTEN_BY_TRAINING) - {workdir.FLOW}
        foreign = sorted(name for name in names if os.path.lexists(work_dir / name))
        if foreign:
            raise ValueError(
                f"{work_dir / foreign[0]}: would be replaced, and no training run has written it; "
                "choose another --work-dir."
            )
        return []
    if not resume:
        raise ValueError(
            f"{work_dir} contains a run already: --resume it, or choose another directory."
        )
    earlier = from_json(read_json(path), path)
    checkpoints = Checkpoints(work_dir / workdir.CHECKPOINTS)
    with reading(checkpoints.directory, "the state of a training run"):
        progress = Progress(**(checkpoints.state() or {}))
    return find_changes(earlier, config, stage=progress.stage, epoch=progress.epoch, source=path)


def check_data(dataset: Dataset, config: TrainConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the images of the run's splits once; refuse them with errors, naming the first ones.

    Returns:
        Pixels of each class in the training split, pixels of the images that contain it, and the
        heights and widths of the validation images.

    Raises:
        ValueError: also for a dataset of one class, and a split without a labelled pixel.
    """
    if dataset.classes.num_classes < 2:
        raise ValueError(
            f"{dataset.name}: expected 2 classes or more, received {dataset.classes.names[0]} "
            "alone. Add a class of all that it is not."
        )
    splits = (config.data.train_split, config.data.val_split)
    for split in splits:
        dataset.examples(split)
    scan = scan_dataset(dataset, splits)
    for issue in scan.issues:
        if issue.is_warning:
            _LOGGER.warning(issue)
    if scan.errors:
        directory = f" --data-dir {config.data.data_dir}" if config.data.data_dir else ""
        shown = "; ".join(str(issue) for issue in scan.errors[:_ISSUES_SHOWN])
        raise ValueError(
            f"{dataset.name}: {counted(len(scan.errors), 'issue')}, the first: {shown}. "
            f"`keras-dpn check-data {config.data.dataset}{directory}` lists all."
        )
    for split in splits:
        if not scan.counts[split].any():
            raise ValueError(f"{dataset.name} {split}: expected labels, all pixels are ignored.")
    return *scan.pixel_counts(config.data.train_split), scan.sizes[config.data.val_split]
