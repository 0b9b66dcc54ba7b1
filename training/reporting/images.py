"""Pictures before and after each stage."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from rich.progress import track

from keras_dpn import viz
from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor, to_labels
from keras_dpn.models import traits

from ..data.clips.base import Clip, ClipDataset
from ..data.dataset import Dataset, Example
from ..data.pipeline.clips import ClipInputs
from ..rundir.paths import load_model
from . import html
from .sections.scores import TITLES, percent

RIGHT, WRONG = (0, 114, 178), (213, 94, 0)  # Okabe and Ito's blue and vermilion
_GREYS = 32  # few, so that marked pictures are small files
_FINE = 300  # pixels: of narrower pictures each pixel is to be seen
_LARGEST = 800  # pixels: no picture on the page is larger


class Picture(NamedTuple):
    """One example: image uint8 (H, W, 3), labels (H, W), and the clip around it if there is one."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    clip: Clip | None = None


def read_pictures(
    dataset: Dataset,
    split: str,
    count: int,
    frames: int | None = None,
    names: Sequence[str] | None = None,
) -> list[Picture]:
    """Examples evenly spaced over a split, or those of given names.

    Args:
        dataset: where they are from.
        split: one of the data set's.
        count: how many, at most.
        frames: of the clips to read around them; None reads pictures alone.
        names: of the pictures to read, instead of evenly spaced ones.

    Raises:
        ValueError: if there are none or not these, or clips are asked of a data set that has none.
    """
    available = dataset.examples(split)
    if not available or count < 1:
        raise ValueError(
            f"Expected at least one picture of the split '{split}' of {dataset.name}, which has "
            f"{len(available)}; {count} were asked for."
        )
    if names is not None:
        by_name = {example.name: example for example in available}
        if missing := [name for name in names if name not in by_name]:
            raise ValueError(
                f"Expected the pictures that were evaluated, but {dataset.name} has no "
                f"{missing[0]} in its split '{split}'."
            )
        return [_read(dataset, by_name[name], frames) for name in names]
    chosen = np.unique(np.linspace(0, len(available) - 1, count).round().astype(int))
    return [_read(dataset, available[i], frames) for i in chosen]


