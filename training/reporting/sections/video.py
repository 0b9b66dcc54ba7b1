"""Consecutive frames with their labels, so that flicker can be seen."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_dpn import ops
from keras_dpn.inference import Predictor, to_labels

from ...data.clips.base import ClipDataset, Frames
from ...data.dataset import Dataset
from .. import html
from ..images import WRONG, cell, clip_length, mark, paint, row_of, share, show, stage_output
from .scores import percent


def film_strip(model: keras.Model, stage: str, dataset: Dataset, split: str, count: int = 6) -> str:
    """Frames that follow each other: image, truth, the model's labels, and which of them flicker.

    Args:
        model: for pictures or for clips.
        stage: of training, after which its labels are shown.
        dataset: what it was trained on.
        split: where the frames are from: its longest sequence with labels.
        count: how many frames, at most.

    Returns:
        HTML; nothing for a data set of pictures, or one without two frames in a row.
    """
    if not isinstance(dataset, ClipDataset):
        return ""
    labelled = set(dataset.examples(split))
    sequence = max((s for s in dataset.sequences[split] if labelled & set(s)), key=len)
    if len(sequence) < 2:
        return ""
    shown = around_labels([example in labelled for example in sequence], count)
    frames, found = sequence[shown], label_frames(model, stage, dataset, sequence, shown)
    classes, cells = dataset.classes, []
    for place, (example, labels) in enumerate(zip(frames, found, strict=True)):
        image = dataset.read_frame(example)
        truth = np.full_like(labels, classes.ignore)
        if example in labelled:
            truth = dataset.read(example)[1]
        note, changed = "", np.zeros(labels.shape, bool)
        if place:
            before = frames[place - 1]
            flows = dataset.flow(example, before), dataset.flow(before, example)
            changed, linked = flicker(labels, found[place - 1], *flows)
            note = f"{percent(share(~changed, linked))} % kept"
        pictures = {"truth": paint(truth, classes), "labels": paint(labels, classes)}
        pictures["what flickers"] = mark(image, {WRONG: changed})
        content = "".join(html.image(picture, alt) for alt, picture in pictures.items())
        cells.append(cell(example.name, note, show(image, "image") + content))
    return row_of(cells, image.shape[1])


def around_labels(labelled: Sequence[bool], count: int) -> slice:
    """Which frames of a sequence to show: `count` of them about the middle labelled one."""
    places = np.flatnonzero(labelled)
    start = places[len(places) // 2] - count // 2
    start = int(np.clip(start, 0, max(0, len(labelled) - count)))
    return slice(start, start + count)


def label_frames(
    model: keras.Model, stage: str, dataset: ClipDataset, sequence: Frames, shown: slice
) -> list[np.ndarray]:
    """The model's labels (H, W) for some frames of a sequence; it sees their neighbours too."""
    reach = (clip_length(model) or 1) // 2
    first = max(0, shown.start - reach)
    seen = sequence[first : shown.stop + reach]
    video = map(dataset.read_frame, seen), dataset.links(seen)
    output = stage_output(model, stage)
    predictor = Predictor(model, heads=None if output is None else (output,))
    found = [to_labels(maps[predictor.heads[-1]]) for maps in predictor.video(*video)]
    return found[shown.start - first : shown.stop - first]


def flicker(
    labels: np.ndarray, before: np.ndarray, flow: np.ndarray, reverse_flow: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where a frame's labels differ from those of the frame before, along the optical flow.

    Args:
        labels: (H, W), the frame's.
        before: (H, W), those of the frame before.
        flow: (H, W, 2), from the frame to the one before.
        reverse_flow: (H, W, 2), from the one before to the frame.

    Returns:
        Two masks (H, W): where they differ, and where the flow links the frames at all.
    """
    linked = ops.flow_validity(flow, reverse_flow)
    moved = ops.warp(before[..., None].astype("int32"), flow, interpolation="nearest")
    linked, moved = (keras.ops.convert_to_numpy(x)[..., 0] for x in (linked, moved))
    return (linked > 0) & (moved != labels), linked > 0
