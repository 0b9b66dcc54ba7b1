"""Finished runs: their scores, and the images on which they do best and worst."""

import functools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_dpn import metrics
from keras_dpn.models.heads import head_of

from ..configs.serialization import from_json, upgrade
from ..evaluation.results import Counts, Evaluation
from ..evaluation.scores import OTHER_SCORES, SCORES, HeadScores
from ..evaluation.tables import score_definitions
from ..rundir.paths import RESULTS, evaluation_files, load_results, load_stages
from ..utils.files import reading

SPLITS = ("val", "test", "train")
# Facts about a stage of training, besides its scores.
_TRAINING = ("epochs", "best_epoch", "steps", "seconds", "parameters_trained")
# Titles of stages that aren't named after their head.
_STAGE_TITLES = {"joint": "joint training", "finish": "finishing"}


@dataclass(frozen=True)
class ScoreColumn:
    """A column of a table of scores.

    Args:
        title: the stage, run or row of an ablation.
        values: 0..1 or None, by the keys of `SCORES` and `OTHER_SCORES`.
        iou: of each class, 0..1 or None.
        training: any of "epochs", "best_epoch", "steps", "seconds" and "parameters_trained".
        definitions: definitions of the scores of objects and the calibration error.
    """

    title: str
    values: Mapping[str, float | None]
    iou: Sequence[float | None]
    training: Mapping[str, float | None] = field(default_factory=dict)
    definitions: str = ""

    @classmethod
    def of(
        cls, title: str, scores: HeadScores, training: Mapping[str, float | None] | None = None
    ) -> "ScoreColumn":
        """Return the column of one head's scores."""
        values = {key: scores.value(key) for key in (*SCORES, *OTHER_SCORES)}
        known = scores.objects is not None and scores.calibration is not None
        definitions = score_definitions(scores) if known else ""
        return cls(title, values, scores.iou, training or {}, definitions)

    @classmethod
    def mean(cls, title: str, columns: Sequence["ScoreColumn"]) -> "ScoreColumn":
        """Return the means of columns; None where one of them has no value."""
        values = {key: _mean(column.values[key] for column in columns) for key in columns[0].values}
        iou = [_mean(row) for row in zip(*(column.iou for column in columns), strict=True)]
        return cls(title, values, iou, definitions=columns[0].definitions)


@dataclass(frozen=True)
class StageResult:
    """A stage of training in results.json: its scores, time and size."""

    name: str
    scores: HeadScores
    training: Mapping[str, float | None]

    @property
    def column(self) -> ScoreColumn:
        """Its column in a table of scores."""
        return ScoreColumn.of(stage_title(self.name), self.scores, self.training)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        work_dir: its directory.
        title: a name that no other run of the report has.
        config: the configuration, as JSON values.
        versions: of the packages it ran with.
        seed: of the training.
        stages: of the training, in order.
    """

    work_dir: Path
    title: str
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    stages: tuple[StageResult, ...]

    @classmethod
    def load(cls, work_dir: Path, title: str | None = None) -> "Run":
        """Read a run's results.json.

        Raises:
            ValueError: if there is none, or if its configuration is of an unknown version.
        """
        results = load_results(work_dir)
        with reading(work_dir / RESULTS, "the results of a training run"):
            stages = tuple(
                StageResult(
                    stage["name"],
                    HeadScores.from_json(stage),
                    {key: stage[key] for key in _TRAINING if key in stage},
                )
                for stage in results["stages"]
            )
            config = upgrade(results["config"], work_dir / RESULTS)
            versions, seed = results["versions"], results["seed"]
        return cls(work_dir, title or work_dir.name, config, versions, seed, stages)

    @property
    def network(self) -> str:
        """The name of the network's class."""
        return self.config["network"]

    @property
    def summary(self) -> str:
        """The network and its precision in one line."""
        return "; ".join(from_json(self.config, self.work_dir / RESULTS).summary())

    @property
    def val_split(self) -> str:
        """The split of the stages' scores."""
        return self.config.get("data", {}).get("val_split", "val")

    @property
    def last_stage(self) -> StageResult:
        """The last stage of training."""
        return self.stages[-1]

    @functools.cached_property
    def heads(self) -> Mapping[str, str]:
        """The head of the network that each stage of training trains."""
        return {name: stage.head for name, stage in load_stages(self.work_dir).items()}

    @property
    def last_head(self) -> str:
        """The head that the last stage trains."""
        return self.heads[self.last_stage.name]

    @functools.cached_property
    def evaluations(self) -> Sequence[Evaluation]:
        """The results of `keras-dpn evaluate`, in the order of the splits' names."""
        return [Evaluation.load(path) for path in evaluation_files(self.work_dir).values()]


