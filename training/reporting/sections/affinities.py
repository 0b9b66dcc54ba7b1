"""What the pairwise potentials of a PiecewiseCRF have learned."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_dpn import viz

from .. import html
from ..images import Picture, model_inputs


def affinity_plots(
    model: keras.Model, pictures: Sequence[Picture], names: Sequence[str], count: int = 3
) -> str:
    """Which labels each relation likes together, as `viz.label_affinity` of its logits.

    Args:
        model: a `models.PiecewiseCRF`.
        pictures: what its potentials are asked about, so many of them.
        names: the L classes.
        count: of pictures, at most: an edge has L x L logits, and a picture many thousand edges.

    Returns:
        HTML; nothing for a network without relations.
    """
    plots = []
    for relation in (piece for piece in model.pieces if piece != "unary"):
        edges = np.concatenate([_edges(model, relation, p) for p in pictures[:count]])
        figure = viz.plot_label_affinity(viz.label_affinity(edges), names, relation)
        plots.append(html.plot(figure, f"label affinity of the potential “{relation}”"))
    return "\n".join(plots)


def _edges(model: keras.Model, relation: str, picture: Picture) -> np.ndarray:
    """A relation's logits (edges, L, L) for one picture, of the edges that exist."""
    _, exist = model.get_layer(f"{relation}_graph").output
    logits = model.get_layer(f"{relation}_pairwise").output
    found = keras.Model(model.input, [exist, logits])(model_inputs(model, picture))
    exist, logits = map(keras.ops.convert_to_numpy, found)
    return logits[0, exist.astype(bool)]
