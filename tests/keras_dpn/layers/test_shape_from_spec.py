"""`compute_output_shape` of the layers that have `compute_output_spec`."""

import keras
import numpy as np
import pytest

from keras_dpn import layers
from tests.keras_dpn.support import random

PAIR = ((1, 3, 4, 5), (1, 3, 4, 2))
EDGES = np.array([[0, 1], [1, 2]], "int32")
CASES = {
    "resize": (layers.Resize(factor=2), (1, 3, 4, 5)),
    "resize_to": (layers.Resize(), ((1, 3, 4, 5), (1, 6, 7, 1))),
    "global_context": (layers.GlobalContext(), (1, 3, 4, 5)),
    "local_conv": (layers.LocalConv2D(2), PAIR),
    "field": (layers.DeepParsingField(3, 3, 2), PAIR),
    "heads": (layers.DeepParsingField(3, 3, 2, return_heads=True), PAIR),
    "crf": (layers.MeanFieldCRF(1, filter="exact"), PAIR),
    "links": (layers.DynamicNodeLink(), (1, 2, 3, 4, 5)),
    "graph": (layers.RangeBoxGraph("above"), (1, 8, 9, 5)),
    "block_min_pool": (layers.BlockMinPool(5), (1, 3, 4, 5)),
}


def shape_of(outputs):
    return keras.tree.map_structure(lambda x: tuple(x.shape), outputs)


@pytest.mark.parametrize("name", CASES)
def test_equals_the_outputs_shape(name):
    layer, shape = CASES[name]
    several = isinstance(shape[0], tuple)
    inputs = tuple(random(*each) for each in shape) if several else random(*shape)
    assert layer.compute_output_shape(shape) == shape_of(layer(inputs))


def test_edges_of_a_graph():
    features, exist = random(1, 1, 3, 4), np.ones(2, "bool")
    potential = layers.PairwisePotential(5, 2)
    shapes = [(1, 1, 3, 4), (2, 2), (2,)]
    pairwise = potential((features, EDGES, exist))
    assert potential.compute_output_shape(shapes) == shape_of(pairwise)
    field, unary = layers.EdgeMeanField(1), random(1, 1, 3, 5)
    shapes = [(1, 1, 3, 5), [(2, 2)], [(1, 2, 5, 5)]]
    assert field.compute_output_shape(shapes) == shape_of(field((unary, [EDGES], [pairwise])))


@pytest.mark.parametrize("layer", [layers.Resize(factor=2), layers.GlobalContext()])
def test_on_the_frames_of_a_video(layer):
    frames = random(2, 3, 4, 6, 5)
    found = keras.layers.TimeDistributed(layer)(frames)
    np.testing.assert_allclose(found[:, 1], layer(frames[:, 1]), rtol=1e-6)
