"""What b13 has learned, and whether that is what was planted in the scenes."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_dpn import viz

from ...data.dataset import Dataset
from ...data.generated.scenes import CONFUSABLE, RELATIONS, Relation
from .. import html
from ..images import Picture, model_inputs

# Generated with `RELATIONS` in them.
_PLANTED = ("scenes", "moving_scenes")
_PICTURES = 50  # for what the true label maps hold
_ABSENT = 0.02
_AGREED = 0.9  # share of the places at which b12's answer has the same sign

SIDES = {
    "above": lambda y, x: y < 0,
    "below": lambda y, x: y > 0,
    "left": lambda y, x: x < 0,
    "right": lambda y, x: x > 0,
    "around": lambda y, x: (y != 0) | (x != 0),
}

_AMBIGUOUS = (
    "<p><strong>With care:</strong> this network's b12 answers with more where a label is present "
    "at some places, and with less at others, as its weights of colour and position pull apart. "
    "So the filters below, drawn for the former, don't say alone which labels are liked.</p>"
)


def context_plots(model: keras.Model, dataset: Dataset, picture: Picture) -> str:
    """Contexts and compatibilities of a model with b13, for each frame that b13 looks at.

    Args:
        model: a `models.DPN` or `models.SpatialTemporalDPN` with contexts.
        dataset: what it was trained on.
        picture: see `b12_sign`.
    """
    names = dataset.classes.names
    sign = b12_sign(model, picture)
    kernel = np.asarray(model.get_layer("b13").kernel, "float32") * (sign or 1)
    kernels = viz.frame_kernels(kernel, getattr(model, "frames", 1))
    mixtures = kernel.shape[-1] // len(names)
    maps = np.stack([viz.context_maps(kernel, mixtures) for kernel in kernels])
    matrices = np.stack([viz.compatibility_matrix(kernel, mixtures) for kernel in kernels])
    parts = [html.plot(viz.plot_contexts(maps, names), "the strongest contexts")]
    if sign == 0:
        parts.insert(0, _AMBIGUOUS)
    elif dataset.name in _PLANTED:
        parts.append(_planted(maps[len(maps) // 2], dataset, model.pairwise_stride))
    parts.append(html.plot(viz.plot_compatibility(matrices, names), "label compatibilities"))
    return "\n".join(parts)


def b12_sign(model: keras.Model, picture: Picture) -> int:
    """1 if b12 answers with more where a label is present, -1 if with less, 0 if it depends.

    The sign of its weights alone doesn't tell: colours and positions may pull apart, and which of
    them wins depends on the picture, or on the place in it. "Where a label is present" weighs all
    pixels and labels by their probability in the unary term.
    """
    batch = model_inputs(model, picture)
    o11 = model.head_model("unary")(batch)
    o12 = np.asarray(o11 - model.head_model("triple")(batch) - model.get_layer("b12").b)
    present = np.asarray(keras.ops.softmax(o11))
    more = (present * (o12 > 0)).sum() / present.sum()
    return 1 if more >= _AGREED else -1 if more <= 1 - _AGREED else 0


def relation_auc(maps: np.ndarray, dataset: Dataset, stride: int = 1) -> float:
    """How well the contexts tell the planted relations from relations that don't exist.

    A relation (label, side, neighbour) doesn't exist if in the first pictures of the training
    split the neighbour fills less than 2% of that side of the label's window on average. Labels
    are the things that have twins; all sides and all other labels are looked at.

    Args:
        maps: (L, L, n, n) from `viz.context_maps`.
        dataset: the scenes.
        stride: of the grid that b13 works on.

    Returns:
        The area under the ROC curve: the share of the pairs (planted, not existing) of which the
        planted one has the lower penalty. 0.5 is chance.
    """
    names = dataset.classes.names
    shares = neighbour_shares(dataset, maps.shape[-1], stride)
    things = [names.index(thing) for pair in CONFUSABLE for thing in pair]
    absent = [
        side_mean(maps[u, v], side)
        for u in things
        for v in range(len(names))
        for side in SIDES
        if v != u and side_mean(shares[u, v], side) < _ABSENT
    ]
    planted = [penalties(maps, names, relation)[0] for relation in RELATIONS]
    lower = np.subtract.outer(planted, absent)
    return float(np.mean((lower < 0) + 0.5 * (lower == 0)))


def neighbour_shares(dataset: Dataset, window: int, stride: int = 1) -> np.ndarray:
    """Which label lies where around which in true label maps, float (L, L, window, window).

    `shares[u, v, y, x]` is the share of the pixels of u that have v at that position of the window.
    """
    count, reach = dataset.classes.num_classes, window // 2
    pairs = np.zeros((window, window, count, count))
    for example in dataset.examples("train")[:_PICTURES]:
        labels = dataset.read(example)[1][::stride, ::stride]
        centre = _one_hot(labels, count)
        around = _one_hot(np.pad(labels, reach, constant_values=dataset.classes.ignore), count)
        for y, x in np.ndindex(window, window):
            there = around[y : y + labels.shape[0], x : x + labels.shape[1]]
            pairs[y, x] += np.einsum("yxu,yxv->uv", centre, there, optimize=True)
    totals = pairs[reach, reach].diagonal()  # the pixels of each label
    return (pairs / np.maximum(totals, 1)[:, None]).transpose(2, 3, 0, 1)


def _one_hot(labels: np.ndarray, count: int) -> np.ndarray:
    return (labels[..., None] == np.arange(count)).astype("float32")


def penalties(maps: np.ndarray, names: Sequence[str], relation: Relation) -> tuple[float, float]:
    """The mean penalty of a planted relation, and of the same claimed of the thing's twin."""
    labels = relation.label, twin_of(relation.label)
    neighbour = names.index(relation.neighbour)
    own, twins = (
        side_mean(maps[names.index(label), neighbour], relation.direction) for label in labels
    )
    return own, twins


