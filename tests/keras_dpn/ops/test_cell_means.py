import numpy as np
import pytest

from keras_dpn.ops.cell_means import cell_means
from tests.keras_dpn.support import assert_close, random


@pytest.mark.parametrize(
    ("size", "stride"), [((7,), 3), ((5, 4), 2), ((5, 4), (1, 3)), ((2, 3, 5), (1, 2, 2))]
)
def test_means_of_the_positions_that_are_there(size, stride):
    x = random(2, *size, 3)
    strides = stride if isinstance(stride, tuple) else (stride,) * len(size)
    out = cell_means(x, stride)
    assert out.shape == (2, *(-(-n // s) for n, s in zip(size, strides, strict=True)), 3)
    for cell in np.ndindex(*out.shape[1:-1]):
        here = tuple(slice(i * s, (i + 1) * s) for i, s in zip(cell, strides, strict=True))
        expected = x[:, *here].reshape(2, -1, 3).mean(1)
        assert_close(out[:, *cell], expected)


def test_a_stride_of_one_changes_nothing():
    x = random(1, 3, 2, 1)
    assert cell_means(x, 1) is x
