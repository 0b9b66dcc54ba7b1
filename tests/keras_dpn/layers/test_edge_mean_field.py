import keras
import numpy as np
import pytest

from keras_dpn import layers, ops
from tests.keras_dpn.enumeration import random_field
from tests.keras_dpn.support import run_layer_test, to_numpy


def field_on_a_map(seed=0):
    """Unary logits of a map of 2x3, edges and pairwise logits."""
    unary, edges, pairwise = random_field(seed, nodes=6)
    return unary.reshape(2, 2, 3, 3), edges, pairwise


@pytest.mark.parametrize("relations", [1, 2])
def test_layer(relations):
    unary, edges, pairwise = field_on_a_map()
    expected = ops.edge_mean_field(unary.reshape(2, 6, 3), edges, pairwise, 3, damping=0.2)
    several = (unary, [edges[:4], edges[4:]], [pairwise[:, :4], pairwise[:, 4:]])
    run_layer_test(
        layers.EdgeMeanField,
        {"num_iterations": 3, "damping": 0.2},
        input_data=several if relations == 2 else (unary, edges, pairwise),
        expected_output=keras.ops.reshape(expected, unary.shape),
        expected_output_dtype="float32",
        run_training_check=False,
    )


def test_half_precision_policies_keep_float32():
    wide = layers.EdgeMeanField()(field_on_a_map())
    half = layers.EdgeMeanField(dtype="mixed_bfloat16")(field_on_a_map())
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(half), to_numpy(wide))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_iterations": 0}, "`num_iterations`: expected an integer of at least 1, received 0"),
        ({"damping": 1}, "`damping`: expected a number from 0 to below 1, received 1"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.EdgeMeanField(**settings)


UNARY, EDGES, PAIRWISE = field_on_a_map()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((UNARY[0], EDGES, PAIRWISE), r"expects unary logits .*received shape \(2, 3, 3\)"),
        ((UNARY, [EDGES], [PAIRWISE, PAIRWISE]), "1 edge lists and 2 times pairwise logits"),
        ((UNARY, EDGES + 1, PAIRWISE), "`edges`: expected nodes 0 to 5, received 6"),
        ((UNARY, EDGES[:2], PAIRWISE), "`pairwise`: expected shape"),
    ],
)
def test_refuses_inputs(inputs, message):
    with pytest.raises(ValueError, match=message):
        layers.EdgeMeanField()(inputs)


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="EdgeMeanField supports the image data format"):
        layers.EdgeMeanField()
