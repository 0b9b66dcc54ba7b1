"""Comparison of evaluations of the same images: which differences in mIoU are more than chance."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Column, Table

from keras_dpn import metrics

from .results import evaluation_file


class Counts(NamedTuple):
    """What one prediction got right and wrong in each image."""

    title: str
    names: list[str]
    confusions: np.ndarray


def load_counts(text: str, split: str) -> Counts:
    """Read the counts that `training.evaluate` wrote.

    Args:
        text: "RUN" or "RUN:STAGE"; RUN is a run's directory or an evaluation's JSON file, STAGE one
            of the evaluation's, the last one by default.
        split: which of a run's evaluations.

    Raises:
        ValueError: if there is no such file or stage.
    """
    path, stage = Path(text), None
    if not path.exists() and ":" in text:
        head, stage = text.rsplit(":", 1)
        path = Path(head)
    file = (evaluation_file(path, split) if path.is_dir() else path).with_suffix(".npz")
    if not file.is_file():
        raise ValueError(
            f"{file}: no such file; `python -m training.evaluate --work-dir RUN --split {split}` "
            "writes it."
        )
    with np.load(file) as arrays:
        stages = [key for key in arrays.files if key != "names"]
        stage = stage or stages[-1]
        if stage not in stages:
            raise ValueError(f"{file}: expected one of the stages {stages}, received '{stage}'.")
        return Counts(text, arrays["names"].tolist(), arrays[stage])


def compare(
    first: Counts,
    second: Counts,
    *,
    block: int = 1,
    samples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare two predictions of the same images; their order may differ.

    Args:
        first: the one to compare with.
        second: the other one.
        block: as in `metrics.paired_bootstrap`, as the others.
        samples: how many draws.
        confidence: of the interval.
        seed: of the draws.

    Returns:
        The keys of `metrics.paired_bootstrap`, and "images": "name", "first" and "second", the mIoU
        of each single image, those first that gained most.

    Raises:
        ValueError: if images, classes or true labels differ, and as `metrics.paired_bootstrap`.
    """
    pair = f"{first.title} and {second.title}"
    place = {name: i for i, name in enumerate(second.names)}
    if place.keys() != set(first.names):
        other = sorted(place.keys() ^ set(first.names))
        raise ValueError(
            f"{pair} are not of the same images: {other[0]} is in one of them only"
            f" ({len(other)} such images)."
        )
    theirs = second.confusions[[place[name] for name in first.names]]
    if first.confusions.shape != theirs.shape:
        numbers = first.confusions.shape[-1], theirs.shape[-1]
        raise ValueError(f"{pair} have {numbers[0]} and {numbers[1]} classes.")
    unlike = np.any(first.confusions.sum(2) != theirs.sum(2), axis=1)
    if unlike.any():
        raise ValueError(
            f"{pair} were scored with other true labels, those of "
            f"{first.names[int(np.argmax(unlike))]} for example."
        )
    found = metrics.paired_bootstrap(
        first.confusions, theirs, block, samples, confidence, seed=seed
    )
    images = [
        {"name": name, "first": metrics.mean_iou(a), "second": metrics.mean_iou(b)}
        for name, a, b in zip(first.names, first.confusions, theirs, strict=True)
        if a.any()
    ]
    images.sort(key=lambda image: image["first"] - image["second"])
    return found | {"images": images}


def comparison_table(title: str, first: str, found: dict[str, Any], confidence: float) -> Table:
    """Return a row for each evaluation: its mIoU and how far it differs from the first one's."""
    table = Table(Column("evaluation", overflow="fold"), "mIoU, %", title=title)
    for column in ("difference", f"{100 * confidence:g}% interval", "wins, %"):
        table.add_column(column, justify="right")
    table.add_row(first, f"{100 * next(iter(found.values()))['first']:.1f}")
    for name, result in found.items():
        low, high = (f"{100 * end:+.2f}" for end in result["interval"])
        table.add_row(
            name,
            f"{100 * result['second']:.1f}",
            f"{100 * result['difference']:+.2f}",
            f"{low} … {high}",
            f"{100 * result['wins']:.1f}",
        )
    return table


def change_table(title: str, images: list[dict[str, Any]], count: int) -> Table:
    """Return the images that gained most, then those that lost most."""
    table = Table("image", "mIoU before, %", "after, %", "change", title=title)
    gained = [image for image in images if image["second"] > image["first"]][:count]
    lost = [image for image in images if image["second"] < image["first"]][-count:]
    for image in (*gained, *lost):
        before, after = image["first"], image["second"]
        numbers = f"{100 * before:.1f}", f"{100 * after:.1f}", f"{100 * (after - before):+.1f}"
        table.add_row(image["name"], *numbers)
    return table
