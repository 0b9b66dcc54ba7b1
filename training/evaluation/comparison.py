"""Comparison of evaluations of the same images: which differences in mIoU are significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from keras_dpn import metrics

from .results import Counts


@dataclass(frozen=True)
class ImageChange:
    """The mIoU of a single image in two predictions."""

    name: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """The gain of the image."""
        return self.second - self.first


@dataclass(frozen=True)
class Comparison:
    """A prediction against another of the same images, by a paired bootstrap over the images.

    Args:
        first: mIoU of the reference.
        second: mIoU of the other prediction.
        difference: second minus first.
        interval: of the difference.
        win_rate: fraction of the resamples in which the second is better; ties count half.
        images: in descending order of gain; empty if they weren't kept.
        seeds: of the training runs whose counts were added up, if there were several.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    win_rate: float
    images: tuple[ImageChange, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval[0] > 0 or self.interval[1] < 0

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        values = {**asdict(self), "interval": list(self.interval)}
        return {key: value for key, value in values.items() if value != ()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Comparison:
        """Read what `to_json` returned; earlier versions called the win rate "wins"."""
        return cls(
            first=values["first"],
            second=values["second"],
            difference=values["difference"],
            interval=tuple(values["interval"]),
            win_rate=values["win_rate" if "win_rate" in values else "wins"],
            images=tuple(ImageChange(**image) for image in values.get("images", ())),
            seeds=tuple(values.get("seeds", ())),
        )


def compare(
    first: Counts,
    second: Counts,
    *,
    block_size: int = 1,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two predictions of the same images; their order may differ.

    Args:
        first: the reference.
        second: the other prediction.
        block_size: number of successive images that are resampled together; for the frames of a
            video, as many as are similar.
        resamples: of the bootstrap.
        confidence: of the interval.
        seed: of the resampling.

    Raises:
        ValueError: if splits, images, classes or true labels differ, and as
            `metrics.paired_bootstrap`.
    """
    confusions = _paired(first, second)
    scores = metrics.paired_bootstrap(
        first.confusions, confusions, block_size, resamples, confidence, seed=seed
    )
    images = [
        ImageChange(name, metrics.mean_iou(a), metrics.mean_iou(b))
        for name, a, b in zip(first.names, first.confusions, confusions, strict=True)
        if a.any()
    ]
    images.sort(key=lambda image: -image.difference)
    return Comparison(
        first=scores["first"],
        second=scores["second"],
        difference=scores["difference"],
        interval=scores["interval"],
        win_rate=scores["wins"],
        images=tuple(images),
    )


def add_counts(counts: Sequence[Counts]) -> Counts:
    """Add up the counts of several networks for the same images, image by image."""
    first = counts[0]
    matrices = [one.confusions[_order(one, first.names)] for one in counts]
    return first._replace(confusions=np.sum(matrices, axis=0))


def _paired(first: Counts, second: Counts) -> np.ndarray:
    """Return the second's confusion matrices in the order of the first's images."""
    pair = f"{first.title} and {second.title}"
    if first.split and second.split and first.split != second.split:
        raise ValueError(f"{pair} are of the splits {first.split} and {second.split}.")
    mismatched = sorted(set(first.names) ^ set(second.names))
    if mismatched:
        raise ValueError(
            f"{pair} are not of the same images: only one of them has {mismatched[0]}"
            f" ({len(mismatched)} such images)."
        )
    confusions = second.confusions[_order(second, first.names)]
    if first.confusions.shape != confusions.shape:
        numbers = first.confusions.shape[-1], confusions.shape[-1]
        raise ValueError(f"{pair} have {numbers[0]} and {numbers[1]} classes.")
    differs = np.any(first.confusions.sum(2) != confusions.sum(2), axis=1)
    if differs.any():
        raise ValueError(
            f"{pair} were scored with other true labels, those of "
            f"{first.names[int(np.argmax(differs))]} for example."
        )
    return confusions


def _order(counts: Counts, names: Sequence[str]) -> list[int]:
    """Return the index of each named image."""
    indices = {name: index for index, name in enumerate(counts.names)}
    return [indices[name] for name in names]
