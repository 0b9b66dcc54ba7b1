import numpy as np
import pytest

from keras_dpn import viz
from keras_dpn.models import PiecewiseCRF
from training.data.sampling import Sample
from training.reporting.context import ReportContext
from training.reporting.sections import affinities
from training.reporting.sections.affinities import LabelAffinities

pytestmark = pytest.mark.usefixtures("eager")

SMALL = {"num_blocks": 2, "block6": ((3, 50),), "units": 100, "width": 0.04, "scales": (1.0,)}


class Dataset:
    class classes:
        names = ("a", "b", "<c>")


def samples():
    """Of two sizes."""
    random = np.random.default_rng(0)
    for height, width in ((24, 32), (32, 24)):
        image = random.integers(0, 256, (height, width, 3), dtype="uint8")
        yield Sample("x", image, np.zeros((height, width), "uint8"))


def context(model, samples=()):
    return ReportContext(None, Dataset, model, "val", samples, 0)


def test_affinity_is_that_of_the_edges_of_all_images(monkeypatch):
    def record(matrix, names, relation, draw=viz.plot_label_affinity):
        shown[relation] = matrix
        return draw(matrix, names, relation)

    shown = {}
    monkeypatch.setattr(affinities.viz, "plot_label_affinity", record)
    model = PiecewiseCRF(3, relations=("above",), **SMALL)
    bias = np.zeros((3, 3), "float32")
    bias[2, 0] = 5.0  # label 0 above label 2
    last = model.get_layer("above_pairwise").fc2
    last.set_weights([np.zeros_like(last.kernel), bias.ravel()])
    text = LabelAffinities().render(context(model, list(samples())))
    assert text.count("<img") == 1 and "“above”" in text
    assert np.unravel_index(shown["above"].argmax(), (3, 3)) == (2, 0)
    np.testing.assert_allclose(shown["above"], viz.label_affinity(bias[None]), atol=1e-6)


def test_networks_without_relations_have_no_section():
    assert not LabelAffinities().applies(context(PiecewiseCRF(3, relations=(), **SMALL)))
    assert LabelAffinities().applies(context(PiecewiseCRF(3, relations=("above",), **SMALL)))
