"""Finished runs, and what scripts have left in their directories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_dpn import metrics

from ..evaluation.comparison import Counts, load_counts
from ..evaluation.results import evaluation_file
from ..rundir.paths import RESULTS, read_json

SPLITS = ("val", "test", "train")


class Run(NamedTuple):
    """A finished run: its directory, results.json, and a title that no other run has."""

    work_dir: Path
    title: str
    results: dict[str, Any]


def read_runs(work_dirs: Sequence[Path]) -> list[Run]:
    """The runs in these directories.

    Raises:
        ValueError: if one has no results, or is named twice.
    """
    places = [work_dir.resolve() for work_dir in work_dirs]
    unique = len({place.name for place in places}) == len(places)
    runs = []
    for work_dir, place in zip(work_dirs, places, strict=True):
        if not (work_dir / RESULTS).is_file():
            raise ValueError(
                f"{work_dir / RESULTS}: no such file; expected a finished training run."
            )
        if places.count(place) > 1:
            raise ValueError(f"{work_dir}: expected different runs, received this one twice.")
        title = place.name if unique else str(work_dir)
        runs.append(Run(work_dir, title, read_json(work_dir / RESULTS)))
    return runs


def evaluated_split(work_dirs: Sequence[Path], splits: Sequence[str] = SPLITS) -> str | None:
    """The first of splits of whose every picture scores are known in all runs; None without one."""
    for split in splits:
        files = [evaluation_file(work_dir, split) for work_dir in work_dirs]
        if all(f.is_file() and f.with_suffix(".npz").is_file() for f in files):
            return split
    return None


def stage_counts(work_dir: Path, split: str) -> list[Counts]:
    """What `training.evaluate` counted in each picture, by stage; those with a CRF left out."""
    stages = [stage["name"] for stage in read_json(evaluation_file(work_dir, split))["stages"]]
    return [
        load_counts(f"{work_dir}:{name}", split) for name in stages if not name.endswith("+crf")
    ]


def choose_pictures(first: Counts, last: Counts, count: int) -> dict[str, str]:
    """The best, the worst and the most changed pictures, in equal parts, each with a title.

    Args:
        first: what was counted before, in each picture.
        last: what was counted after; best and worst by this, by the mean IoU of the single picture.
        count: how many, at most.

    Returns:
        Titles by the pictures' names.

    Example:
    >>> import numpy as np
    >>> good, bad = np.array([[4, 0], [0, 4]]), np.array([[2, 2], [2, 2]])
    >>> first = Counts("first", ["a", "b", "c"], np.stack([good, bad, bad]))
    >>> last = Counts("last", ["a", "b", "c"], np.stack([good, good, bad]))
    >>> choose_pictures(first, last, 3)
    {'a': 'best: 100 %', 'c': 'worst: 33 %', 'b': 'changed most: 33 → 100 %'}
    """
    before, after = (_picture_scores(counts) for counts in (first, last))
    size = max(1, count // 3)
    names = sorted((name for name in after if name in before), key=after.get)
    best = sorted(names, key=after.get, reverse=True)[:size]
    titles = {name: f"best: {100 * after[name]:.0f} %" for name in best}
    for name in names[:size]:
        titles.setdefault(name, f"worst: {100 * after[name]:.0f} %")
    changes = {n: abs(after[n] - before[n]) for n in names if n not in titles}
    for name in sorted((n for n in changes if changes[n]), key=changes.get, reverse=True)[:size]:
        titles[name] = f"changed most: {100 * before[name]:.0f} → {100 * after[name]:.0f} %"
    return dict(list(titles.items())[:count])


def _picture_scores(counts: Counts) -> dict[str, float]:
    pairs = zip(counts.names, counts.confusions, strict=True)
    return {name: metrics.mean_iou(confusion) for name, confusion in pairs if confusion.any()}
