"""Search the settings of a fully connected CRF (DeepLab v1, section 5)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_dpn import metrics, viz
from keras_dpn.classes import Classes
from keras_dpn.crf import refine
from keras_dpn.inference import Predictor, to_labels

from ..data.dataset import Dataset
from ..rundir.models import load_model
from ..rundir.outputs import replacing
from ..rundir.paths import CRF, CRF_SEARCH, load_stages, model_file
from ..utils.files import read_json, reading, write_bytes, write_json
from ..utils.progress import progress_bar
from .cached_predictions import Predict, cache_predictions, digest_predictions, read_prediction
from .crf_grid import Axes, Setting, coarse_to_fine, count_settings


@dataclass(frozen=True)
class SettingScores:
    """The scores of the cached predictions with a CRF.

    Args:
        miou: mean IoU.
        confusion: pixels by class, truth in rows.
        bilateral: w1, sigma_alpha and sigma_beta; None without a CRF.
    """

    miou: float
    confusion: Sequence[Sequence[int]]
    bilateral: Setting | None = None

    def __str__(self) -> str:
        setting = "without a CRF"
        if self.bilateral is not None:
            w1, sigma_alpha, sigma_beta = self.bilateral
            setting = f"at w1 {w1:g}, sigma_alpha {sigma_alpha:g}, sigma_beta {sigma_beta:g}"
        return f"mean IoU {100 * self.miou:.2f}% {setting}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        values = {"miou": self.miou, "confusion": self.confusion}
        return values if self.bilateral is None else {"bilateral": list(self.bilateral), **values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SettingScores:
        """Read what `to_json` returned."""
        setting: Setting | None = None
        if "bilateral" in values:
            w1, sigma_alpha, sigma_beta = values["bilateral"]
            setting = w1, sigma_alpha, sigma_beta
        return cls(values["miou"], values["confusion"], setting)


@dataclass(frozen=True)
class SearchConditions:
    """The conditions of a search. Only scores of equal conditions are compared.

    Args:
        dataset: name of the dataset.
        split: of the images.
        stage: stage of training whose network predicts; None: the final one.
        num_images: number of images.
        predictions: a digest of networks, images and labels.
        fixed: the CRF's other settings, keyword arguments of `crf.refine`.
    """

    dataset: str
    split: str
    stage: str | None
    num_images: int
    predictions: str
    fixed: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "stage": self.stage,
            "images": self.num_images,
            "answers": self.predictions,
            "fixed": dict(self.fixed),
        }


@dataclass
class SearchRecord:
    """The scores of a search so far.

    Args:
        conditions: of all scores.
        baseline: score without a CRF.
        settings: scores with a CRF, in the order of the search.
    """

    conditions: SearchConditions
    baseline: SettingScores
    settings: list[SettingScores] = field(default_factory=list)

    @property
    def best(self) -> SettingScores:
        """The setting of the highest mean IoU."""
        return max(self.settings, key=lambda scores: scores.miou)

    def save(self, path: Path) -> None:
        """Write the record as JSON."""
        values = {
            **self.conditions.to_json(),
            "baseline": self.baseline.to_json(),
            "settings": [scores.to_json() for scores in self.settings],
            "best": self.best.to_json(),
        }
        write_json(path, values)

    @classmethod
    def load(cls, path: Path, conditions: SearchConditions) -> SearchRecord | None:
        """Read the record of an earlier search; None unless it had the same conditions."""
        values = read_json(path) if path.is_file() else {}
        with reading(path, "the record of a search"):
            if not conditions.to_json().items() <= values.items():
                return None
            settings = [SettingScores.from_json(scores) for scores in values["settings"]]
            return cls(conditions, SettingScores.from_json(values["baseline"]), settings)


@dataclass(frozen=True)
class SearchResult:
    """The record of a search, and the files that it has written."""

    record: SearchRecord
    files: tuple[Path, ...]


def search_run(
    work_dir: Path,
    dataset: Dataset,
    split: str,
    *,
    stage: str | None,
    num_images: int,
    axes: Axes,
    rounds: int,
    fixed: Mapping[str, Any],
    force: bool = False,
) -> SearchResult:
    """Search the CRF of a run's network; write its settings, all scores and a heat map.

    Args:
        work_dir: directory of the run; receives the files, and the network's predictions.
        dataset: the images and their labels.
        split: "train" or "val".
        stage: stage of training whose best network predicts at its head; None: the final network.
        num_images: as in `cache_predictions`.
        axes: values of w1, sigma_alpha and sigma_beta, from `crf_grid.starting_axes`.
        rounds: number of finer grids.
        fixed: the CRF's other settings, keyword arguments of `crf.refine`.
        force: replace files that no search has written.

    Raises:
        ValueError: as `cache_predictions` and `search`; if a file would be replaced that no search
            has written; and if another process searches at the moment.
    """
    path = work_dir / f"{CRF_SEARCH}.json"
    settings, plot = work_dir / CRF, path.with_suffix(".png")
    with replacing(
        path, settings, plot, command="crf-search", force=force, recognizes=_is_search_file
    ):
        files = cache_predictions(
            dataset,
            split,
            num_images,
            work_dir / CRF_SEARCH / (stage or "final"),
            model_file(work_dir, stage),
            functools.partial(load_predict, work_dir, stage),
        )
        conditions = SearchConditions(
            dataset.name, split, stage, len(files), digest_predictions(files), fixed
        )
        record = search(files, dataset.classes, path, conditions, axes=axes, rounds=rounds)
        write_json(settings, {**fixed, "bilateral": record.best.bilateral})
        tried = [(scores.bilateral, scores.miou) for scores in record.settings if scores.bilateral]
        write_bytes(plot, viz.figure_png(viz.plot_crf_search(tried, record.baseline.miou)))
    return SearchResult(record, (settings, path, plot))


def _is_search_file(path: Path) -> bool:
    """Return whether a file of a run is one that a search has written, by the search's record."""
    try:
        record = read_json(path.with_name(f"{CRF_SEARCH}.json"))
        expected = {**record["fixed"], "bilateral": record["best"]["bilateral"]}
        return path.name != CRF or read_json(path) == expected
    except (ValueError, KeyError, TypeError, OSError):
        return False