def _read(dataset: Dataset, example: Example, frames: int | None) -> Picture:
    if frames is None:
        return Picture(example.name, *dataset.read(example))
    if not isinstance(dataset, ClipDataset):
        raise ValueError(f"Expected a data set of clips, which {dataset.name} is not.")
    clip = dataset.read_clip(example, frames)
    return Picture(example.name, clip.frames[frames // 2], clip.labels, clip)


def clip_length(model: keras.Model) -> int | None:
    """The frames that a network for clips wants to see; None for a network for pictures."""
    return traits(model).clip_frames


def model_inputs(model: keras.Model, picture: Picture) -> Any:
    """What the network takes, as a batch of one: the picture, or the clip around it."""
    if clip_length(model) is None:
        return picture.image[None].astype("float32")
    inputs = ClipInputs(model.frames, flow=model.linking == "flow")
    return inputs.unstack(inputs.stack(picture.clip)[None])


def stage_maps(
    model: keras.Model, picture: Picture, stages: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """Probabilities after stages of a model, which sees the picture or the clip around it."""
    return _predict(Predictor(model, heads=stages or "all"), picture)


def _predict(predictor: Predictor, picture: Picture) -> dict[str, np.ndarray]:
    if predictor.clip_frames is None:
        return predictor.probabilities(picture.image)
    flow = zip(picture.clip.forward_flow, picture.clip.backward_flow, strict=True)
    return predictor.clip(picture.clip.frames, flow)


def stage_strips(
    work_dir: Path, stages: Sequence[str], pictures: Sequence[Picture], classes: Classes
) -> list[str]:
    """For each picture its truth, every stage's best model, and what each stage changed."""
    predictions: list[dict[str, np.ndarray]] = [{} for _ in pictures]
    for stage in track(stages, "pictures of the stages"):  # one model in memory at a time
        model = load_model(work_dir, stage=stage)
        for found, picture in zip(predictions, pictures, strict=True):
            found[stage] = stage_labels(model, stage, picture)
    pairs = zip(pictures, predictions, strict=True)
    return [strip(picture, found, classes) for picture, found in pairs]


def stage_labels(model: keras.Model, stage: str, picture: Picture) -> np.ndarray:
    """The labels after a stage of training."""
    return to_labels(output_map(model, stage_output(model, stage), picture))


def output_map(model: keras.Model, output: str | None, picture: Picture) -> np.ndarray:
    """Probabilities (H, W, L) at one of a model's stages, or of a model with one output alone."""
    predictor = Predictor(model, heads=None if output is None else (output,))
    return _predict(predictor, picture)[predictor.heads[-1]]


def stage_output(model: keras.Model, stage: str) -> str | None:
    """Which of a model's outputs a stage of training is about; None of a model with one alone.

    It is that of the same name if the model has it ("joint" is not one), else the last.
    """
    known = traits(model).head_names or ("",)
    return stage if stage in known else known[-1] or None


def own_strips(model: keras.Model, pictures: Sequence[Picture], classes: Classes) -> list[str]:
    """For each picture the labels after each stage of one model, in one pass."""
    strips = []
    for picture in pictures:
        found = {s: to_labels(p) for s, p in stage_maps(model, picture).items()}
        strips.append(strip(picture, found, classes))
    return strips


def strip(
    picture: Picture,
    predictions: Mapping[str, np.ndarray],
    classes: Classes,
    *,
    from_first: bool = False,
) -> str:
    """One picture's row: image, truth, then label maps with their errors and what changed.

    Args:
        picture: with its truth.
        predictions: label maps (H, W) by stage or run, in order.
        classes: for the colours.
        from_first: show what changed from the first of them on, not from the one before.
    """
    image, labels = picture.image, picture.labels
    counted = labels != classes.ignore
    cells = [
        cell(picture.name, "", show(image, picture.name)),
        cell("truth", "", html.image(paint(labels, classes), "truth")),
    ]
    maps = list(predictions.values())
    for i, (stage, found) in enumerate(predictions.items()):
        title = TITLES.get(stage, stage)
        score = f"{percent(share(found == labels, counted))} % right"
        shown = html.image(paint(found, classes), title)
        errors = mark(image, {WRONG: counted & (found != labels)})
        shown += html.image(errors, f"errors: {title}")
        if i:
            before = maps[0 if from_first else i - 1]
            right = (found == labels) & (before != labels)
            wrong = (found != labels) & (before == labels)
            shown += _changes(image, right, wrong, counted)
        cells.append(cell(title, score, shown))
    return row_of(cells, image.shape[1])


def row_of(cells: Sequence[str], width: int) -> str:
    """Cells beside each other, whose pictures are so many pixels wide."""
    style = "strip fine" if width < _FINE else "strip"
    return f'<div class="{style}" style="--columns: {len(cells)}">{"".join(cells)}</div>'


def _changes(image: np.ndarray, right: np.ndarray, wrong: np.ndarray, counted: np.ndarray) -> str:
    """The image pale and grey, with the pixels put right in blue and those spoilt in orange."""
    shown = mark(image, {RIGHT: right, WRONG: wrong})
    gain, loss = (percent(share(mask, counted)) for mask in (right, wrong))
    text = (
        f'<span class="up">+{gain}</span> <span class="down">−{loss}</span>'
        if right.any() or wrong.any()
        else "no pixel changed its score"
    )
    return f'<div class="quiet">{text}</div>{html.image(shown, "what changed")}'


def share(mask: np.ndarray, counted: np.ndarray) -> float | None:
    """The share of the counted pixels that are in a mask; None if none is counted."""
    return float(mask[counted].mean()) if counted.any() else None


def show(image: np.ndarray, alt: str) -> str:
    """An image (H, W, 3), uint8: a large one as a photograph, a small one pixel by pixel."""
    return html.image(image, alt) if image.shape[1] < _FINE else html.photo(_shrunk(image), alt)


def mark(image: np.ndarray, masks: Mapping[Sequence[int], np.ndarray]) -> bytes:
    """An image (H, W, 3) pale and grey, with the pixels of masks in their colours, as PNG."""
    levels = (image.mean(axis=-1) * _GREYS / 256).astype("uint8")
    for i, mask in enumerate(masks.values()):
        levels[mask] = _GREYS + i
    greys = 255 - 0.3 * (255 - 255 * np.arange(_GREYS) / (_GREYS - 1))
    colors = [(round(grey),) * 3 for grey in greys] + list(masks)
    return viz.label_png(_shrunk(levels), colors, ignore=None)


def paint(labels: np.ndarray, classes: Classes) -> bytes:
    """A label map in its colours, as PNG."""
    return viz.label_png(_shrunk(labels), classes.colors, classes.ignore)


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    """Every n-th pixel of a picture (H, W, ...), so that it is no larger than the page needs."""
    step = -(-max(pixels.shape[:2]) // _LARGEST)
    return pixels[::step, ::step]


def cell(title: str, note: str, content: str) -> str:
    """Pictures (HTML) under a title and a note (text)."""
    caption = f'{escape(title)}<br><span class="quiet">{escape(note) or "&nbsp;"}</span>'
    return f"<figure><figcaption>{caption}</figcaption>{content}</figure>"
