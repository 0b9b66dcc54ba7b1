import keras
import numpy as np
import pytest

from keras_dpn import layers, ops
from tests.keras_dpn.support import random, run_layer_test, to_numpy


@pytest.mark.parametrize(("shape", "block_size"), [((2, 6), 3), ((2, 5, 4, 6), 2), ((2, 3, 6), 1)])
def test_layer(shape, block_size):
    run_layer_test(
        layers.BlockMinPool,
        {"block_size": block_size},
        input_shape=shape,
        expected_output_shape=(*shape[:-1], 6 // block_size),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        supports_masking=True,
    )


def test_equals_the_op():
    x = random(2, 3, 4, 6)
    np.testing.assert_array_equal(
        to_numpy(layers.BlockMinPool(3)(x)), to_numpy(ops.block_min_pool(x, 3))
    )


def test_unknown_sizes():
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, layers.BlockMinPool(2)(inputs))
    assert model.output.shape == (None, None, None, 3)
    assert model.predict(random(1, 2, 5, 6), verbose=0).shape == (1, 2, 5, 3)


def test_refuses_block_sizes():
    with pytest.raises(ValueError, match="`block_size`: expected an integer of at least 1"):
        layers.BlockMinPool(0)
    with pytest.raises(
        ValueError, match="expected a divisor of the input's 6 channels, received 4"
    ):
        layers.BlockMinPool(4)(np.ones((2, 6), "float32"))
    with pytest.raises(ValueError, match="expected a divisor of the input's None channels"):
        layers.BlockMinPool(4)(keras.Input((3, None)))