def search(
    files: Sequence[Path],
    classes: Classes,
    path: Path,
    conditions: SearchConditions,
    *,
    axes: Axes,
    rounds: int,
) -> SearchRecord:
    """Score the settings of a grid, then of finer ones around the best.

    Args:
        files: from `cache_predictions`.
        classes: the network's.
        path: JSON file of the scores, written after each setting. Scores in it of the same
            conditions are not computed again; those of others are replaced.
        conditions: of the search.
        axes: values of w1, sigma_alpha and sigma_beta, from `crf_grid.starting_axes`.
        rounds: number of finer grids.

    Raises:
        ValueError: if no pixel of the images is labelled.
    """
    record = SearchRecord.load(path, conditions)
    if record is None:
        record = SearchRecord(conditions, _scores(_confusion(files, classes)))
    scores = {tried.bilateral: tried.miou for tried in record.settings if tried.bilateral}
    total = len(files) * count_settings(axes, rounds)
    with progress_bar("trying settings", total) as bar:
        for done, setting in enumerate(coarse_to_fine(axes, rounds, scores), start=1):
            if setting not in scores:
                crf = {**conditions.fixed, "bilateral": setting}
                tried = _scores(_confusion(files, classes, crf, bar.advance), setting)
                record.settings.append(tried)
                record.save(path)
                scores[setting] = tried.miou
            bar.update(done * len(files))
    return record


def load_predict(work_dir: Path, stage: str | None) -> Predict:
    """Return a function from an image to the probabilities of a run's network, or a stage's."""
    model = load_model(work_dir, stage)
    head = "final" if stage is None else load_stages(work_dir)[stage].head
    predictor = Predictor(model, heads=None if stage is None else (head,))
    return lambda image: predictor.probabilities(image)[head]


def _confusion(
    files: Sequence[Path],
    classes: Classes,
    crf: Mapping[str, Any] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Count the cached predictions, refined by a CRF if there is one."""
    confusion = np.zeros((classes.num_classes,) * 2, "int64")
    for file in files:
        image, labels, probabilities = read_prediction(file)
        if crf is not None:
            probabilities = np.asarray(refine(image, probabilities, **crf))
        predicted = to_labels(probabilities)
        confusion += metrics.confusion_matrix(
            labels, predicted, classes.num_classes, classes.ignore
        )
        advance()
    return confusion


def _scores(confusion: np.ndarray, bilateral: Setting | None = None) -> SettingScores:
    miou = metrics.scores(confusion)["miou"]
    if miou is None:
        raise ValueError("Expected at least one labelled pixel in the images, received none.")
    return SettingScores(miou, confusion.tolist(), bilateral)
