"""The scores of one head of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Titles of the scores by the names that `HeadScores.value` takes.
SCORES = {
    "miou": "mean IoU",
    "accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
}


OTHER_SCORES = {
    "objects.ta": "tagging accuracy (TA)",
    "objects.la": "localisation accuracy (LA)",
    "objects.ba": "boundary accuracy (BA)",
    "calibration.ece": "calibration error (ECE)",
    "consistency.miou": "temporal consistency",
}


@dataclass(frozen=True)
class ObjectScores:
    """Scores of the objects, as `metrics.object_scores` returns them, and their parameters."""

    ta: float | None
    la: float | None
    ba: float | None
    per_class: Mapping[str, Sequence[float | None]]
    box_threshold: float
    boundary_tolerance: float


@dataclass(frozen=True)
class CalibrationScores:
    """Calibration of the confidences by bin, as `metrics.calibration` returns it."""

    ece: float | None
    pixels: Sequence[int]
    accuracy: Sequence[float | None]
    confidence: Sequence[float | None]


@dataclass(frozen=True)
class TrimapScores:
    """Scores in bands of increasing width around boundaries.

    Args:
        around: "void" or "boundary", as in `metrics.trimap_distance`.
        widths: of the bands, in pixels.
        miou: by width.
        accuracy: by width.
    """

    around: str
    widths: Sequence[int]
    miou: Sequence[float | None]
    accuracy: Sequence[float | None]


@dataclass(frozen=True)
class ConsistencyScores:
    """Agreement of the labels of neighbouring frames along the optical flow.

    Args:
        miou: of one frame's labels against its neighbour's.
        pixels: number of pixels compared.
    """

    miou: float | None
    pixels: int


_GROUPS = {
    "objects": ObjectScores,
    "calibration": CalibrationScores,
    "trimap": TrimapScores,
    "consistency": ConsistencyScores,
}


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """Scores of one head of a network on a split; each is None if there is nothing to score.

    Args:
        name: of the head; "HEAD+crf" after a fully connected CRF; if the model of each stage of
            training was scored, the name of the stage.
        miou: mean IoU, 0 to 1, as the following scores.
        accuracy: pixel accuracy.
        mean_accuracy: mean of the classes' accuracies.
        frequency_weighted_iou: IoU weighted by the classes' pixels.
        iou: by class.
        confusion: pixels by class, truth in rows.
        objects: scores of objects.
        calibration: of the confidences.
        trimap: scores along boundaries, if requested.
        consistency: of videos.
        confusions: (images, L, L), the confusion matrix of each image.
        confidences: mean confidence of each image; not stored in files.
    """

    name: str
    miou: float | None = None
    accuracy: float | None = None
    mean_accuracy: float | None = None
    frequency_weighted_iou: float | None = None
    iou: Sequence[float | None] = ()
    confusion: Sequence[Sequence[int]] = ()
    objects: ObjectScores | None = None
    calibration: CalibrationScores | None = None
    trimap: TrimapScores | None = None
    consistency: ConsistencyScores | None = None
    confusions: np.ndarray | None = field(default=None, compare=False, repr=False)
    confidences: Sequence[float] = field(default=(), compare=False, repr=False)

    def value(self, score: str) -> float | None:
        """Return one score, such as "miou" or "objects.ta"; None if it is unknown."""
        group, _, name = score.rpartition(".")
        if not group:
            return getattr(self, name)
        scores = getattr(self, group)
        return None if scores is None else getattr(scores, name)

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values, without those of single images."""
        keys = ("name", *SCORES, "iou", "confusion")
        groups = {key: getattr(self, key) for key in _GROUPS}
        return {key: getattr(self, key) for key in keys} | {
            key: dict(vars(group)) for key, group in groups.items() if group is not None
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HeadScores:
        """Read what `to_json` returned; a stage of results.json contains the same, and more.

        Raises:
            ValueError: if scores are incomplete.
        """
        names = {item.name for item in dataclasses.fields(cls)}
        known = {key: value for key, value in values.items() if key in names}
        try:
            groups = {key: _GROUPS[key](**known[key]) for key in _GROUPS if known.get(key)}
            return cls(**known | groups)
        except TypeError as error:
            raise ValueError(f"Expected the scores of a head: {error}.") from None
