import keras
import numpy as np
import pytest

from keras_dpn import ops
from tests.keras_dpn.support import (
    assert_close,
    dot,
    finite_differences,
    gradients,
    jitted,
    random,
)


def direct(x, grid, valid):
    """Mean of each position's region, one position after the other, in float64."""
    batch, height, width, channels = x.shape
    sums, counts = np.zeros((batch, grid, grid, channels)), np.zeros((batch, grid, grid, 1))
    regions = np.zeros((batch, height, width, channels))
    for b, i, j in np.argwhere(valid):
        sums[b, i * grid // height, j * grid // width] += x[b, i, j]
        counts[b, i * grid // height, j * grid // width] += 1
    means = sums / np.maximum(counts, 1)
    for i, j in np.ndindex(height, width):
        regions[:, i, j] = means[:, i * grid // height, j * grid // width]
    return means, regions


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("grid", "size"), [(1, (5, 7)), (2, (5, 7)), (3, (5, 7)), (2, (4, 8)), (4, (3, 1))]
)
def test_definition(grid, size, masked):
    x = random(2, *size, 3, low=-1.0)
    valid = random(2, *size, seed=1) > 0.5 if masked else None
    means, regions = direct(x, grid, np.ones((2, *size)) if valid is None else valid)
    assert_close(jitted(lambda x: ops.global_context(x, grid, valid, unpool=False))(x), means)
    assert_close(jitted(lambda x: ops.global_context(x, grid, valid))(x), regions)


def test_several_grids_are_concatenated():
    x = random(2, 5, 7, 3)
    expected = [direct(x, grid, np.ones((2, 5, 7)))[1] for grid in (1, 2, 4)]
    pyramid = jitted(lambda x: ops.global_context(x, (1, 2, 4)))
    assert_close(pyramid(x), np.concatenate(expected, axis=-1))


def test_gradient():
    x, upstream = random(1, 5, 4, 2), random(1, 5, 4, 2, seed=1)
    valid = random(1, 5, 4, seed=2) > 0.3

    (found,) = gradients(lambda x: dot(ops.global_context(x, 2, valid), upstream), x)
    (expected,) = finite_differences(lambda x: (direct(x, 2, valid)[1] * upstream).sum(), x)
    assert_close(found, expected)
    assert not found[~valid].any()


def test_padding_may_hold_anything():
    x = random(2, 4, 6, 3)
    padded = np.full((2, 5, 8, 3), np.inf, "float32")
    padded[:, :4, :6] = x
    valid = np.zeros((2, 5, 8, 1), "int32")
    valid[0, :4, :6] = 1  # the second image is nothing but padding
    out = ops.global_context(padded, 1, valid, unpool=False)
    assert_close(out[:, 0, 0], [x[0].mean(axis=(0, 1)), np.zeros(3)])


@pytest.mark.parametrize(("dtype", "expected"), [("float16", "float16"), ("uint8", "float32")])
def test_sums_beyond_the_range_of_the_input(dtype, expected):
    out = ops.global_context(np.full((1, 40, 50, 1), 200, dtype), 2)
    assert keras.backend.standardize_dtype(out.dtype) == expected
    assert_close(keras.ops.cast(out, "float32"), np.full((1, 40, 50, 1), 200.0))
