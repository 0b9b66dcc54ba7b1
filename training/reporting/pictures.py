"""Pictures before and after each stage."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from rich.progress import track

from keras_dpn import inference, viz
from training.data import Classes, Dataset
from training.reporting import html
from training.reporting.scores import TITLES, percent
from training.workdir import load_model

RIGHT, WRONG = (0, 114, 178), (213, 94, 0)  # Okabe and Ito's blue and vermilion


class Picture(NamedTuple):
    """One example: image uint8 (H, W, 3), labels (H, W)."""

    name: str
    image: np.ndarray
    labels: np.ndarray


def read_pictures(dataset: Dataset, split: str, count: int) -> list[Picture]:
    """Examples evenly spaced over a split.

    Raises:
        ValueError: if there are none.
    """
    available = dataset.examples(split)
    if not available or count < 1:
        raise ValueError(
            f"Expected at least one picture of the split '{split}' of {dataset.name}, which has "
            f"{len(available)}; {count} were asked for."
        )
    chosen = np.unique(np.linspace(0, len(available) - 1, count).round().astype(int))
    return [Picture(available[i].name, *dataset.read(available[i])) for i in chosen]


def stage_strips(
    work_dir: Path, stages: Sequence[str], pictures: Sequence[Picture], classes: Classes
) -> str:
    """For each picture its truth, every stage's best model, and what each stage changed."""
    predictions: list[dict[str, np.ndarray]] = [{} for _ in pictures]
    for stage in track(stages, "pictures of the stages"):  # one model in memory at a time
        model = load_model(work_dir, stage=stage)
        for found, picture in zip(predictions, pictures, strict=True):
            found[stage] = stage_labels(model, stage, picture.image)
    pairs = zip(pictures, predictions, strict=True)
    return "\n".join(strip(picture, found, classes) for picture, found in pairs)


def stage_labels(model: keras.Model, stage: str, image: np.ndarray) -> np.ndarray:
    """The labels after a stage if the model has it ("joint" is not one), else at its end."""
    if stage in getattr(model, "stage_names", ()):
        found = inference.stage_probabilities(model, image, [stage])[stage]
        return inference.to_labels(found)
    return inference.predict_labels(model, image)


def own_strips(model: keras.Model, pictures: Sequence[Picture], classes: Classes) -> str:
    """For each picture the labels after each stage of one model, in one pass."""
    strips = []
    for picture in pictures:
        maps = inference.stage_probabilities(model, picture.image)
        found = {stage: inference.to_labels(p) for stage, p in maps.items()}
        strips.append(strip(picture, found, classes))
    return "\n".join(strips)


def strip(picture: Picture, predictions: Mapping[str, np.ndarray], classes: Classes) -> str:
    """One picture's row: image, truth, then label maps with what changed from map to map."""
    _, image, labels = picture
    counted = labels != classes.ignore
    cells = [
        _cell(picture.name, "", html.image(image, picture.name)),
        _cell("truth", "", html.image(_paint(labels, classes), "truth")),
    ]
    before = None
    for stage, found in predictions.items():
        title = TITLES.get(stage, stage)
        score = f"{percent(_share(found == labels, counted))} % right"
        shown = html.image(_paint(found, classes), title)
        if before is not None:
            right = (found == labels) & (before != labels)
            wrong = (found != labels) & (before == labels)
            shown += _changes(image, right, wrong, counted)
        cells.append(_cell(title, score, shown))
        before = found
    style = "strip fine" if image.shape[1] < 300 else "strip"
    return f'<div class="{style}" style="--columns: {len(cells)}">{"".join(cells)}</div>'


def _changes(image: np.ndarray, right: np.ndarray, wrong: np.ndarray, counted: np.ndarray) -> str:
    """The image pale and grey, with the pixels put right in blue and those spoilt in orange."""
    pale = 255 - (255 - image.mean(axis=-1, keepdims=True)) * 0.3
    shown = np.repeat(pale, 3, axis=-1)
    shown[right] = RIGHT
    shown[wrong] = WRONG
    gain, loss = (percent(_share(mask, counted)) for mask in (right, wrong))
    text = (
        f'<span class="up">+{gain}</span> <span class="down">−{loss}</span>'
        if right.any() or wrong.any()
        else "no pixel changed its score"
    )
    return f'<div class="quiet">{text}</div>{html.image(shown, "what changed")}'


def _share(mask: np.ndarray, counted: np.ndarray) -> float | None:
    return float(mask[counted].mean()) if counted.any() else None


def _paint(labels: np.ndarray, classes: Classes) -> bytes:
    return viz.label_png(labels, classes.colors, classes.ignore)


def _cell(title: str, note: str, content: str) -> str:
    caption = f'{escape(title)}<br><span class="quiet">{escape(note) or "&nbsp;"}</span>'
    return f"<figure><figcaption>{caption}</figcaption>{content}</figure>"
