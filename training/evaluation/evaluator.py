"""Score networks on a split of a dataset, in one pass."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from keras_dpn.inference import InferenceSettings, Predictor, in_precision
from keras_dpn.models import from_preset

from ..data.clips.base import ClipDataset
from ..data.dataset import Dataset, Example
from ..rundir.models import load_model
from ..rundir.paths import RESULTS, load_results, load_stages
from ..utils.counts import counted
from ..utils.progress import progress
from ..utils.threads import prefetch_map
from .metrics import Metric, MetricSettings, Prediction, Sample
from .results import Evaluation
from .scores import HeadScores

T = TypeVar("T")
Probabilities = Mapping[str, np.ndarray]  # by head


class Evaluator:
    """Score every head of a predictor in one pass over a split; images of any sizes.

    Networks for clips predict whole videos in order of time; so do other networks if a metric
    requires it.

    Args:
        dataset: the images and their labels.
        metrics: the metrics, of which each head has copies.
        show_progress: whether to show a progress bar on a terminal.

    Example:

    >>> import keras
    >>> from training.data.generated.scenes import ScenesDataset
    >>> from training.evaluation.metrics import Confusion
    >>> dataset = ScenesDataset({"val": 1}, size=(48, 64))
    >>> evaluator = Evaluator(dataset, [Confusion(dataset.classes)])
    >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(11, 1)])
    >>> evaluation = evaluator.run(Predictor(model), "val")
    >>> evaluation.head("final").confusions.shape
    (1, 11, 11)
    """

    def __init__(
        self, dataset: Dataset, metrics: Sequence[Metric], *, show_progress: bool = False
    ) -> None:
        self._dataset, self._metrics, self._show_progress = dataset, metrics, show_progress

    def run(self, predictor: Predictor, split: str) -> Evaluation:
        """Score a predictor.

        Args:
            predictor: of the dataset's classes.
            split: one of the dataset's.

        Raises:
            ValueError: for a split that is unknown or empty, an image that can't be read, labels
                beyond the classes, a network with another number of classes, and if videos are
                needed, for a dataset without them.
        """
        examples = self._dataset.examples(split)
        if not examples:
            raise ValueError(f"The split '{split}' of {self._dataset.name} has no images.")
        if predictor.clip_frames or any(metric.needs_video for metric in self._metrics):
            predictions = self._predict_videos(predictor, split)
        else:
            predictions = self._predict_images(predictor, examples, split)
        metrics = {head: copy.deepcopy(list(self._metrics)) for head in predictor.heads}
        names = []
        for sample, maps in predictions:
            if sample.labels is not None:
                names.append(sample.name)
            for head, probabilities in maps.items():
                self._check_classes(probabilities)
                prediction = Prediction(probabilities)
                for metric in metrics[head]:
                    metric.update(sample, prediction)
        return Evaluation(
            dataset=self._dataset.name,
            split=split,
            num_images=len(examples),
            expected_images=self._dataset.expected_size.get(split),
            num_models=len(predictor.models),
            settings=predictor.settings,
            crf=predictor.crf,
            heads=tuple(_head_scores(head, counted) for head, counted in metrics.items()),
            image_names=tuple(names),
        )

    def _check_classes(self, probabilities: np.ndarray) -> None:
        expected, received = self._dataset.classes.num_classes, probabilities.shape[-1]
        if received != expected:
            raise ValueError(
                f"{self._dataset.name} has {expected} classes, but the network predicts {received}."
            )

    def _predict_images(
        self, predictor: Predictor, examples: Sequence[Example], split: str
    ) -> Iterator[tuple[Sample, Probabilities]]:
        read = prefetch_map(self._dataset.read, examples)
        pairs = self._with_progress(zip(examples, read, strict=True), split, len(examples))
        for example, (image, labels) in pairs:
            yield Sample(example.name, image, labels), predictor.probabilities(image)

    def _predict_videos(
        self, predictor: Predictor, split: str
    ) -> Iterator[tuple[Sample, Probabilities]]:
        """Yield the frames of all videos of a split that has labels, in order of time."""
        if not isinstance(self._dataset, ClipDataset):
            raise ValueError(f"Expected a dataset of clips, which {self._dataset.name} is not.")
        dataset = self._dataset
        videos = dataset.sequences[split]
        frames = itertools.chain.from_iterable(
            _predict_video(predictor, dataset, split, video) for video in videos
        )
        yield from self._with_progress(frames, split, sum(map(len, videos)))

    def _with_progress(self, items: Iterable[T], split: str, total: int) -> Iterable[T]:
        return progress(items, f"evaluating {split}", total) if self._show_progress else items


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    split: str,
    settings: MetricSettings | None = None,
    *,
    show_progress: bool = False,
) -> Evaluation:
    """Score every head of a predictor by the usual metrics.

    Args:
        predictor: of the dataset's classes.
        dataset: the images and their labels.
        split: one of the dataset's.
        settings: the scores to compute; a network for clips always has consistency.
        show_progress: whether to show a progress bar on a terminal.

    Raises:
        ValueError: as `Evaluator.run`.
    """
    settings = settings or MetricSettings()
    if predictor.clip_frames:
        settings = replace(settings, consistency=True)
    metrics = settings.metrics(dataset.classes)
    return Evaluator(dataset, metrics, show_progress=show_progress).run(predictor, split)


def evaluate_per_stage(
    work_dir: Path,
    dataset: Dataset,
    split: str,
    inference: InferenceSettings,
    settings: MetricSettings | None = None,
    *,
    crf: Mapping[str, Any] | None = None,
    precision: str | None = None,
    show_progress: bool = False,
) -> Evaluation:
    """Score the best model of each stage of a training run, at the head of that stage.

    Args:
        work_dir: directory of the run.
        dataset: the images and their labels.
        split: one of the dataset's.
        inference: settings of the inference.
        settings: the scores to compute.
        crf: as in `Predictor`.
        precision: dtype policy of the networks; None: as they were trained.
        show_progress: whether to show a progress bar on a terminal.

    Returns:
        The evaluation; its heads have the names of the stages of training.

    Raises:
        ValueError: as `Evaluator.run`, and if the run has no results yet.
    """
    trained = [stage["name"] for stage in load_results(work_dir)["stages"]]
    if not trained:
        raise ValueError(f"{work_dir / RESULTS}: expected at least one trained stage.")
    stages = load_stages(work_dir)

    def predictors() -> Iterator[tuple[str, Predictor]]:
        for name in trained:
            model = load_model(work_dir, name)
            if precision not in (None, "float32"):
                model = in_precision(model, precision)
            yield name, Predictor(model, inference, heads=(stages[name].head,), crf=crf)

    heads = _score_each(predictors(), dataset, split, settings, show_progress)
    return replace(heads, precision=precision)


def evaluate_per_iteration(
    network: str,
    num_iterations: Sequence[int],
    dataset: Dataset,
    split: str,
    inference: InferenceSettings,
    settings: MetricSettings | None = None,
    *,
    crf: Mapping[str, Any] | None = None,
    precision: str | None = None,
    show_progress: bool = False,
) -> Evaluation:
    """Score a trained network with other numbers of mean-field updates (Fig. 6b of the paper).

    Args:
        network: a preset, or the directory of a finished training run, as `models.from_preset`.
        num_iterations: numbers of updates, which share their weights.
        dataset: the images and their labels.
        split: one of the dataset's.
        inference: settings of the inference.
        settings: the scores to compute.
        crf: as in `Predictor`.
        precision: dtype policy of the network; None: float32.
        show_progress: whether to show a progress bar on a terminal.

    Returns:
        The evaluation; its heads are named "1 iteration", "5 iterations".

    Raises:
        ValueError: as `Evaluator.run`, and for a network without mean-field updates.
    """
    trained = from_preset(network, load_weights=False)
    if "num_iterations" not in trained.get_config():
        raise ValueError(f"{network}: a {type(trained).__name__} has no mean-field iterations.")

    def predictors() -> Iterator[tuple[str, Predictor]]:
        for count in num_iterations:
            model = from_preset(network, dtype=precision, num_iterations=count)
            name = counted(count, "iteration")
            yield name, Predictor(model, inference, heads=("final",), crf=crf)

    heads = _score_each(predictors(), dataset, split, settings, show_progress)
    return replace(heads, precision=precision)


def _score_each(
    predictors: Iterable[tuple[str, Predictor]],
    dataset: Dataset,
    split: str,
    settings: MetricSettings | None,
    show_progress: bool,
) -> Evaluation:
    """Score the one head of each predictor under a name of its own."""
    heads: list[HeadScores] = []
    for name, predictor in predictors:
        head = predictor.heads[0]
        evaluation = evaluate(predictor, dataset, split, settings, show_progress=show_progress)
        heads += [
            replace(scores, name=name + scores.name.removeprefix(head))
            for scores in evaluation.heads
        ]
    return replace(evaluation, heads=tuple(heads))


def _predict_video(
    predictor: Predictor, dataset: ClipDataset, split: str, frames: Sequence[Example]
) -> Iterator[tuple[Sample, Probabilities]]:
    images, shown = itertools.tee(map(dataset.read_frame, frames))
    links = dataset.links(tuple(frames))
    flow = None
    if predictor.needs_flow:
        flow, links = itertools.tee(links)
    labelled = set(dataset.examples(split))
    link = None
    for example, image, maps in zip(frames, images, predictor.video(shown, flow), strict=True):
        labels = dataset.read(example)[1] if example in labelled else None
        yield Sample(example.name, image, labels, link), maps
        link = next(links, None)


def _head_scores(name: str, metrics: Sequence[Metric]) -> HeadScores:
    fields: dict[str, Any] = {}
    for metric in metrics:
        fields.update(metric.result())
    return HeadScores(name=name, **fields)
