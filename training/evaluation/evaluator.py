"""What a model scores on a split of a data set, counted in one pass."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.progress import Progress, track

from keras_dpn import metrics
from keras_dpn.inference import Predictor, to_labels

from ..data.clips.base import ClipDataset
from ..data.dataset import Dataset, Example
from ..utils.threads import prefetch_map

TRIMAP_WIDTH = 40  # pixels, of the widest band: DeepLab v1's Fig. 5

Link = tuple[np.ndarray, np.ndarray]


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    split: str,
    *,
    trimap: Literal["void", "boundary"] | None = None,
    consistency: bool = False,
    box_threshold: float = 0.5,
    boundary_tolerance: float = 0.0075,
    calibration_bins: int = 15,
    progress: bool = False,
) -> dict[str, Any]:
    """Score every head of a predictor in one pass over a split; images of any sizes.

    Args:
        predictor: of the dataset's classes.
        dataset: where the images and their labels come from.
        split: one of the dataset's.
        trimap: score bands of 1 to 40 pixels around the "void" or a "boundary" too, as
            `metrics.trimap_distance` draws them.
        consistency: score how far the labels of neighbouring frames agree along the optical flow
            too (`metrics.temporal_confusion`); networks for clips always do.
        box_threshold: as `threshold` in `metrics.object_scores`.
        boundary_tolerance: as `tolerance` in `metrics.object_counts`.
        calibration_bins: as `bins` in `metrics.calibration_counts`.
        progress: whether to show a progress bar.

    Returns:
        "dataset", "split", "images", "official" (how many images the complete split has, if that is
        known), "models" (how many), the predictor's settings "scales", "horizontal_flip", "tile",
        "overlap" and "crf", and in "stages" for each head its "name", the `metrics.scores`, the
        "confusion" matrix, truth in rows, "objects", the `metrics.object_scores` with
        "box_threshold" and "boundary_tolerance", "calibration", the `metrics.calibration` of its
        bins, and on request "trimap": "around", "widths", and for each width "miou" and "accuracy",
        and "consistency": "miou" and the number of "pixels" compared. All of this goes into the
        JSON file. "per_image" has the images' "names" and the "confusions" of each head, an int
        array (images, L, L), and its mean "confidences".

    Raises:
        ValueError: for a split that is unknown or empty, an image that can't be read, labels beyond
            the classes, a model with another number of classes, and where clips are needed, for a
            dataset that has none.
    """
    examples = dataset.examples(split)
    if not examples:
        raise ValueError(f"The split '{split}' of {dataset.name} has no images.")
    if consistency or predictor.clip_frames:
        predictions = _predict_sequences(predictor, dataset, split, progress)
    else:
        predictions = _predict_images(predictor, dataset, examples, progress)
    settings = _Settings(trimap, box_threshold, boundary_tolerance, calibration_bins)
    tallies = {head: _Tally(dataset, settings) for head in predictor.heads}
    names = []
    for seen in predictions:
        if seen.labels is not None:
            names.append(seen.name)
        for head, probabilities in seen.found.items():
            tallies[head].add(seen, probabilities)
    inference = asdict(predictor.settings)
    del inference["memory_gib"]  # it chose the tile
    return {
        "dataset": dataset.name,
        "split": split,
        "images": len(examples),
        "official": dataset.expected_size.get(split),
        "models": len(predictor.models),
        **inference,
        "crf": predictor.crf,
        "stages": [{"name": name, **tally.result()} for name, tally in tallies.items()],
        "per_image": {
            "names": names,
            "confusions": {name: np.stack(tally.confusions) for name, tally in tallies.items()},
            "confidences": {name: tally.confidences for name, tally in tallies.items()},
        },
    }


class _Seen(NamedTuple):
    """A picture, its labels if it has any, and probabilities (H, W, L) by the head's name.

    Of a frame that follows another `link` has the flow from the other to this one, and back.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray | None
    found: dict[str, np.ndarray]
    link: Link | None = None


class _Settings(NamedTuple):
    """What is scored, as `evaluate` takes it."""

    trimap: str | None
    box_threshold: float
    boundary_tolerance: float
    calibration_bins: int


def _predict_images(
    predictor: Predictor, dataset: Dataset, examples: Sequence[Example], progress: bool
) -> Iterator[_Seen]:
    read = prefetch_map(dataset.read, examples)
    shown = track(examples, "evaluating", disable=not progress)
    for example, (image, labels) in zip(shown, read, strict=True):
        yield _Seen(example.name, image, labels, predictor.probabilities(image))


