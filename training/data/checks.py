"""Read a whole dataset and find all issues before training."""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from keras_dpn.io.images import ImageError, read_image

from ..utils.progress import progress
from ..utils.ray_cluster import ClusterOptions, ClusterPool
from .clips.base import Frames, RecordedClips
from .dataset import Dataset, Example
from .io.images import LabelError, match_labels, size_message
from .statistics import count_labels

Pool = ThreadPoolExecutor | ClusterPool
Lists = Mapping[str, tuple[Example, ...]]
IssueType = Literal[
    "missing",
    "unreadable",
    "labels",
    "size",
    "empty",
    "duplicate",
    "shared",
    "ignored",
    "unseen",
    "incomplete",
]


@dataclass(frozen=True)
class DatasetIssue:
    """An issue of a dataset.

    Args:
        type: "missing" file; "unreadable" file; "labels" of no class; "size" of an image differs
            from its label map's, or from the first frame's of its sequence; "empty" split;
            "duplicate" in a split; "shared" by two splits; "ignored" are all pixels of an image;
            "unseen" class, without a pixel in a
            split; "incomplete" split, with another number of examples than the complete dataset.
        where: the split, or splits.
        message: the details, with the file's name.
    """

    type: IssueType
    where: str
    message: str

    @property
    def is_warning(self) -> bool:
        """Whether training is possible despite the issue: a class, labels or examples lack."""
        return self.type in ("ignored", "unseen", "incomplete")

    def __str__(self) -> str:
        return f"{self.where}: {self.type}: {self.message}"


