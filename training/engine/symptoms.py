"""Symptoms of a training stage that can't work, from the scores of its epochs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FLAT_EPOCHS = 3
FLAT_CHANGE = 0.01
CHANCE_MARGIN = 0.01
RISE = 2.0
UNPREDICTED_VALIDATIONS = 5


@dataclass(frozen=True)
class Symptom:
    """Something that should not happen in training.

    Args:
        name: "flat", "rising" or "unpredicted".
        message: what was observed, and what to do.
    """

    name: str
    message: str


def symptoms(
    rows: Sequence[dict[str, Any]],
    num_classes: int,
    section: str,
    rate: float,
) -> Iterator[Symptom]:
    """Yield the early symptoms of a stage, after any of its epochs.

    * flat: the losses of the first `FLAT_EPOCHS` epochs or more are within `FLAT_CHANGE`, relative,
      of the first, and the mean IoU is at most `CHANCE_MARGIN` above 1 / L, which predicting one
      class everywhere can reach. The learning rate is far too low, or too little is trained.
    * rising: the loss is `RISE` times the lowest so far, and not below the first. The learning rate
      is far too high.

    Args:
        rows: the stage's epochs, in order, each with "loss" and "miou".
        num_classes: L.
        section: the stage's settings on the command line.
        rate: the stage's learning rate.
    """
    losses = [row["loss"] for row in rows]
    if not losses:
        return
    first, last, lowest = losses[0], losses[-1], min(losses)
    is_flat = all(abs(loss - first) <= FLAT_CHANGE * abs(first) for loss in losses)
    chance = 1 / num_classes + CHANCE_MARGIN
    miou = rows[-1].get("miou", 1.0)  # unknown to an objective that compares no labels
    if len(losses) >= FLAT_EPOCHS and is_flat and miou <= chance:
        yield Symptom(
            "flat",
            f"the loss stays at {last:.3g} for {len(losses)} epochs, with a mean IoU of "
            f"{miou:.3f}: the learning rate of {rate:g} may be far too low, or "
            f"--{section}.freeze leaves too little to train. Try ten times the "
            f"--{section}.learning-rate.",
        )
    if lowest > 0 and last >= RISE * lowest and last >= first and len(losses) > 1:
        yield Symptom(
            "rising",
            f"the loss rose from {lowest:.3g} to {last:.3g}: the learning rate of {rate:g} may be "
            f"far too high. Try a tenth as --{section}.learning-rate.",
        )


def symptoms_at_the_end(
    validations: int, confusion: np.ndarray, names: Sequence[str], section: str
) -> Iterator[Symptom]:
    """Yield the symptoms of a stage's best weights, after its last epoch.

    * unpredicted: after `UNPREDICTED_VALIDATIONS` validations or more, no pixel is predicted as a
      class that the validation images contain. Earlier this is common: rare classes come last.

    Args:
        validations: how many the stage had.
        confusion: of the validation images, integers (L, L), `[truth, prediction]`.
        names: of the L classes.
        section: the stage's settings on the command line.
    """
    missing = unpredicted(confusion, names)
    if validations >= UNPREDICTED_VALIDATIONS and missing:
        yield Symptom(
            "unpredicted",
            f"at its end no validation pixel is predicted as {', '.join(missing)}. Rare classes "
            f"need --{section}.loss.class-weight-power, or the labels are wrong, see "
            "`keras-dpn check-data`.",
        )


def unpredicted(confusion: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return the names of classes that occur and are predicted nowhere.

    Example:
    >>> unpredicted(np.array([[5, 0, 0], [2, 0, 0], [0, 0, 0]]), ["road", "pole", "sky"])
    ['pole']
    """
    found = (confusion.sum(axis=1) > 0) & (confusion.sum(axis=0) == 0)
    return [name for name, is_missing in zip(names, found, strict=False) if is_missing]
