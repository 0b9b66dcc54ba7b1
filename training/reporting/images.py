"""Comparison rows: an image, its ground truth and label maps, with their errors and changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor, to_labels

from ..data.sampling import Sample
from ..rundir.models import load_model
from ..utils.progress import progress
from . import media
from .formatting import percent
from .media import EmbeddedImage
from .runs import Run, stage_title

RIGHT, WRONG = (0, 114, 178), (213, 94, 0)  # Okabe and Ito's blue and vermilion

Predictions = Mapping[str, np.ndarray]  # label maps (H, W) by title


@dataclass(frozen=True)
class Change:
    """The changes from one label map to another.

    Args:
        image: the image with the changed pixels in colours.
        fixed: fraction of the labeled pixels that became right; None without labeled pixels.
        regressed: fraction of the labeled pixels that became wrong.
        is_empty: whether no pixel did.
    """

    image: EmbeddedImage
    fixed: float | None
    regressed: float | None
    is_empty: bool


@dataclass(frozen=True)
class Column:
    """Images under a title and a note, and the changes from another column."""

    title: str
    note: str
    images: Sequence[EmbeddedImage]
    change: Change | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """Columns side by side; `is_fine` shows the images' single pixels."""

    columns: Sequence[Column]
    is_fine: bool

    @classmethod
    def of(cls, columns: Sequence[Column], width: int) -> "ComparisonRow":
        """Return the row of columns whose images are `width` pixels wide."""
        return cls(columns, width < media.FINE_WIDTH)


# === Predictions ===


def model_inputs(model: keras.Model, sample: Sample) -> Any:
    """Return the input of a network as a batch of one: the image, or the clip around it."""
    if model.clip_frames is None:
        return sample.image[None].astype("float32")
    names = ("frames", "forward_flow", "backward_flow") if model.needs_flow else ("frames",)
    inputs = {name: getattr(sample.clip, name)[None].astype("float32") for name in names}
    return inputs if model.needs_flow else inputs["frames"]


def predict_heads(predictor: Predictor, sample: Sample) -> dict[str, np.ndarray]:
    """Return the label map (H, W) of a sample at each head of a predictor."""
    if predictor.clip_frames is None or sample.clip is None:
        maps = predictor.probabilities(sample.image)
    else:
        flow = zip(sample.clip.forward_flow, sample.clip.backward_flow, strict=True)
        maps = predictor.clip(list(sample.clip.frames), flow)
    return {head: to_labels(probabilities) for head, probabilities in maps.items()}


def predict_labels(predictor: Predictor, sample: Sample) -> np.ndarray:
    """Return the label map (H, W) of a sample at the last head of a predictor."""
    return predict_heads(predictor, sample)[predictor.heads[-1]]


def predict_stages(run: Run, samples: Sequence[Sample]) -> Sequence[Predictions]:
    """Return for each sample the label maps of every training stage's best model."""
    label_maps: list[dict[str, np.ndarray]] = [{} for _ in samples]
    names = [stage.name for stage in run.stages]
    for name in progress(names, "images of the stages", len(names)):  # one model at a time
        predictor = Predictor(load_model(run.work_dir, name), heads=(run.heads[name],))
        for predictions, sample in zip(label_maps, samples, strict=True):
            predictions[stage_title(name)] = predict_labels(predictor, sample)
    return label_maps


# === Rows ===


def comparison_rows(
    samples: Iterable[Sample],
    predictions: Iterable[Predictions],
    classes: Classes,
    *,
    from_first: bool = False,
) -> list[ComparisonRow]:
    """Return one row per sample, see `comparison_row`."""
    pairs = zip(samples, predictions, strict=True)
    return [comparison_row(s, p, classes, from_first=from_first) for s, p in pairs]


def comparison_row(
    sample: Sample, predictions: Predictions, classes: Classes, *, from_first: bool = False
) -> ComparisonRow:
    """Return the row of a sample: image, ground truth, then label maps with errors and changes.

    Args:
        sample: the image with its ground truth.
        predictions: label maps (H, W) by the title of the stage or run, in order.
        classes: for the colors.
        from_first: show the changes from the first label map, not from the previous one.
    """
    image, labels = sample.image, sample.labels
    counted = labels != classes.ignore
    truth = media.label_map(labels, classes, "ground truth")
    columns = [
        Column(sample.name, "", [media.photo(image, sample.name)]),
        Column("ground truth", "", [truth]),
    ]
    maps = list(predictions.values())
    for i, (title, predicted) in enumerate(predictions.items()):
        errors = counted & (predicted != labels)
        shown = [
            media.label_map(predicted, classes, title),
            media.highlight(image, {WRONG: errors}, f"errors: {title}"),
        ]
        change = None
        if i:
            before = maps[0 if from_first else i - 1]
            fixed = (predicted == labels) & (before != labels)
            regressed = (predicted != labels) & (before == labels)
            change = _change(image, fixed, regressed, counted)
        note = f"{percent(fraction(predicted == labels, counted))} % right"
        columns.append(Column(title, note, shown, change))
    return ComparisonRow.of(columns, image.shape[1])


def fraction(mask: np.ndarray, counted: np.ndarray) -> float | None:
    """Return the fraction of the counted pixels that are in a mask; None if none is counted."""
    return float(mask[counted].mean()) if counted.any() else None


def _change(
    image: np.ndarray, fixed: np.ndarray, regressed: np.ndarray, counted: np.ndarray
) -> Change:
    shown = media.highlight(image, {RIGHT: fixed, WRONG: regressed}, "what changed")
    is_empty = not (fixed.any() or regressed.any())
    return Change(shown, fraction(fixed, counted), fraction(regressed, counted), is_empty)
