"""The section of consecutive frames, which shows where predictions are inconsistent in time."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from markupsafe import Markup

from keras_dpn import ops
from keras_dpn.inference import Predictor, to_labels

from ...data.clips.base import ClipDataset, Frames
from ...data.dataset import Dataset
from .. import media
from ..context import ReportContext
from ..formatting import percent
from ..images import WRONG, Column, ComparisonRow, fraction
from ..rendering import render

_MAX_FRAMES = 6


class VideoFrames:
    """Consecutive frames of a video with the last stage's predictions."""

    def applies(self, context: ReportContext) -> bool:
        return bool(context.shown and labeled_sequences(context.dataset, context.split))

    def render(self, context: ReportContext) -> Markup:
        sequences = labeled_sequences(context.dataset, context.split)
        longest = max(sequences, key=lambda sequence: len(sequence.frames))
        predictor = Predictor(context.model, heads=(context.run.last_head,))
        return render("video", row=video_row(predictor, longest), wrong=WRONG)


@dataclass(frozen=True)
class LabeledSequence:
    """Two or more frames of a dataset in order of time, and which of them have labels."""

    dataset: ClipDataset
    frames: Frames
    is_labeled: Sequence[bool]


def labeled_sequences(dataset: Dataset, split: str) -> list[LabeledSequence]:
    """Return the sequences of a split with labels; none of a dataset of images."""
    if not isinstance(dataset, ClipDataset):
        return []
    labeled = set(dataset.examples(split))
    return [
        LabeledSequence(dataset, frames, [frame in labeled for frame in frames])
        for frames in dataset.sequences[split]
        if len(frames) > 1 and labeled & set(frames)
    ]


def video_row(
    predictor: Predictor, sequence: LabeledSequence, max_frames: int = _MAX_FRAMES
) -> ComparisonRow:
    """Return the row of consecutive frames: image, ground truth, prediction, inconsistency.

    Args:
        predictor: of images or of clips; its last head is shown.
        sequence: the sequence, shown around its middle labelled frame.
        max_frames: at most this many.
    """
    dataset, is_labeled = sequence.dataset, sequence.is_labeled
    shown = around_labels(is_labeled, max_frames)
    frames, predictions = sequence.frames[shown], predict_frames(predictor, sequence, shown)
    classes, columns = dataset.classes, []
    for i, (frame, labels) in enumerate(zip(frames, predictions, strict=True)):
        image = dataset.read_frame(frame)
        truth = np.full_like(labels, classes.ignore)
        if is_labeled[shown.start + i]:
            truth = dataset.read(frame)[1]
        note, changed = "", np.zeros(labels.shape, bool)
        if i:
            flows = dataset.flow(frame, frames[i - 1]), dataset.flow(frames[i - 1], frame)
            changed, linked = inconsistency(labels, predictions[i - 1], *flows)
            note = f"{percent(fraction(~changed, linked))} % kept"
        images = [
            media.photo(image, "image"),
            media.label_map(truth, classes, "ground truth"),
            media.label_map(labels, classes, "prediction"),
            media.highlight(image, {WRONG: changed}, "temporal inconsistency"),
        ]
        columns.append(Column(frame.name, note, images))
    return ComparisonRow.of(columns, image.shape[1])


def around_labels(is_labeled: Sequence[bool], count: int) -> slice:
    """Return which frames of a sequence to show: `count` of them around the middle labeled one."""
    labeled = np.flatnonzero(is_labeled)
    start = labeled[len(labeled) // 2] - count // 2
    start = int(np.clip(start, 0, max(0, len(is_labeled) - count)))
    return slice(start, start + count)


def predict_frames(
    predictor: Predictor, sequence: LabeledSequence, shown: slice
) -> list[np.ndarray]:
    """Return the label maps (H, W) of some frames; a network for clips sees their neighbors too."""
    reach = (predictor.clip_frames or 1) // 2
    first = max(0, shown.start - reach)
    seen = sequence.frames[first : shown.stop + reach]
    video = predictor.video(map(sequence.dataset.read_frame, seen), sequence.dataset.links(seen))
    label_maps = [to_labels(maps[predictor.heads[-1]]) for maps in video]
    return label_maps[shown.start - first : shown.stop - first]


def inconsistency(
    labels: np.ndarray, before: np.ndarray, flow: np.ndarray, reverse_flow: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where a frame's labels differ from the previous frame's, along the optical flow.

    Args:
        labels: (H, W), the frame's.
        before: (H, W), the previous frame's.
        flow: (H, W, 2), from the frame to the previous one.
        reverse_flow: (H, W, 2), from the previous frame to the frame.

    Returns:
        Two masks (H, W): where they differ, and where the flow links the frames at all.
    """
    linked = ops.flow_validity(flow, reverse_flow)
    moved = ops.warp(before[..., None].astype("int32"), flow, interpolation="nearest")
    linked, moved = (keras.ops.convert_to_numpy(x)[..., 0] for x in (linked, moved))
    return (linked > 0) & (moved != labels), linked > 0
