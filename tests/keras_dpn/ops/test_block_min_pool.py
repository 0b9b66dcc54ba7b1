import numpy as np
import pytest

from keras_dpn import ops
from tests.keras_dpn.support import random, to_numpy


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 4, 12)])
@pytest.mark.parametrize("block_size", [1, 3, 12])
def test_minimum_over_neighbouring_channels(shape, block_size):
    x = random(*shape, low=-1.0)
    expected = np.stack(
        [x[..., i : i + block_size].min(-1) for i in range(0, 12, block_size)], axis=-1
    )
    np.testing.assert_array_equal(to_numpy(ops.block_min_pool(x, block_size)), expected)


@pytest.mark.tensorflow_only
def test_unknown_sizes():
    import tensorflow as tf

    traced = tf.function(lambda x: ops.block_min_pool(x, 2)).get_concrete_function(
        tf.TensorSpec((None, None, None, 4))
    )
    x = random(1, 3, 2, 4)
    np.testing.assert_array_equal(
        traced(tf.constant(x)).numpy(), to_numpy(ops.block_min_pool(x, 2))
    )


@pytest.mark.parametrize("block_size", [0, -1, 1.5, True])
def test_refuses_block_sizes(block_size):
    with pytest.raises(ValueError, match="`block_size`: expected an integer of at least 1"):
        ops.block_min_pool(np.ones((2, 6)), block_size)


def test_refuses_a_block_size_that_does_not_divide():
    with pytest.raises(
        ValueError, match="expected a divisor of the input's 105 channels, rece.* 4"
    ):
        ops.block_min_pool(np.ones((2, 105)), 4)
