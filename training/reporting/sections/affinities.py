"""The section of label affinities that pairwise potentials have learned."""

from collections.abc import Sequence

import keras
import numpy as np
from markupsafe import Markup

from keras_dpn import viz

from ...data.sampling import Sample
from .. import media
from ..context import ReportContext
from ..images import model_inputs
from ..rendering import render

# An edge has L x L logits, and an image many thousand edges.
_MAX_SAMPLES = 3


class LabelAffinities:
    """Which labels each relation of a network prefers next to each other."""

    def applies(self, context: ReportContext) -> bool:
        return bool(context.model.affinity_relations)

    def render(self, context: ReportContext) -> Markup:
        names = context.dataset.classes.names
        plots = []
        for relation in context.model.affinity_relations:
            matrix = label_affinity(context.model, relation, context.samples[:_MAX_SAMPLES])
            figure = viz.plot_label_affinity(matrix, names, relation)
            plots.append(media.plot(figure, f"label affinity of the potential “{relation}”"))
        return render("affinities", plots=plots)


def label_affinity(model: keras.Model, relation: str, samples: Sequence[Sample]) -> np.ndarray:
    """Return the label affinity of a relation, (L, L), see `viz.label_affinity`.

    Args:
        model: a network with this relation.
        relation: one of its `affinity_relations`.
        samples: images whose edges count.
    """
    affinity, edges = model.affinity_model(relation), []
    for sample in samples:
        exist, logits = map(keras.ops.convert_to_numpy, affinity(model_inputs(model, sample)))
        edges.append(logits[0, exist.astype(bool)])
    return viz.label_affinity(np.concatenate(edges))
