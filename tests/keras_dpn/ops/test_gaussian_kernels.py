import functools

import numpy as np
import pytest

from keras_dpn.ops.gaussian_kernels import FILTERS, NORMALIZATIONS, gaussian_kernel, normalized
from tests.keras_dpn.support import (
    assert_close,
    direct_gaussian,
    direct_normalized,
    jitted,
    random,
    to_numpy,
)

SIZES = [(9,), (4, 5), (2, 3, 4)]
# JAX takes seconds to compile a lattice: there, a few of them must do.
TENSORFLOW = pytest.mark.tensorflow_only


@functools.partial(jitted, static=("filter", "window", "normalization", "scale"))
def apply(x, features, filter, window=None, normalization=None, scale=1.0):
    """Filter x (B, *S, C) with the kernel, or with the normalised one."""
    kernel = gaussian_kernel(features, filter, window)
    if normalization:
        kernel = normalized(kernel, np.ones((*x.shape[:-1], 1), "float32"), normalization, scale)
    return kernel.filter(x)


def direct(x, features, normalization="none"):
    """The same, image by image, from the matrix of all pairs."""
    out = []
    for values, points in zip(x, features, strict=True):
        kernel = direct_gaussian(points.reshape(-1, points.shape[-1]))
        kernel = direct_normalized(kernel, normalization)
        out.append((kernel @ values.reshape(len(kernel), -1)).reshape(values.shape))
    return np.stack(out)


@pytest.mark.parametrize("size", SIZES)
def test_exact_is_the_sum_over_all_pairs(size):
    x, features = random(2, *size, 3), random(2, *size, 4, seed=1, low=-1.0)
    assert_close(apply(x, features, "exact"), direct(x, features))


@pytest.mark.parametrize("size", SIZES)
def test_a_window_over_the_image_is_exact(size):
    x, features = random(2, *size, 3), random(2, *size, 4, seed=1, low=-1.0)
    for window in (2 * max(size), tuple(2 * n - 1 for n in size)):
        assert_close(apply(x, features, "window", window), direct(x, features), rtol=2e-5)


def test_a_smaller_window_leaves_pairs_out():
    x, features = random(1, 6, 2), np.zeros((1, 6, 1), "float32")
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    expected = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    assert_close(apply(x, features, "window", 3), expected)


def test_normalizations_by_hand():
    distance = np.sqrt(2 * np.log(4)).astype("float32")  # the kernel is 1/4 at this distance
    features = np.array([[[0.0], [distance], [distance], [1e3]]], "float32")
    x = np.array([[[4.0], [8.0], [0.0], [5.0]]], "float32")
    # k = [[1, 1/4, 1/4, 0], [1/4, 1, 1, 0], [1/4, 1, 1, 0], [0, 0, 0, 1]], n = 3/2, 9/4, 9/4, 1
    root = 1 / np.sqrt([1.5, 2.25, 2.25, 1])
    expected = {
        "none": [6, 9, 9, 5],
        "row": [4, 4, 4, 5],
        "symmetric": root * [4 * root[0] + 2 * root[1], *[root[0] + 8 * root[1]] * 2, 5],
    }
    for normalization, values in expected.items():
        out = apply(x, features, "exact", None, normalization)
        assert_close(out, np.reshape(values, (1, 4, 1)))
        out = apply(x, features, "exact", None, normalization, -3.0)
        assert_close(out, -3 * np.reshape(values, (1, 4, 1)))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("filter", ["exact", "window"])
def test_normalizations(filter, normalization):
    x, features = random(2, 4, 5, 3), random(2, 4, 5, 2, seed=1, high=3.0)
    out = apply(x, features, filter, 11 if filter == "window" else None, normalization)
    assert_close(out, direct(x, features, normalization), rtol=2e-5)


@pytest.mark.parametrize("filter", FILTERS)
def test_row_sums(filter):
    ones, features = np.ones((2, 4, 5, 1), "float32"), random(2, 4, 5, 3, seed=1, high=3.0)
    window = 3 if filter == "window" else None
    assert_close(apply(ones, features, filter, window, "row"), ones, rtol=1e-4)
    sums = to_numpy(apply(ones, features, filter, window))
    symmetric = apply(np.sqrt(sums), features, filter, window, "symmetric")
    assert_close(symmetric, np.sqrt(sums), rtol=1e-4)  # its eigenvector


@pytest.mark.parametrize("normalization", ["symmetric", pytest.param("row", marks=TENSORFLOW)])
def test_the_lattice_is_close_to_exact_where_points_are_dense(normalization):
    rows, columns = np.meshgrid(np.arange(14), np.arange(12), indexing="ij")
    features = np.stack([rows, columns], -1)[None].astype("float32") / 4
    x = np.stack([1 + np.sin(rows / 3), columns > 5, rows * columns / 143], -1)[None]
    out = apply(x.astype("float32"), features, "permutohedral", None, normalization)
    expected = direct(x, features, normalization)
    assert np.ptp(expected) > 1  # not all the same
    np.testing.assert_allclose(to_numpy(out), expected, atol=0.1)  # of values from 0 to 2


@pytest.mark.parametrize(
    "filter", ["window", "exact", pytest.param("permutohedral", marks=TENSORFLOW)]
)
def test_scaled_multiplies_before_and_after(filter):
    x, features = random(2, 5, 2), random(2, 5, 1, seed=1)
    before, after = random(2, 5, 1, seed=2), random(2, 5, 1, seed=3)
    window = 9 if filter == "window" else None
    scaled = jitted(
        lambda x: gaussian_kernel(features, filter, window).scaled(before, after).filter(x)
    )
    expected = after * to_numpy(apply(before * x, features, filter, window))
    assert_close(scaled(x), expected)


def test_refuses_unknown_names():
    features, ones = np.ones((1, 4, 4, 1), "float32"), np.ones((1, 4, 4, 1), "float32")
    with pytest.raises(ValueError, match=r"`filter`: expected one of \['exact', .* 'bilateral'"):
        gaussian_kernel(features, "bilateral")
    with pytest.raises(ValueError, match="`normalization`: expected one of .* received 'mean'"):
        normalized(gaussian_kernel(features, "exact"), ones, "mean")
    with pytest.raises(ValueError, match="`window`: expected an integer or 2 integers"):
        gaussian_kernel(features, "window", (3, 3, 3)).filter(ones)
