import numpy as np
import pytest

from keras_dpn.models import DPN, ParseNet, SpatialTemporalDPN
from training.data.generated.scenes import CLASSES
from training.data.sampling import Sample
from training.reporting.context import ReportContext
from training.reporting.sections import contexts
from training.reporting.sections.contexts import LabelContexts

pytestmark = pytest.mark.usefixtures("eager")

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype="uint8")


class Dataset:
    classes = CLASSES


def small_model(network=DPN, **options):
    settings = {"width": 0.05, "backbone": {"name": "large_fov", "fc_width": 8}}
    settings |= {"local_conv": {"window": 3}, "contexts": {"window": 5, "mixtures": 2}}
    settings |= {"pairwise_stride": 8}
    return network(CLASSES.num_classes, **settings | options)


@pytest.fixture
def drawn(monkeypatch):
    """What is plotted, by the name of the plot, instead of plotting it."""
    found = {}
    for plot in ("plot_contexts", "plot_compatibility"):
        monkeypatch.setattr(
            contexts.viz, plot, lambda maps, names, plot=plot: found.setdefault(plot, maps)
        )
    monkeypatch.setattr(contexts.media, "plot", lambda figure, alt: {"alt": alt, "uri": "data:,"})
    return found


def render(model, image=IMAGE):
    sample = Sample("x", image, np.zeros(image.shape[:2], "uint8"))
    return LabelContexts().render(ReportContext(None, Dataset, model, "val", [sample], 1))


@pytest.mark.parametrize("sign", [1, -1])
def test_contexts_are_read_with_the_sign_of_the_triple_penalty(drawn, sign):
    model = small_model()
    model.get_layer("b12").a.assign(sign)
    text = render(model)
    expected = sign * model.context_kernels()[0]
    np.testing.assert_allclose(drawn["plot_contexts"], [contexts.viz.context_maps(expected, 2)])
    matrix = contexts.viz.compatibility_matrix(expected, 2)
    np.testing.assert_allclose(drawn["plot_compatibility"], [matrix])
    assert text.count("<img") == 2 and "with care" not in text and "frame t" not in text


def test_contexts_of_each_frame(drawn, monkeypatch):
    """A network for clips that starts from one for images has its contexts in the middle frame."""
    dpn, model = small_model(), small_model(SpatialTemporalDPN, linking="static")
    model.start_from(dpn)
    monkeypatch.setattr(SpatialTemporalDPN, "triple_penalty_sign", lambda model, inputs: 1)
    monkeypatch.setattr(contexts, "model_inputs", lambda model, sample: None)
    assert "A is in frame t" in render(model)
    maps, matrices = drawn["plot_contexts"], drawn["plot_compatibility"]
    assert maps.shape == (3, 11, 11, 5, 5) and matrices.shape == (3, 11, 11)
    np.testing.assert_allclose(maps[1], contexts.viz.context_maps(dpn.context_kernels()[0], 2))
    assert not maps[[0, 2]].any() and not matrices[[0, 2]].any()


def test_a_sign_that_depends_on_the_position_is_said(drawn, monkeypatch):
    model = small_model()
    assert "Read with care" not in render(model)
    monkeypatch.setattr(DPN, "triple_penalty_sign", lambda model, inputs: 0)
    assert "Read with care" in render(model)


def test_networks_without_contexts_have_no_section():
    for model in (small_model(pairwise="triple"), ParseNet(3, width=0.04)):
        assert not LabelContexts().applies(ReportContext(None, Dataset, model, "val", [], 0))
    assert LabelContexts().applies(ReportContext(None, Dataset, small_model(), "val", [], 0))
