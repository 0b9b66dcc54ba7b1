"""A search for the settings of a fully connected CRF (DeepLab v1, section 5)."""

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, track

from keras_dpn import metrics
from keras_dpn.classes import Classes
from keras_dpn.crf import refine
from keras_dpn.inference import Predictor, to_labels

from ..data.dataset import Dataset
from ..rundir.paths import load_model, load_stages, read_json, write_atomically, write_json

Setting = tuple[float, float, float]  # w1, sigma_alpha in pixels, sigma_beta in steps of 0..255
Predict = Callable[[np.ndarray], np.ndarray]

GRIDS = {
    "coarse": ((2.5, 5.0, 10.0), (30.0, 60.0, 120.0), (3.0, 6.0, 12.0)),
    "paper": (
        (5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
        (50.0, 60.0, 70.0, 80.0, 90.0, 100.0),
        (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
    ),
}


def keep_answers(
    dataset: Dataset,
    split: str,
    count: int,
    folder: Path,
    source: Path,
    load: Callable[[], Predict],
) -> list[Path]:
    """Writes what the network answers to images of a split, where that isn't written yet.

    Args:
        dataset: the data set.
        split: "train" or "val".
        count: how many images, evenly spaced; all of them if there are no more.
        folder: receives a file an image, with the image, its labels and the probabilities: 4 bytes
            a pixel and class.
        source: the network's file; if that or an image changes, the answer is written anew.
        load: returns the network as a function from an image to probabilities.

    Returns:
        The files.

    Raises:
        ValueError: for another split, one without images, or a count below 1.
    """
    if split not in ("train", "val"):
        raise ValueError(
            f"Invalid value for argument `split`: expected 'train' or 'val', received {split!r}; "
            "a split that chooses settings is none to test on."
        )
    if count < 1:
        raise ValueError(f"Invalid value for argument `images`: expected 1 or more, not {count}.")
    examples = dataset.examples(split)
    if not examples:
        raise ValueError(f"The split '{split}' of {dataset.name} has no images.")
    load = functools.cache(load)  # not at all where every answer is there
    network = hashlib.sha256(source.read_bytes()).digest()
    files = []
    chosen = np.linspace(0, len(examples) - 1, min(count, len(examples))).round().astype(int)
    for index in track(chosen, "asking the network", console=Console(stderr=True)):
        image, labels = dataset.read(examples[index])
        digest = _digest([network, image.tobytes(), labels.tobytes()])
        file = folder / f"{split}_{index:05d}.npz"
        if not file.is_file() or _digest_of(file) != digest:
            kept = {"image": image, "labels": labels, "probabilities": load()(image)}
            write_atomically(file, functools.partial(np.savez, digest=digest, **kept))
        files.append(file)
    return files


def search(
    files: Sequence[Path],
    classes: Classes,
    path: Path,
    *,
    axes: Sequence[Sequence[float]],
    rounds: int,
    fixed: Mapping[str, Any],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Scores the settings of a grid, then of finer ones around the best.

    Args:
        files: from `keep_answers`.
        classes: the network's.
        path: JSON file of the scores, written after each setting. What it holds of the same answers
            and fixed settings is not computed again; what it holds of others is replaced.
        axes: values of w1, sigma_alpha and sigma_beta, from `starting_axes`.
        rounds: how many finer grids follow.
        fixed: the CRF's other settings, keyword arguments of `crf.refine`.
        about: what else the file shall say.

    Returns:
        What the file holds: all of `about`, "fixed", "answers" (a digest), "baseline" (without a
        CRF), "settings" and "best" of them, each with "miou" and the "confusion" matrix, truth in
        rows, and the settings with "bilateral": w1, sigma_alpha and sigma_beta.

    Raises:
        ValueError: if no pixel of the images is labelled.
    """
    answers = _digest(_digest_of(file).encode() for file in files)
    facts = {**about, "images": len(files), "answers": answers, "fixed": dict(fixed)}
    record = _earlier(path, facts) or {**facts, "baseline": _score(files, classes), "settings": []}
    if record["baseline"]["miou"] is None:
        raise ValueError("None of the images has a labelled pixel: nothing to choose settings by.")
    scores = {tuple(row["bilateral"]): row["miou"] for row in record["settings"]}
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("trying settings", total=len(files) * _count(axes, rounds))
        advance = functools.partial(bar.advance, task)
        for done, setting in enumerate(coarse_to_fine(axes, rounds, scores), 1):
            if setting not in scores:
                found = _score(files, classes, {**fixed, "bilateral": setting}, advance)
                record["settings"].append({"bilateral": list(setting), **found})
                record["best"] = max(record["settings"], key=lambda row: row["miou"])
                write_json(path, record)
                scores[setting] = found["miou"]
            bar.update(task, completed=done * len(files))
    return record


def starting_axes(grid: str, *axes: Sequence[float]) -> list[list[float]]:
    """The values of w1, sigma_alpha and sigma_beta to start with, ascending.

    Args:
        grid: one of GRIDS.
        *axes: values of each parameter; the grid's where empty.

    Raises:
        ValueError: for a value that isn't above 0.
    """
    chosen = [sorted(set(own or values)) for own, values in zip(axes, GRIDS[grid], strict=True)]
    for name, axis in zip(("w1", "sigma_alpha", "sigma_beta"), chosen, strict=True):
        if axis[0] <= 0:
            raise ValueError(
                f"Invalid value for argument `{name}`: expected values above 0, received {axis}."
            )
    return chosen


def coarse_to_fine(
    axes: Sequence[Sequence[float]], rounds: int, scores: Mapping[Setting, float]
) -> Iterator[Setting]:
    """All settings of a grid, then of `rounds` finer ones, each around the best of the one before.

    Args:
        axes: ascending values of each parameter.
        rounds: how many finer grids follow.
        scores: must hold the score of each setting when the next one is asked for.
    """
    for _ in range(rounds + 1):
        grid = list(itertools.product(*axes))
        yield from grid
        best = max(grid, key=scores.__getitem__)
        axes = [finer(axis, value) for axis, value in zip(axes, best, strict=True)]


def finer(axis: Sequence[float], value: float) -> Sequence[float]:
    """A value, and the ones half way to its neighbours on a logarithmic scale.

    Beyond the end of an axis it goes as far as to the other side; a lone value stays alone.

    Example:
    >>> finer((5, 10, 20), 10), finer((30, 60, 120), 120)
    ((7.07, 10, 14.1), (84.9, 120, 170.0))
    """
    if len(axis) == 1:
        return axis
    place = axis.index(value)
    below = axis[place - 1] if place > 0 else value**2 / axis[1]
    above = axis[place + 1] if place + 1 < len(axis) else value**2 / axis[-2]
    low, high = (float(f"{math.sqrt(value * other):.3g}") for other in (below, above))
    return low, value, high


def _count(axes: Sequence[Sequence[float]], rounds: int) -> int:
    """How many settings `coarse_to_fine` has."""
    fine = math.prod(3 if len(axis) > 1 else 1 for axis in axes)
    return math.prod(map(len, axes)) + rounds * fine


def _score(
    files: Sequence[Path],
    classes: Classes,
    crf: Mapping[str, Any] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Mean IoU and confusion matrix of the kept answers, refined by a CRF if there is one."""
    count = classes.num_classes
    confusion = np.zeros((count, count), "int64")
    for file in files:
        with np.load(file) as kept:
            image, labels, probabilities = (kept[k] for k in ("image", "labels", "probabilities"))
        if crf is not None:
            probabilities = refine(image, probabilities, **crf)
        predictions = to_labels(probabilities)
        confusion += metrics.confusion_matrix(labels, predictions, count, classes.ignore)
        advance()
    return {"miou": metrics.scores(confusion)["miou"], "confusion": confusion.tolist()}


def _earlier(path: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an earlier search with the same facts has found."""
    record = read_json(path) if path.is_file() else {}
    return record if facts.items() <= record.items() else None


def _digest_of(file: Path) -> str:
    with np.load(file) as kept:
        return str(kept["digest"])


def _digest(parts) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def predict_head(work_dir: Path, stage: str | None) -> Predict:
    """Return what gives the probabilities of an image: a run's network, or one stage's."""
    model = load_model(work_dir, stage)
    output = "final" if stage is None else load_stages(work_dir)[stage].head
    predictor = Predictor(model, heads=None if stage is None else (output,))
    return lambda image: predictor.probabilities(image)[output]
