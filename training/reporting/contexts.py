"""What b13 has learned, and whether that is what was planted in the scenes."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_dpn import viz
from training.data.scenes import RELATIONS, TWINS
from training.reporting import html

SIDES = {
    "above": lambda y, x: y < 0,
    "below": lambda y, x: y > 0,
    "left": lambda y, x: x < 0,
    "right": lambda y, x: x > 0,
    "around": lambda y, x: (y != 0) | (x != 0),
}


def context_plots(model: keras.Model, names: Sequence[str], planted: bool) -> str:
    """Contexts and compatibilities of a model with b13.

    Args:
        model: a `models.DPN` with contexts.
        names: its L classes.
        planted: whether it was trained on the generated scenes.
    """
    kernel = np.asarray(model.get_layer("b13").kernel, "float32") * b12_sign(model)
    mixtures = kernel.shape[-1] // len(names)
    maps = viz.context_maps(kernel, mixtures)
    matrix = viz.compatibility_matrix(kernel, mixtures)
    parts = [html.plot(viz.plot_contexts(maps, names), "the strongest contexts")]
    if planted:
        parts.append(_planted(maps, names))
    parts.append(html.plot(viz.plot_compatibility(matrix, names), "label compatibilities"))
    return "\n".join(parts)


def b12_sign(model: keras.Model) -> int:
    """1 if b12 answers with more where a label is present, -1 if training turned it round."""
    b12 = model.get_layer("b12")
    scale = float(b12.a)
    if b12.kernel == "squared_distance":
        scale *= float(b12.w_color) + float(b12.w_position)
    return -1 if scale < 0 else 1


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


def _planted(maps: np.ndarray, names: Sequence[str]) -> str:
    """The relations of the scenes: each one's penalty and that of the thing that looks the same."""
    twins = dict(TWINS) | {b: a for a, b in TWINS}
    rows, pairs = [], []
    for relation in RELATIONS:
        twin = twins[relation.label]
        label, other, neighbour = map(names.index, (relation.label, twin, relation.neighbour))
        own = side_mean(maps[label, neighbour], relation.direction)
        others = side_mean(maps[other, neighbour], relation.direction)
        verdict = '<span class="up">found</span>'
        if own >= others:
            verdict = '<span class="down">not found</span>'
        name = f"{relation.label}: {relation.neighbour} {relation.direction}"
        rows.append(html.row(name, [_signed(own), f"{_signed(others)} ({twin})", verdict]))
        pairs.append((label, neighbour))
    text = (
        "<p>The scenes hold things that look the same and differ in what is around them. A planted "
        "relation is found if its penalty, the mean over that side of the window, is lower than "
        "for the thing's twin.</p>"
    )
    table = html.table(["planted", "penalty", "of its twin", ""], [rows])
    figure = viz.plot_contexts(maps, names, pairs, columns=3)
    return text + table + html.plot(figure, "contexts of the planted relations")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