def _predict_sequences(
    predictor: Predictor, dataset: Dataset, split: str, progress: bool
) -> Iterator[_Seen]:
    """The frames of all sequences of a split that has labels, in order of time."""
    if not isinstance(dataset, ClipDataset):
        raise ValueError(f"Expected a data set of clips, which {dataset.name} is not.")
    sequences = dataset.sequences[split]
    total = sum(map(len, sequences))
    with Progress(*Progress.get_default_columns(), disable=not progress) as bar:
        task = bar.add_task(f"evaluating {split}", total=total)
        for sequence in sequences:
            for seen in _predict_sequence(predictor, dataset, split, sequence):
                yield seen
                bar.advance(task)


def _predict_sequence(
    predictor: Predictor, dataset: ClipDataset, split: str, sequence: Sequence[Example]
) -> Iterator[_Seen]:
    shown, kept = itertools.tee(map(dataset.read_frame, sequence))
    links = dataset.links(sequence)
    used = None
    if predictor.needs_flow:
        used, links = itertools.tee(links)
    labelled = set(dataset.examples(split))
    link = None
    for example, image, maps in zip(sequence, kept, predictor.video(shown, used), strict=True):
        labels = dataset.read(example)[1] if example in labelled else None
        yield _Seen(example.name, image, labels, maps, link)
        link = next(links, None)


class _Tally:
    """What is counted of one stage's answers."""

    def __init__(self, dataset: Dataset, settings: _Settings):
        self._name, self._classes, self._settings = dataset.name, dataset.classes, settings
        self.confusions: list[np.ndarray] = []
        """Of each image that has labels."""
        self.confidences: list[float] = []
        """Means over all pixels, of the same images."""
        self._objects: list[np.ndarray] = []
        self._bands, self._agreement, self._calibration = 0, 0, 0
        self._before: np.ndarray | None = None

    def add(self, seen: _Seen, probabilities: np.ndarray) -> None:
        """Count one picture."""
        count = self._classes.num_classes
        if probabilities.shape[-1] != count:
            raise ValueError(
                f"{self._name} has {count} classes, but the model answers with "
                f"{probabilities.shape[-1]}."
            )
        predicted = to_labels(probabilities)
        if seen.labels is not None:
            self._add_labelled(seen.labels, predicted, probabilities)
        if seen.link is not None:
            pair = self._before, predicted, *seen.link, count
            self._agreement = self._agreement + metrics.temporal_confusion(*pair)
        self._before = predicted

    def _add_labelled(
        self, labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray
    ) -> None:
        ignore, settings = self._classes.ignore, self._settings
        pixels = labels, predicted, self._classes.num_classes, ignore
        self.confusions.append(metrics.confusion_matrix(*pixels))
        self._objects.append(metrics.object_counts(*pixels, settings.boundary_tolerance))
        places = predicted[..., None].astype("int64")
        confidences = np.take_along_axis(probabilities, places, axis=-1)[..., 0]
        self.confidences.append(float(confidences.mean()))
        self._calibration = self._calibration + metrics.calibration_counts(
            labels, predicted, confidences, ignore, settings.calibration_bins
        )
        if settings.trimap:
            in_bands = metrics.trimap_confusions(*pixels, settings.trimap, TRIMAP_WIDTH)
            self._bands = self._bands + in_bands

    def result(self) -> dict[str, Any]:
        """The stage's part of the evaluation."""
        confusion, settings = np.sum(self.confusions, axis=0), self._settings
        result = {
            **metrics.scores(confusion),
            "confusion": confusion.tolist(),
            "objects": {
                **metrics.object_scores(self._objects, settings.box_threshold),
                "box_threshold": settings.box_threshold,
                "boundary_tolerance": settings.boundary_tolerance,
            },
            "calibration": metrics.calibration(self._calibration),
        }
        if settings.trimap:
            result["trimap"] = _trimap_curve(self._bands, settings.trimap)
        if np.ndim(self._agreement):
            agreement = metrics.scores(self._agreement)["miou"]
            result["consistency"] = {"miou": agreement, "pixels": int(self._agreement.sum())}
        return result


def _trimap_curve(confusions: np.ndarray, around: str) -> dict[str, Any]:
    rows = [metrics.scores(confusion) for confusion in confusions]
    widths = list(range(1, len(rows) + 1))
    scores = {key: [row[key] for row in rows] for key in ("miou", "accuracy")}
    return {"around": around, "widths": widths, **scores}
