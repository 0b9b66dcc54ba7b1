"""Labelled images in memory, with the clips around them for networks that take clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .clips.base import Clip, ClipDataset
from .dataset import Dataset, Example


@dataclass(frozen=True)
class Sample:
    """An image with its label map.

    Args:
        name: of the example.
        image: uint8 (H, W, 3) RGB.
        labels: (H, W): 0..L-1 or the ignore label.
        clip: the frames around the image, for a network that takes clips.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    clip: Clip | None = None


def read_samples(
    dataset: Dataset,
    split: str,
    count: int,
    clip_frames: int | None = None,
    names: Sequence[str] | None = None,
) -> list[Sample]:
    """Read samples evenly spaced over a split, or those of given names.

    Args:
        dataset: the dataset.
        split: one of the dataset's.
        count: at most this many samples.
        clip_frames: length of the clips to read around the images; None reads only images.
        names: of the samples to read, instead of evenly spaced ones.

    Raises:
        ValueError: if the split is empty or lacks a name, and if clips are asked of a dataset of
            images.
    """
    available = dataset.examples(split)
    if not available or count < 1:
        raise ValueError(
            f"Expected at least one image of the split '{split}' of {dataset.name}, which has "
            f"{len(available)}; received a count of {count}."
        )
    if names is not None:
        by_name = {example.name: example for example in available}
        if missing := [name for name in names if name not in by_name]:
            raise ValueError(
                f"Expected the images that were evaluated, but {dataset.name} has no "
                f"{missing[0]} in its split '{split}'."
            )
        return [_read(dataset, by_name[name], clip_frames) for name in names]
    chosen = np.unique(np.linspace(0, len(available) - 1, count).round().astype(int))
    return [_read(dataset, available[i], clip_frames) for i in chosen]


def _read(dataset: Dataset, example: Example, clip_frames: int | None) -> Sample:
    if clip_frames is None:
        return Sample(example.name, *dataset.read(example))
    if not isinstance(dataset, ClipDataset):
        raise ValueError(f"Expected a dataset of clips, which {dataset.name} is not.")
    clip = dataset.read_clip(example, clip_frames)
    return Sample(example.name, clip.frames[clip_frames // 2], clip.labels, clip)
