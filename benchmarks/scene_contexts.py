"""Whether the label contexts of a network are the relations that generated scenes are made of.

    python -m benchmarks.scene_contexts runs/demo

The scenes (`scenes`, `moving_scenes`) hold classes that look the same and differ in what is around
them. Prints for each ground-truth relation the penalty that the network has learned for it, the mean
over that side of the window, next to the penalty of the confusable class; a relation is found if its
own is the lower one. Prints the area under the ROC curve of these relations against relations that do
not exist, too.
"""  # noqa: E501  like the command

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from keras_dpn import viz
from keras_dpn.viz.contexts import middle_of
from training.data.dataset import Dataset
from training.data.generated.scenes import CONFUSABLE, RELATIONS, Relation
from training.data.sampling import read_samples
from training.reporting.images import model_inputs
from training.rundir.dataset import run_dataset
from training.rundir.models import load_model

_NUM_LABEL_MAPS = 50  # of the training split, which say what relations exist
_ABSENT = 0.02  # fraction of a side below which a neighbor counts as absent from it

SIDES = {
    "above": lambda y, x: y < 0,
    "below": lambda y, x: y > 0,
    "left": lambda y, x: x < 0,
    "right": lambda y, x: x > 0,
    "around": lambda y, x: (y != 0) | (x != 0),
}


def relation_auc(maps: np.ndarray, dataset: Dataset, stride: int = 1) -> float:
    """Return how well contexts separate the scenes' relations from relations that do not exist.

    A relation (label, side, neighbor) does not exist if in label maps of the training split the
    neighbor fills less than 2% of that side of the label's window on average. Labels are those of
    confusable classes; all sides and all other labels count.

    Args:
        maps: (L, L, n, n) from `viz.context_maps`.
        dataset: the scenes.
        stride: of the grid that the label contexts work on.

    Returns:
        The area under the ROC curve: the fraction of the pairs (existing, not existing) in which
        the existing one has the lower penalty. 0.5 is chance.
    """
    names = dataset.classes.names
    fractions = neighbor_fractions(dataset, maps.shape[-1], stride)
    labels = [names.index(name) for pair in CONFUSABLE for name in pair]
    absent = [
        side_mean(maps[u, v], side)
        for u in labels
        for v in range(len(names))
        for side in SIDES
        if v != u and side_mean(fractions[u, v], side) < _ABSENT
    ]
    existing = [penalties(maps, names, relation)[0] for relation in RELATIONS]
    lower = np.subtract.outer(existing, absent)
    return float(np.mean((lower < 0) + 0.5 * (lower == 0)))


def neighbor_fractions(dataset: Dataset, window: int, stride: int = 1) -> np.ndarray:
    """Return which label is where around which in label maps: float (L, L, window, window).

    `fractions[u, v, y, x]` is the fraction of u's pixels with v at that position of the window.
    """
    count, before = dataset.classes.num_classes, middle_of(window)
    reach = before, window - 1 - before
    pairs = np.zeros((window, window, count, count))
    for example in dataset.examples("train")[:_NUM_LABEL_MAPS]:
        labels = dataset.read(example)[1][::stride, ::stride]
        center = _one_hot(labels, count)
        around = _one_hot(np.pad(labels, reach, constant_values=dataset.classes.ignore), count)
        for y, x in np.ndindex(window, window):
            neighbors = around[y : y + labels.shape[0], x : x + labels.shape[1]]
            pairs[y, x] += np.einsum("yxu,yxv->uv", center, neighbors, optimize=True)
    totals = pairs[before, before].diagonal()  # the pixels of each label
    return (pairs / np.maximum(totals, 1)[:, None]).transpose(2, 3, 0, 1)


def _one_hot(labels: np.ndarray, count: int) -> np.ndarray:
    return (labels[..., None] == np.arange(count)).astype("float32")


def penalties(maps: np.ndarray, names: Sequence[str], relation: Relation) -> tuple[float, float]:
    """Return the mean penalty of a relation, and that of the same for the confusable class."""
    labels = relation.label, confusable(relation.label)
    neighbor = names.index(relation.neighbour)
    own, other = (
        side_mean(maps[names.index(label), neighbor], relation.direction) for label in labels
    )
    return own, other


def confusable(label: str) -> str:
    """Return the class that looks the same."""
    return (dict(CONFUSABLE) | {b: a for a, b in CONFUSABLE})[label]


def side_mean(context: np.ndarray, direction: str) -> float:
    """Return the mean of one side of a map (n, n); that of all of it if it has no side (n = 1)."""
    n = context.shape[0]
    y, x = np.mgrid[:n, :n] - middle_of(n)
    side = SIDES[direction](y, x)
    return float(context[side].mean()) if side.any() else float(context.mean())


def relations_table(maps: np.ndarray, names: Sequence[str]) -> Table:
    """Return a row for each relation: its penalty, the confusable class's, which is lower."""
    table = Table("relation", "penalty", "of the confusable class", "")
    for relation in RELATIONS:
        own, other = penalties(maps, names, relation)
        table.add_row(
            f"{relation.label}: {relation.neighbour} {relation.direction}",
            f"{own:+.3f}",
            f"{other:+.3f} ({confusable(relation.label)})",
            "found" if own < other else "not found",
        )
    return table


def main(work_dir: Positional[Path], split: str = "val") -> None:
    """Compares a network's label contexts with the relations of the scenes it was trained on.

    Args:
        work_dir: directory of a training run on scenes.
        split: where the image is from that says how the triple penalty is to be read.
    """
    dataset, model = run_dataset(work_dir), load_model(work_dir)
    if not {name for pair in CONFUSABLE for name in pair} <= set(dataset.classes.names):
        raise ValueError(f"{work_dir}: expected a run on generated scenes.")
    kernels = model.context_kernels()
    if kernels is None:
        raise ValueError(f"{work_dir}: expected a network with label contexts.")
    (sample,) = read_samples(dataset, split, 1, model.clip_frames)
    sign = model.triple_penalty_sign(model_inputs(model, sample))
    if sign == 0:
        raise ValueError(f"{work_dir}: the sign of the triple penalty depends on the position.")
    mixtures = kernels.shape[-1] // dataset.classes.num_classes
    maps = viz.context_maps(sign * kernels[len(kernels) // 2], mixtures)
    Console().print(relations_table(maps, dataset.classes.names))
    auc = relation_auc(maps, dataset, model.pairwise_stride)
    print(f"area under the ROC curve: {auc:.2f}")


if __name__ == "__main__":
    tyro.cli(main)