@dataclass(frozen=True)
class DatasetScan:
    """The result of reading a whole dataset.

    Args:
        issues: every issue, warnings last.
        counts: for each split the pixels of each class in each readable example, int64 (N, L).
        ignored: for each split the ignored pixels in each of these, int64 (N,).
        names: for each split the names of these.
        sizes: for each split height and width of these, int64 (N, 2).
    """

    issues: list[DatasetIssue]
    counts: dict[str, np.ndarray]
    ignored: dict[str, np.ndarray]
    names: dict[str, list[str]]
    sizes: dict[str, np.ndarray]

    @property
    def errors(self) -> list[DatasetIssue]:
        """The issues that prevent training."""
        return [issue for issue in self.issues if not issue.is_warning]

    def ignored_fractions(self, split: str) -> np.ndarray:
        """Return the fraction of ignored pixels in each of a split's readable images, (N,)."""
        ignored = self.ignored[split]
        return ignored / (ignored + self.counts[split].sum(axis=1)).clip(1)

    def pixel_counts(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels of each class, and all pixels of the images that contain it.

        Args:
            split: one of the dataset's.

        Returns:
            Two int64 arrays (L,), as `median_frequency_weights` takes them. Ignored pixels don't
            count.
        """
        counts = self.counts[split]  # (N, L)
        return counts.sum(axis=0), (counts.sum(axis=1, keepdims=True) * (counts > 0)).sum(axis=0)


def scan_dataset(
    dataset: Dataset,
    splits: Collection[str] | None = None,
    *,
    workers: int | None = None,
    cluster: ClusterOptions | None = None,
) -> DatasetScan:
    """Read every example, list all issues and count pixels. Shows its progress on stderr.

    Args:
        dataset: the dataset.
        splits: read only these; by default all.
        workers: threads that read; one per processor by default.
        cluster: the Ray cluster whose processes read, instead of threads; its machines see the
            dataset's files at the same paths.

    Raises:
        ValueError: on fewer than one worker, and as `utils.ray_cluster.connect`.
        OSError: as `utils.ray_cluster.ClusterPool.map`.
    """
    labelled, unlabelled = _chosen(dataset.splits, splits), _chosen(dataset.unlabelled, splits)
    lists = {**labelled, **unlabelled}
    issues = _check_lists(dataset, lists)
    counts: dict[str, np.ndarray] = {}
    ignored: dict[str, np.ndarray] = {}
    names: dict[str, list[str]] = {}
    sizes: dict[str, np.ndarray] = {}
    results: dict[Example, tuple[list[DatasetIssue], np.ndarray | None]] = {}
    with _pool(workers, cluster) as pool:
        for split, examples in labelled.items():
            # An example of a split that contains another split is read once.
            new = [example for example in examples if example not in results]
            scanned = pool.map(partial(_scan_example, dataset, split), new)
            pairs = zip(new, progress(scanned, f"{dataset.name} {split}", len(new)), strict=True)
            results |= pairs
            issues += [issue for example in new for issue in results[example][0]]
            readable = [(e.name, row) for e in examples if (row := results[e][1]) is not None]
            shape = len(readable), dataset.classes.num_classes + 3
            rows = np.reshape([row for _, row in readable], shape).astype(int)
            counts[split], ignored[split], sizes[split] = rows[:, :-3], rows[:, -3], rows[:, -2:]
            names[split] = [name for name, _ in readable]
        for split, examples in unlabelled.items():
            images = pool.map(partial(_scan_image, split), examples)
            for listed in progress(images, f"{dataset.name} {split}", len(examples)):
                issues += listed
    issues += [*_check_ignored(counts, ignored, names), *_check_classes(dataset, counts)]
    return DatasetScan(issues + _check_sizes(dataset, lists), counts, ignored, names, sizes)


def scan_sequences(dataset: RecordedClips, *, workers: int | None = None) -> list[DatasetIssue]:
    """Read all frames of clips and list the issues that `scan_dataset` doesn't see.

    These are frames without labels that can't be read, and frames of another size than the first
    of their sequence. Shows its progress on stderr.

    Args:
        dataset: the dataset.
        workers: as in `scan_dataset`.

    Raises:
        ValueError: as `scan_dataset`.
    """
    issues = []
    with _pool(workers) as pool:
        for split, sequences in dataset.sequences.items():
            # One thread per sequence: a video is read forwards.
            scanned = pool.map(partial(_scan_sequence, dataset, split), sequences)
            for listed in progress(scanned, f"{dataset.name} {split}, all frames", len(sequences)):
                issues += listed
    return issues


def _scan_sequence(dataset: RecordedClips, split: str, sequence: Frames) -> list[DatasetIssue]:
    examples, issues, sizes = set(dataset.examples(split)), [], {}
    for frame in sequence:
        try:
            sizes[frame] = dataset.read_frame(frame).shape[:2]
        except ValueError as error:
            if frame not in examples:
                issues.append(DatasetIssue("unreadable", split, str(error)))
    for frame, (height, width) in sizes.items():
        first, (first_height, first_width) = next(iter(sizes.items()))
        if (height, width) != (first_height, first_width):
            message = (
                f"{frame.image or frame.name}: {width}x{height} pixels, but {first.name} has "
                f"{first_width}x{first_height}; the frames of a sequence must agree."
            )
            issues.append(DatasetIssue("size", split, message))
    return issues


def _pool(workers: int | None, cluster: ClusterOptions | None = None) -> Pool:
    if cluster is not None:
        return ClusterPool(cluster)
    workers = os.cpu_count() or 1 if workers is None else workers
    if workers < 1:
        raise ValueError(
            f"Invalid value for argument `workers`: expected 1 or more, received {workers}."
        )
    return ThreadPoolExecutor(workers)


def _chosen(lists: Lists, splits: Collection[str] | None) -> Lists:
    return {name: lists[name] for name in lists if splits is None or name in splits}


def _check_lists(dataset: Dataset, lists: Lists) -> list[DatasetIssue]:
    """Return the issues of the splits' lists."""
    issues = [
        DatasetIssue("empty", split, "the split has no examples.")
        for split, examples in lists.items()
        if not examples
    ]
    splits_by_image = defaultdict(list)
    for split, examples in lists.items():
        for example in examples:
            splits_by_image[str(example.image or example.name)].append(split)
    for image, splits in splits_by_image.items():
        for split in dict.fromkeys(splits):
            if splits.count(split) > 1:
                message = f"{image} is listed {splits.count(split)} times."
                issues.append(DatasetIssue("duplicate", split, message))
        separate = [s for s in dict.fromkeys(splits) if dataset.subset_of.get(s) not in splits]
        if len(separate) > 1:
            where = " and ".join(separate)
            issues.append(DatasetIssue("shared", where, f"{image} is in both; scores mislead."))
    return issues


def _scan_example(
    dataset: Dataset, split: str, example: Example
) -> tuple[list[DatasetIssue], np.ndarray | None]:
    """Return the issues of one example, and its pixels (L+3,) if there are none.

    They are those of each class, the ignored ones, height and width.
    """
    num_classes = dataset.classes.num_classes

    def count(labels: np.ndarray) -> np.ndarray:
        pixels = count_labels(labels, num_classes)
        return np.append(pixels, [labels.size - pixels.sum(), *labels.shape])

    if example.image is None:
        try:
            values = dataset.read(example)[1]
            return [], count(match_labels(values, dataset.classes, example.name))
        except LabelError as error:
            return [DatasetIssue("labels", split, str(error))], None
        except ValueError as error:
            return [DatasetIssue("unreadable", split, f"{example.name}: {error}")], None
    image, label = example.image, example.label_file
    pixels, image_issues = _try(partial(read_image, image), image, split)
    labels, label_issues = _try(partial(dataset.read_labels, example), label, split)
    if pixels is None or labels is None:
        return image_issues + label_issues, None
    if pixels.shape[:2] != labels.shape:
        message = size_message(image, pixels, label, labels)
        return [DatasetIssue("size", split, message)], None
    return [], count(labels)


def _scan_image(split: str, example: Example) -> list[DatasetIssue]:
    """Return the issues of an image that has no labels."""
    return _try(partial(read_image, example.image_file), example.image_file, split)[1]


def _try(
    read: Callable[[], np.ndarray], path: Path, split: str
) -> tuple[np.ndarray | None, list[DatasetIssue]]:
    try:
        return read(), []
    except ImageError as error:
        if not path.is_file():
            return None, [DatasetIssue("missing", split, str(error))]
        is_label = isinstance(error, LabelError)
        return None, [DatasetIssue("labels" if is_label else "unreadable", split, str(error))]


def _check_ignored(
    counts: dict[str, np.ndarray], ignored: dict[str, np.ndarray], names: dict[str, list[str]]
) -> list[DatasetIssue]:
    return [
        DatasetIssue("ignored", split, f"{name}: all pixels are ignored.")
        for split, pixels in ignored.items()
        for name, number, labelled in zip(names[split], pixels, counts[split], strict=True)
        if number and not labelled.any()
    ]


def _check_classes(dataset: Dataset, counts: dict[str, np.ndarray]) -> list[DatasetIssue]:
    issues = []
    for split, rows in counts.items():
        is_missing = (rows.sum(axis=0) == 0) & bool(len(rows))
        names = ", ".join(dataset.classes.names[label] for label in np.flatnonzero(is_missing))
        if names:
            issues.append(DatasetIssue("unseen", split, f"no pixel of {names}."))
    return issues


def _check_sizes(dataset: Dataset, lists: Lists) -> list[DatasetIssue]:
    issues = []
    for split, examples in lists.items():
        expected = dataset.expected_size.get(split, len(examples))
        if len(examples) != expected:
            message = f"{len(examples)} examples; the complete dataset has {expected}."
            issues.append(DatasetIssue("incomplete", split, message))
    return issues
