"""The metrics of an `Evaluator`: one object per type of score."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from keras_dpn import metrics
from keras_dpn.classes import Classes
from keras_dpn.inference import to_labels

from .scores import CalibrationScores, ConsistencyScores, ObjectScores, TrimapScores

TRIMAP_WIDTH = 40  # width of the widest band in pixels: DeepLab v1's Fig. 5

Outline = Literal["void", "boundary"]
Link = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Sample:
    """An image to predict, with its ground truth.

    Args:
        name: of the example.
        image: uint8 (H, W, 3).
        labels: uint8 (H, W): 0..L-1 or the ignore label; None for a frame without labels.
        link: for a frame that follows another in a video: the flow from that frame to this one, and
            back, each float32 (H, W, 2).
    """

    name: str
    image: np.ndarray
    labels: np.ndarray | None
    link: Link | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """Class probabilities of an image at one head.

    Args:
        probabilities: float32 (H, W, L).
    """

    probabilities: np.ndarray

    @cached_property
    def labels(self) -> np.ndarray:
        """The most probable class of each pixel."""
        return to_labels(self.probabilities)

    @cached_property
    def confidences(self) -> np.ndarray:
        """The probability of that class, (H, W)."""
        indices = self.labels[..., None].astype("int64")
        return np.take_along_axis(self.probabilities, indices, axis=-1)[..., 0]


class Metric(Protocol):
    """Accumulates counts over the predictions of one head.

    Attributes:
        needs_video: whether whole videos must be predicted, frame after frame.
    """

    needs_video: bool

    def update(self, sample: Sample, prediction: Prediction) -> None:
        """Count a prediction; samples come in the order of the split, or of time."""

    def result(self) -> Mapping[str, Any]:
        """Return values of fields of `HeadScores`."""


class Confusion:
    """Count the confusion matrix of each image; score regions."""

    needs_video = False

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._confusions: list[np.ndarray] = []

    def update(self, sample: Sample, prediction: Prediction) -> None:
        """Count a labelled image."""
        if sample.labels is not None:
            self._confusions.append(
                metrics.confusion_matrix(*_pixels(sample.labels, prediction, self._classes))
            )

    def result(self) -> Mapping[str, Any]:
        """Return the scores, the sum of the matrices, and those of the images."""
        confusions = np.stack(self._confusions)
        confusion = confusions.sum(axis=0)
        scores = metrics.scores(confusion)
        return {**scores, "confusion": confusion.tolist(), "confusions": confusions}


class Objects:
    """Score tags, boxes and boundaries; a class in an image is one object.

    Args:
        classes: of the dataset.
        box_threshold: as `threshold` in `metrics.object_scores`.
        boundary_tolerance: as `tolerance` in `metrics.object_counts`.
    """

    needs_video = False

    def __init__(
        self, classes: Classes, *, box_threshold: float = 0.5, boundary_tolerance: float = 0.0075
    ) -> None:
        self._classes = classes
        self._box_threshold, self._boundary_tolerance = box_threshold, boundary_tolerance
        self._counts: list[np.ndarray] = []

    def update(self, sample: Sample, prediction: Prediction) -> None:
        """Count a labelled image."""
        if sample.labels is not None:
            pixels = _pixels(sample.labels, prediction, self._classes)
            self._counts.append(metrics.object_counts(*pixels, self._boundary_tolerance))

    def result(self) -> Mapping[str, Any]:
        """Return the scores with their parameters."""
        scores = ObjectScores(
            **metrics.object_scores(self._counts, self._box_threshold),
            box_threshold=self._box_threshold,
            boundary_tolerance=self._boundary_tolerance,
        )
        return {"objects": scores}


class Calibration:
    """Compare confidences with accuracies.

    Args:
        classes: of the dataset.
        bins: as in `metrics.calibration_counts`.
    """

    needs_video = False

    def __init__(self, classes: Classes, *, bins: int = 15) -> None:
        self._classes, self._bins = classes, bins
        self._counts: Any = 0
        self._confidences: list[float] = []

    def update(self, sample: Sample, prediction: Prediction) -> None:
        """Count a labelled image."""
        if sample.labels is None:
            return
        self._confidences.append(float(prediction.confidences.mean()))
        self._counts = self._counts + metrics.calibration_counts(
            sample.labels,
            prediction.labels,
            prediction.confidences,
            self._classes.ignore,
            self._bins,
        )

    def result(self) -> Mapping[str, Any]:
        """Return the calibration, and the mean confidence of each image over all its pixels."""
        scores = CalibrationScores(**metrics.calibration(self._counts))
        return {"calibration": scores, "confidences": tuple(self._confidences)}


class Trimap:
    """Score bands of increasing width around boundaries.

    Args:
        classes: of the dataset.
        around: as in `metrics.trimap_distance`.
        width: of the widest band, in pixels.
    """

    needs_video = False

    def __init__(self, classes: Classes, around: Outline, *, width: int = TRIMAP_WIDTH) -> None:
        self._classes, self._around, self._width = classes, around, width
        self._counts: Any = 0

    def update(self, sample: Sample, prediction: Prediction) -> None:
        """Count a labelled image."""
        if sample.labels is not None:
            pixels = _pixels(sample.labels, prediction, self._classes)
            bands = metrics.trimap_confusions(*pixels, self._around, self._width)
            self._counts = self._counts + bands

    def result(self) -> Mapping[str, Any]:
        """Return mIoU and accuracy by width."""
        rows = [metrics.scores(confusion) for confusion in self._counts]
        curves = {key: [row[key] for row in rows] for key in ("miou", "accuracy")}
        widths = list(range(1, len(rows) + 1))
        return {"trimap": TrimapScores(around=self._around, widths=widths, **curves)}


class Consistency:
    """Score the agreement of labels in neighbouring frames along the optical flow."""

    needs_video = True

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._agreement: Any = 0
        self._previous: np.ndarray | None = None

    def update(self, sample: Sample, prediction: Prediction) -> None:
        """Count a frame against the one before it, labelled or not."""
        if sample.link is not None and self._previous is not None:
            pair = self._previous, prediction.labels
            counts = metrics.temporal_confusion(*pair, *sample.link, self._classes.num_classes)
            self._agreement = self._agreement + counts
        self._previous = prediction.labels

    def result(self) -> Mapping[str, Any]:
        """Return the consistency; nothing if no frame follows another."""
        if not np.ndim(self._agreement):
            return {}
        miou = metrics.scores(self._agreement)["miou"]
        return {"consistency": ConsistencyScores(miou, int(self._agreement.sum()))}


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    """The scores that `evaluate` computes.

    Args:
        trimap: also score bands of 1 to 40 pixels around "void" or a "boundary", see
            `metrics.trimap_distance`; None: don't.
        consistency: score the temporal consistency of videos too; networks for clips always do.
        box_threshold: as `threshold` in `metrics.object_scores`.
        boundary_tolerance: as `tolerance` in `metrics.object_counts`.
        calibration_bins: as `bins` in `metrics.calibration_counts`.
    """

    trimap: Outline | None = None
    consistency: bool = False
    box_threshold: float = 0.5
    boundary_tolerance: float = 0.0075
    calibration_bins: int = 15

    def metrics(self, classes: Classes) -> list[Metric]:
        """Return the metrics that compute these scores."""
        chosen: list[Metric] = [
            Confusion(classes),
            Objects(
                classes,
                box_threshold=self.box_threshold,
                boundary_tolerance=self.boundary_tolerance,
            ),
            Calibration(classes, bins=self.calibration_bins),
        ]
        if self.trimap is not None:
            chosen.append(Trimap(classes, self.trimap))
        if self.consistency:
            chosen.append(Consistency(classes))
        return chosen


def _pixels(
    labels: np.ndarray, prediction: Prediction, classes: Classes
) -> tuple[np.ndarray, np.ndarray, int, int | None]:
    """The common arguments of the functions in `metrics`."""
    return labels, prediction.labels, classes.num_classes, classes.ignore
