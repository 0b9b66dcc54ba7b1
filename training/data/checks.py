"""Reads a whole data set and finds every fault in it, before training does."""

import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from keras_dpn.io.images import ImageError, read_image

from ..utils.progress import progress
from .clips.base import FilmedClips, Frames
from .dataset import Dataset, Example
from .io.images import LabelError, match_labels, size_message
from .statistics import class_frequencies, count_labels

Kind = Literal[
    "missing",
    "unreadable",
    "labels",
    "size",
    "empty",
    "duplicate",
    "shared",
    "unseen",
    "incomplete",
]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a data set.

    Args:
        kind: "missing" file, "unreadable" file, "labels" of no class, "size" of picture and
            label map differ, or of the frames of a sequence, "empty" split, "duplicate" in a split,
            "shared" by two splits, "unseen" class (no pixel of it in a split), and "incomplete"
            split: more or fewer examples than the data set's authors have.
        where: the split, or splits.
        message: what it is, with the file's name.
    """

    kind: Kind
    where: str
    message: str

    @property
    def is_warning(self) -> bool:
        """Whether one can train all the same: a class or examples that a split lacks."""
        return self.kind in ("unseen", "incomplete")

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.message}"


@dataclass(frozen=True)
class Survey:
    """What reading a whole data set found.

    Args:
        faults: every fault, warnings last.
        counts: for each split the pixels of each class in each readable example, int64 (N, L).
    """

    faults: list[Fault]
    counts: dict[str, np.ndarray]


def check(dataset: Dataset, *, workers: int | None = None) -> list[Fault]:
    """Reads every example and lists all faults; see `Fault`.

    Args:
        dataset: the data set.
        workers: threads that read; one a processor by default.

    Raises:
        ValueError: on fewer than one worker.
    """
    return survey(dataset, workers=workers).faults


def survey(dataset: Dataset, *, workers: int | None = None) -> Survey:
    """As `check`, with the counted pixels. Shows its progress on stderr."""
    faults, counts = _list_faults(dataset), {}
    found: dict[Example, tuple[list[Fault], np.ndarray | None]] = {}
    with _pool(workers) as pool:
        for split, examples in dataset.splits.items():
            # An example of a split within another is read once.
            new = [example for example in examples if example not in found]
            results = pool.map(partial(_examine, dataset, split), new)
            results = list(progress(results, f"{dataset.name} {split}", len(new)))
            found |= zip(new, results, strict=True)
            faults += [fault for some, _ in results for fault in some]
            rows = [found[example][1] for example in examples]
            rows = [row for row in rows if row is not None]
            counts[split] = np.reshape(rows, (len(rows), dataset.classes.num_classes)).astype(int)
        for split, examples in dataset.unlabelled.items():
            results = pool.map(partial(_examine_picture, split), examples)
            for some in progress(results, f"{dataset.name} {split}", len(examples)):
                faults += some
    return Survey(faults + _unseen(dataset, counts) + _incomplete(dataset), counts)


def sequence_faults(dataset: FilmedClips, *, workers: int | None = None) -> list[Fault]:
    """Reads all frames of clips and lists what `check` does not see, as it reads examples alone.

    These are frames without labels that can't be read, and frames of another size than the first
    of their sequence. Shows its progress on stderr.

    Args:
        dataset: the data set.
        workers: as in `check`.

    Raises:
        ValueError: as `check`.
    """
    faults = []
    with _pool(workers) as pool:
        for split, sequences in dataset.sequences.items():
            # One thread a sequence: a video is read forwards.
            found = pool.map(partial(_examine_sequence, dataset, split), sequences)
            for some in progress(found, f"{dataset.name} {split}, all frames", len(sequences)):
                faults += some
    return faults


def _examine_sequence(dataset: FilmedClips, split: str, sequence: Frames) -> list[Fault]:
    examples, faults, sizes = set(dataset.examples(split)), [], {}
    for frame in sequence:
        try:
            sizes[frame] = dataset.read_frame(frame).shape[:2]
        except ValueError as error:
            if frame not in examples:
                faults.append(Fault("unreadable", split, str(error)))
    for frame, (height, width) in sizes.items():
        first, (first_height, first_width) = next(iter(sizes.items()))
        if (height, width) != (first_height, first_width):
            message = (
                f"{frame.image or frame.name}: {width}x{height} pixels, but {first.name} has "
                f"{first_width}x{first_height}; the frames of a sequence must agree."
            )
            faults.append(Fault("size", split, message))
    return faults


def _pool(workers: int | None) -> ThreadPoolExecutor:
    workers = os.cpu_count() or 1 if workers is None else workers
    if workers < 1:
        raise ValueError(f"Invalid value for argument `workers`: expected 1 up, got {workers}.")
    return ThreadPoolExecutor(workers)


def _list_faults(dataset: Dataset) -> list[Fault]:
    """Faults of the lists themselves."""
    everything = {**dataset.splits, **dataset.unlabelled}
    faults = [
        Fault("empty", split, "the split has no examples.")
        for split, examples in everything.items()
        if not examples
    ]
    homes = defaultdict(list)
    for split, examples in everything.items():
        for example in examples:
            homes[str(example.image or example.name)].append(split)
    for key, splits in homes.items():
        for split in dict.fromkeys(splits):
            if splits.count(split) > 1:
                times = splits.count(split)
                faults.append(Fault("duplicate", split, f"{key} is listed {times} times."))
        apart = [s for s in dict.fromkeys(splits) if dataset.within.get(s) not in splits]
        if len(apart) > 1:
            where = " and ".join(apart)
            faults.append(Fault("shared", where, f"{key} is in both; results would mislead."))
    return faults


def _examine(
    dataset: Dataset, split: str, example: Example
) -> tuple[list[Fault], np.ndarray | None]:
    """The faults of one example, and its pixels of each class where there are none."""
    num_classes = dataset.classes.num_classes
    if example.image is None:
        try:
            labels = match_labels(dataset.read(example)[1], dataset.classes, example.name)
            return [], count_labels(labels, num_classes)
        except LabelError as error:
            return [Fault("labels", split, str(error))], None
        except ValueError as error:
            return [Fault("unreadable", split, f"{example.name}: {error}")], None
    pixels, image_faults = _try(partial(read_image, example.image), example.image, split)
    read_labels = partial(dataset.read_labels, example)
    labels, label_faults = _try(read_labels, example.label, split)
    faults = image_faults + label_faults
    if not faults and pixels.shape[:2] != labels.shape:
        faults = [Fault("size", split, size_message(example.image, pixels, example.label, labels))]
    return faults, None if faults else count_labels(labels, num_classes)


def _examine_picture(split: str, example: Example) -> list[Fault]:
    """The faults of a picture that has no labels."""
    return _try(partial(read_image, example.image), example.image, split)[1]


def _try(
    read: Callable[[], np.ndarray], path: Path, split: str
) -> tuple[np.ndarray | None, list[Fault]]:
    try:
        return read(), []
    except ImageError as error:
        if not path.is_file():
            return None, [Fault("missing", split, str(error))]
        kind = "labels" if isinstance(error, LabelError) else "unreadable"
        return None, [Fault(kind, split, str(error))]


def _unseen(dataset: Dataset, counts: dict[str, np.ndarray]) -> list[Fault]:
    faults = []
    for split, rows in counts.items():
        missing = np.flatnonzero(rows.sum(axis=0) == 0) if len(rows) else []
        names = ", ".join(dataset.classes.names[label] for label in missing)
        if names:
            faults.append(Fault("unseen", split, f"no pixel of {names}."))
    return faults


def _incomplete(dataset: Dataset) -> list[Fault]:
    faults = []
    for split, examples in {**dataset.splits, **dataset.unlabelled}.items():
        expected = dataset.official.get(split, len(examples))
        if len(examples) != expected:
            message = f"{len(examples)} examples; the complete data set has {expected}."
            faults.append(Fault("incomplete", split, message))
    return faults


def class_table(dataset: Dataset, found: Survey) -> Table:
    """Return each class's fraction of the pixels, and the images that show it, by split."""
    table = Table(title=f"{dataset.name}: fraction of pixels (images that show it)")
    table.add_column("class")
    for split, rows in found.counts.items():
        table.add_column(f"{split}, {len(rows)}", justify="right")
    shares = [class_frequencies(rows.sum(axis=0)) for rows in found.counts.values()]
    pictures = [(rows > 0).sum(axis=0) for rows in found.counts.values()]
    for label, name in enumerate(dataset.classes.names):
        pairs = zip(shares, pictures, strict=True)
        table.add_row(name, *(f"{share[label]:.2%} ({shown[label]})" for share, shown in pairs))
    return table


def fault_table(faults: list[Fault]) -> Table:
    """Return a row for each fault and warning."""
    table = Table("split", "fault", "what", title=f"Faults and warnings: {len(faults)}")
    for fault in faults:
        style = "yellow" if fault.is_warning else "red"
        table.add_row(fault.where, fault.kind, fault.message, style=style)
    return table