def twin_of(label: str) -> str:
    """The class that looks the same."""
    return (dict(CONFUSABLE) | {b: a for a, b in CONFUSABLE})[label]


def side_mean(context: np.ndarray, direction: str) -> float:
    """Mean penalty on one side of a context map (n, n); its middle if there is no side (n = 1).

    Example:
    >>> side_mean(np.array([[2.0, 2.0, 2.0], [0.0, 0.0, 0.0], [5.0, 5.0, 5.0]]), "above")
    2.0
    """
    n = context.shape[0]
    y, x = np.mgrid[:n, :n] - n // 2
    side = SIDES[direction](y, x)
    return float(context[side].mean()) if side.any() else float(context.mean())


def _planted(maps: np.ndarray, dataset: Dataset, stride: int) -> str:
    """The relations of the scenes: each one's penalty and that of the thing that looks the same."""
    names = dataset.classes.names
    rows, pairs = [], []
    for relation in RELATIONS:
        own, others = penalties(maps, names, relation)
        verdict = '<span class="up">found</span>'
        if own >= others:
            verdict = '<span class="down">not found</span>'
        name = f"{relation.label}: {relation.neighbour} {relation.direction}"
        others = f"{_signed(others)} ({twin_of(relation.label)})"
        rows.append(html.row(name, [_signed(own), others, verdict]))
        pairs.append((names.index(relation.label), names.index(relation.neighbour)))
    text = (
        "<p>The scenes hold things that look the same and differ in what is around them. A planted "
        "relation is found if its penalty, the mean over that side of the window, is lower than "
        "for the thing's twin. Area under the ROC curve of planted relations against relations "
        f"that don't exist: {relation_auc(maps, dataset, stride):.2f}.</p>"
    )
    table = html.table(["planted", "penalty", "of its twin", ""], [rows])
    figure = viz.plot_contexts(maps, names, pairs, columns=3)
    return text + table + html.plot(figure, "contexts of the planted relations")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
