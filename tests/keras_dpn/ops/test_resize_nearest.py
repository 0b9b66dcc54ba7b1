import numpy as np
import pytest

from keras_dpn.ops.resize_nearest import resize_nearest
from tests.keras_dpn.support import random, to_numpy


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 7), (9, 20)])
def test_takes_what_lies_at_the_cells_centres(size):
    x = random(2, 5, 7, 3)
    rows, columns = (
        [int((i + 0.5) * n / m) for i in range(m)] for n, m in zip(x.shape[1:3], size, strict=True)
    )
    expected = x[:, rows][:, :, columns]
    np.testing.assert_array_equal(to_numpy(resize_nearest(x, size)), expected)
    labels = (255 * x[..., 0]).astype("uint8")
    found = to_numpy(resize_nearest(labels, size))
    np.testing.assert_array_equal(found, labels[:, rows][:, :, columns])
    assert found.dtype == "uint8"


@pytest.mark.tensorflow_only
def test_sizes_may_be_unknown():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None,) * 3), tf.TensorSpec((2,), "int32")])
    def found(x, size):
        return resize_nearest(x, (size[0], size[1]))

    x = random(2, 6, 5)
    for size in ((3, 4), (7, 11)):
        expected = to_numpy(resize_nearest(x, size))
        np.testing.assert_array_equal(found(x, np.array(size, "int32")), expected)


def test_refuses_what_has_no_two_axes():
    with pytest.raises(ValueError, match=r"`x`: expected shape \(B, H, W, ...\), received \(2, 3"):
        resize_nearest(np.zeros((2, 3)), (1, 1))
    with pytest.raises(ValueError, match="`size`: expected an integer of at least 1, received 0"):
        resize_nearest(np.zeros((1, 2, 3)), (0, 1))
