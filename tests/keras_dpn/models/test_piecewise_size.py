import itertools

import keras
import numpy as np
import pytest

from keras_dpn.models import PiecewiseCRF, graph_size
from keras_dpn.models.piecewise_size import map_size, scaled
from tests.keras_dpn.support import picture, to_numpy, without_values

SMALL = {"scales": (0.5, 1.0), "block6": ((3, 300), (1, 200)), "units": 300, "width": 0.05}


@pytest.mark.parametrize(
    "settings",
    [
        {"num_blocks": 2},
        {"num_blocks": 3, "relations": ("above",), "unary": False},
        {"num_blocks": 5, "relations": (), "checkpointing": True},
    ],
)
def test_weights_are_counted_before_they_are_there(settings):
    model = without_values(lambda: PiecewiseCRF(4, **SMALL, **settings))
    size = graph_size((100, 90), num_classes=4, **SMALL, **settings)
    assert size.parameters == model.count_params()
    assert size == model.graph_size(100, 90)


@pytest.mark.parametrize(("num_neighbors", "most"), [(None, 99), (5, 5)])
@pytest.mark.tensorflow_only  # JAX compiles a network for it
def test_nodes_and_edges_are_those_of_a_step(num_neighbors, most):
    arguments = {**SMALL, "num_blocks": 3, "num_neighbors": num_neighbors}
    size = graph_size((50, 90), batch_size=2, num_classes=4, **arguments)
    model = PiecewiseCRF(4, **arguments)
    found = model.learner()(picture(50, 90, batch=2), training=True)
    assert size.map_size == tuple(found["field"].shape[1:3]) == (7, 12)
    assert size.nodes == 84 and set(size.edges) == {"surrounding", "above"}
    total = 0
    for name, tensors in found["relations"].items():
        edges, exist, pairwise = (to_numpy(x) for x in tensors)
        assert size.edges[name] == exist.sum()
        assert np.bincount(edges[exist][:, 0], minlength=84).max() <= most
        hidden = 15 * pairwise[..., 0, 0].size * 4
        total += edges.nbytes + exist.nbytes + pairwise.nbytes + hidden
    assert size.edge_bytes == total


@pytest.mark.tensorflow_only  # of numbers alone
def test_what_takes_more_memory():
    sizes = [
        graph_size((360, 480), **arguments).training_bytes
        for arguments in (
            {"scales": (1.2,), "relations": ()},
            {"relations": ()},
            {"checkpointing": True},
            {},
        )
    ]
    assert sizes == sorted(sizes)
    batches = [graph_size((360, 480), n).training_bytes for n in (1, 2, 3)]
    assert batches[2] - batches[1] == batches[1] - batches[0] > 1e9
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert graph_size((360, 480)).training_bytes < sizes[-1]


def test_in_words():
    text = str(graph_size((360, 480), 2, num_classes=11, relations=("above",), num_neighbors=10))
    assert text.startswith("graph: 252 nodes (14 x 18); edges: 2,230 above (")
    assert "M weights; training takes about" in text
    assert "edges: none (0.0 MB)" in str(graph_size((100, 100), relations=()))


def test_maps_have_a_cell_at_least():
    for height, width in itertools.product((1, 2, 31, 33), repeat=2):
        assert map_size(height, width, (0.1, 0.01), 5) == (1, 1)
    assert map_size(None, 65, (1.0,), 5) == (None, 3)


def test_refuses_what_the_network_refuses():
    with pytest.raises(ValueError, match="`scales`: expected at least one positive number"):
        graph_size((360, 480), scales=(0,))
    with pytest.raises(ValueError, match=r"Images of 64x64 have no edge 'surrounding' to learn"):
        graph_size((64, 64))
    with pytest.raises(ValueError, match="`image_size`: expected an integer"):
        graph_size((64, 0))
    with pytest.raises(ValueError, match="`batch_size`: expected an integer of at least 1"):
        graph_size((360, 480), 0)


@pytest.mark.parametrize("scale", [1.2, 0.8, 0.5, 0.4, 0.7, 0.07, 2**-0.5])
def test_sides_are_rounded_alike_where_they_are_known_and_where_not(scale):
    sides = np.arange(1, 2100, 7)
    known = [scaled(int(n), scale) for n in sides]
    np.testing.assert_array_equal(to_numpy(scaled(keras.ops.array(sides, "int32"), scale)), known)
    if scale in (1.2, 0.8, 0.5, 0.4):
        assert known == [max(1, round(int(n) * scale)) for n in sides]
