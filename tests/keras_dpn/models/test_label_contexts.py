import keras
import numpy as np
import pytest

from keras_dpn import viz
from keras_dpn.models import DPN, ParseNet, PiecewiseCRF, SpatialTemporalDPN
from tests.keras_dpn.support import assert_close, picture, to_numpy, without_values

# JAX compiles each of these networks for seconds: there, a few of them must do.
TENSORFLOW = pytest.mark.tensorflow_only

LABELS, MIXTURES = 3, 2
TINY = {
    "num_classes": LABELS,
    "width": 0.05,
    "backbone": {"fc6_kernel": 1, "fc_width": 50},
    "local_conv": {"window": 3},
    "contexts": {"window": 3, "mixtures": MIXTURES, "noise": 0.3},
}
PIECEWISE = {"num_blocks": 2, "block6": ((3, 50),), "units": 100, "width": 0.04, "scales": (1.0,)}


@pytest.fixture(scope="module")
def dpn():
    keras.utils.set_random_seed(0)
    return DPN(**TINY, pairwise_stride=8)


def test_context_kernels_are_those_of_b13(dpn):
    (kernel,) = dpn.context_kernels()
    assert_close(kernel, to_numpy(dpn.get_layer("b13").kernel))
    assert viz.context_maps(kernel, MIXTURES).shape == (LABELS, LABELS, 3, 3)
    assert viz.compatibility_matrix(kernel, MIXTURES).shape == (LABELS, LABELS)


@TENSORFLOW
def test_context_kernels_by_frame(dpn):
    model = SpatialTemporalDPN(**TINY, pairwise_stride=8, linking="static")
    model.start_from(dpn)
    kernels = model.context_kernels()
    assert kernels.shape == (3, 3, 3, LABELS, LABELS * MIXTURES)
    assert_close(kernels[1], dpn.context_kernels()[0])
    assert not kernels[[0, 2]].any()


def test_networks_without_label_contexts_have_no_kernels():
    for network in (DPN, SpatialTemporalDPN):
        model = without_values(lambda network=network: network(**TINY, pairwise="triple"))
        assert model.context_kernels() is None
    assert without_values(lambda: ParseNet(3, width=0.04)).context_kernels() is None


@TENSORFLOW
def test_sign_of_the_triple_penalty_is_that_of_what_b12_returns():
    model, image = DPN(**TINY, pairwise_stride=8), picture(24, 32)
    b12 = model.get_layer("b12")
    assert model.triple_penalty_sign(image) == 1
    b12.a.assign(-2.0)
    assert model.triple_penalty_sign(image) == -1
    b12.w_position.assign(-1e6)  # outweighs the colors
    assert model.triple_penalty_sign(image) == 1
    b12.b.assign(1e3)  # the same for every label, says nothing
    assert model.triple_penalty_sign(image) == 1


@TENSORFLOW
def test_the_sign_may_depend_on_the_position():
    model = DPN(**TINY, pairwise_stride=8)
    model.get_layer("b12").w_position.assign(-1.0)
    half = np.zeros((1, 24, 32, 3), "float32")
    half[:, 8:16, :16] = 255  # the right half is of one color: there the position alone decides
    assert model.triple_penalty_sign(half) == 0


@TENSORFLOW
def test_a_network_for_clips_has_a_sign():
    model = SpatialTemporalDPN(**TINY, pairwise_stride=8, linking="static")
    clip = np.stack([picture(24, 32)] * 3, axis=1)
    assert model.triple_penalty_sign(clip) == 1
    model.get_layer("b12").a.assign(-2.0)
    assert model.triple_penalty_sign(clip) == -1


@TENSORFLOW
def test_affinity_model_has_a_relations_edges():
    model, image = PiecewiseCRF(LABELS, relations=("above", "left"), **PIECEWISE), picture(24, 32)
    assert model.affinity_relations == ("above", "left")
    bias = np.arange(9, dtype="float32")
    last = model.get_layer("left_pairwise").fc2
    last.set_weights([np.zeros_like(last.kernel), bias])
    exist, logits = map(to_numpy, model.affinity_model("left")(image))
    assert logits.shape == (1, len(exist), LABELS, LABELS)
    assert 0 < exist.sum() < len(exist)  # some lead out of the image
    existing = logits[0, exist.astype(bool)]
    assert_close(existing, np.broadcast_to(bias.reshape(3, 3), existing.shape))
    layers = {layer.name for layer in model.affinity_model("left").layers}
    assert not any(name.startswith(("unary", "above")) for name in layers)


def test_unknown_relations_are_refused():
    model = without_values(lambda: PiecewiseCRF(LABELS, relations=("above",), **PIECEWISE))
    with pytest.raises(ValueError, match=r"`relation`: expected one of \['above'\]"):
        model.affinity_model("below")
    other = without_values(lambda: ParseNet(3, width=0.04))
    assert other.affinity_relations == ()
    with pytest.raises(ValueError, match=r"`relation`: expected one of \[\]"):
        other.affinity_model("above")