def read_runs(work_dirs: Sequence[Path]) -> list[Run]:
    """Read the runs in these directories.

    Raises:
        ValueError: if one has no results, or is named twice.
    """
    paths = [work_dir.resolve() for work_dir in work_dirs]
    unique = len({path.name for path in paths}) == len(paths)
    runs = []
    for work_dir, path in zip(work_dirs, paths, strict=True):
        if paths.count(path) > 1:
            raise ValueError(f"{work_dir}: expected different runs, received this one twice.")
        runs.append(Run.load(work_dir, path.name if unique else str(work_dir)))
    return runs


def stage_title(name: str) -> str:
    """Return the title of a stage of training, or of a head, known by its name."""
    return _STAGE_TITLES.get(name) or head_of(name).title


def evaluated_split(runs: Sequence[Run], splits: Iterable[str] | None = None) -> str | None:
    """Return the first split with scores of each image in all runs; None without one.

    Args:
        runs: the runs.
        splits: the splits to look at, in order; by default the usual ones and the runs' own.
    """
    if splits is None:
        splits = dict.fromkeys([*SPLITS, *(run.val_split for run in runs)])
    files_of_runs = [evaluation_files(run.work_dir) for run in runs]
    for split in splits:
        if all(
            split in files and files[split].with_suffix(".npz").is_file() for files in files_of_runs
        ):
            return split
    return None


def head_counts(run: Run, split: str) -> list[Counts]:
    """Read the counts of each image from `keras-dpn evaluate`, by head, without those of a CRF."""
    evaluation = Evaluation.load(evaluation_files(run.work_dir)[split])
    return [
        Counts(f"{run.work_dir}:{head.name}", evaluation.image_names, head.confusions)
        for head in evaluation.heads
        if head.confusions is not None and not head.name.endswith("+crf")
    ]


def choose(
    runs: Sequence[Run], split: str | None, num_images: int
) -> tuple[str, dict[str, str] | None]:
    """Choose the split and the images that a report shows.

    Args:
        runs: one, of which each stage is shown, or several, of which the last is.
        split: the split; None for one on which each image has been scored, or else the first
            run's validation split.
        num_images: at most this many.

    Returns:
        The split, and the titles of its images by name; None where their scores are unknown.
    """
    split = split or evaluated_split(runs) or runs[0].val_split
    if evaluated_split(runs, (split,)) is None or not num_images:
        return split, None
    if len(runs) == 1:
        counts = head_counts(runs[0], split)
    else:
        counts = [head_counts(run, split)[-1] for run in runs]
    return split, choose_images(counts[0], counts[-1], num_images) or None


def choose_images(first: Counts, last: Counts, num_images: int) -> dict[str, str]:
    """Choose the best, the worst and the most changed images, in equal parts, each with a title.

    Args:
        first: counts of each image before.
        last: counts after, whose mean IoU per image determines the best and the worst.
        num_images: at most this many.

    Returns:
        Titles by the images' names.

    Example:
    >>> import numpy as np
    >>> good, bad = np.array([[4, 0], [0, 4]]), np.array([[2, 2], [2, 2]])
    >>> first = Counts("first", ["a", "b", "c"], np.stack([good, bad, bad]))
    >>> last = Counts("last", ["a", "b", "c"], np.stack([good, good, bad]))
    >>> choose_images(first, last, 3)
    {'a': 'best: 100 %', 'c': 'worst: 33 %', 'b': 'changed most: 33 → 100 %'}
    """
    before, after = (_image_scores(counts) for counts in (first, last))
    size = max(1, num_images // 3)
    names = sorted((name for name in after if name in before), key=lambda name: after[name])
    best = sorted(names, key=lambda name: after[name], reverse=True)[:size]
    titles = {name: f"best: {100 * after[name]:.0f} %" for name in best}
    for name in names[:size]:
        titles.setdefault(name, f"worst: {100 * after[name]:.0f} %")
    changes = {name: abs(after[name] - before[name]) for name in names if name not in titles}
    changed = [name for name in changes if changes[name]]
    for name in sorted(changed, key=lambda name: changes[name], reverse=True)[:size]:
        titles[name] = f"changed most: {100 * before[name]:.0f} → {100 * after[name]:.0f} %"
    return dict(list(titles.items())[:num_images])


def _image_scores(counts: Counts) -> dict[str, float]:
    pairs = zip(counts.names, counts.confusions, strict=True)
    return {name: metrics.mean_iou(confusion) for name, confusion in pairs if confusion.any()}


def _mean(values: Iterable[float | None]) -> float | None:
    given = list(values)
    known = [value for value in given if value is not None]
    return statistics.fmean(known) if len(known) == len(given) else None
