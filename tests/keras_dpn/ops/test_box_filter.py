import itertools

import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.ops import box_filter
from tests.keras_dpn.support import assert_close, offsets, random, to_numpy

CASES = [
    ((7,), 3, 0),
    ((7,), 4, 0),
    ((5,), 20, 0),  # larger than the tensor
    ((1,), 6, 0),
    ((6, 5), 1, (0, 1)),
    ((2, 6, 5, 3), 3, (1, 2)),
    ((2, 6, 5, 3), (2, 5), (1, 2)),
    ((2, 6, 5, 3), (5, 2), (2, -3)),
    ((2, 6, 5, 3), (50, 51), (1, 2)),
    ((1, 3, 4, 5, 2), (3, 2, 4), (1, 2, 3)),
    ((2, 3, 4), 2, -1),
]


def direct(x, window, axes, weight):
    """Sum of weight(offset) x over the window, one offset after the other, in float64."""
    axes = [a % x.ndim for a in np.atleast_1d(axes)]
    window = [window] * len(axes) if isinstance(window, int) else list(window)
    padding = np.zeros((x.ndim, 2), int)
    padding[axes] = [(m // 2, m - 1 - m // 2) for m in window]
    padded, out = np.pad(x.astype("float64"), padding), np.zeros(x.shape)
    for offset in offsets(window):
        index = [slice(None)] * x.ndim
        for axis, m, step in zip(axes, window, offset, strict=True):
            index[axis] = slice(m // 2 + step, m // 2 + step + x.shape[axis])
        out += weight(offset) * padded[tuple(index)]
    return out


def direct_sum(x, window, axes):
    return direct(x, window, axes, lambda offset: 1.0)


def direct_moment(x, window, axes, spacing=1.0):
    return direct(x, window, axes, lambda offset: np.square(np.multiply(offset, spacing)).sum())


# On JAX all sizes are known.
@pytest.fixture(
    params=["one block", "blocks", "shifts"]
    + [pytest.param("unknown size", marks=pytest.mark.tensorflow_only)]
)
def path(request, monkeypatch):
    """Each way to sum along an axis; blocks of 3 make a short axis a long one."""
    if request.param == "blocks":
        monkeypatch.setattr(box_filter, "_BLOCK_KNOWN", 3)
    if request.param == "unknown size":
        monkeypatch.setattr(box_filter, "_BLOCK_UNKNOWN", 3)
        monkeypatch.setattr(box_filter, "_filter_known_length", box_filter._filter_unknown_length)
    if request.param == "shifts":
        monkeypatch.setattr(box_filter, "matmul_is_rounded", lambda: True)
    return request.param


@pytest.mark.parametrize(("shape", "window", "axes"), CASES)
def test_box_sum_equals_the_direct_sum(path, shape, window, axes):
    x = random(*shape)
    assert_close(ops.box_sum(x, window, axes), direct_sum(x, window, axes), rtol=2e-5, atol=0)


@pytest.mark.tensorflow_only
def test_graphs_for_unknown_sizes_are_small():
    """To trace an operation takes half a millisecond, in training, prediction and export."""
    import tensorflow as tf

    images = tf.TensorSpec((None, None, None, 3))
    graph = tf.function(lambda x: ops.box_sum(x, 4, (1, 2))).get_concrete_function(images).graph
    assert len(graph.get_operations()) < 125


@pytest.mark.parametrize(("shape", "window", "axes"), CASES)
def test_box_second_moment_equals_the_direct_sum(path, shape, window, axes):
    x = random(*shape)
    expected = direct_moment(x, window, axes)
    assert_close(ops.box_second_moment(x, window, axes), expected, rtol=2e-5, atol=0)


@pytest.mark.parametrize(
    ("window", "axes", "spacing"),
    [(4, 1, 2.5), (3, (1, 2), 0.5), ((5, 2), (2, -3), (3.0, 0.7)), ((50, 3), (1, 2), [1, 2])],
)
def test_spacing_scales_distances(path, window, axes, spacing):
    x = random(2, 6, 5, 3)
    expected = direct_moment(x, window, axes, spacing)
    out = ops.box_second_moment(x, window, axes, spacing)
    assert_close(out, expected, rtol=2e-5, atol=0)


def test_even_window_reaches_one_further_back():
    x = np.eye(1, 6, 3, "float32")[0]  # 1 at position 3
    assert to_numpy(ops.box_sum(x, 4, 0)).tolist() == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("window", [3, 50, 129, 300, 1500])
def test_long_axis(window):
    x = random(2, 700, 2)
    assert_close(ops.box_sum(x, window, 1), direct_sum(x, window, 1), rtol=2e-5, atol=0)


@pytest.mark.parametrize("window", [10, 101])
def test_large_image_within_2e_5(window):
    x = random(1024, 2048, 1, high=255.0)
    ends = np.pad(np.cumsum(np.cumsum(x, 0, "float64"), 1), ((1, 0), (1, 0), (0, 0)))
    first, last = (
        [np.clip(np.arange(n) + step, 0, n) for n in x.shape[:2]]
        for step in (-(window // 2), window - window // 2)
    )
    corners = itertools.product(((last[0], 1), (first[0], -1)), ((last[1], 1), (first[1], -1)))
    expected = sum(s * t * ends[np.ix_(rows, columns)] for (rows, s), (columns, t) in corners)
    assert_close(ops.box_sum(x, window, (0, 1)), expected, rtol=2e-5, atol=0)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16"])
def test_sums_in_float32(dtype):
    out = to_numpy(ops.box_sum(np.full((400,), 250, dtype), 400, 0))
    assert out.dtype == np.float32
    assert out[200] == 400 * 250  # more than float16 holds


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("function", [ops.box_sum, ops.box_second_moment])
@pytest.mark.parametrize("size", [(1, 1), (9, 300), (600, 2)])
def test_unknown_sizes(function, size):
    import tensorflow as tf

    traced = tf.function(lambda x: function(x, (40, 7), (1, 2)))
    spec = tf.TensorSpec((None, None, None, 2))
    x = random(1, *size, 2)
    assert_close(traced.get_concrete_function(spec)(tf.constant(x)), function(x, (40, 7), (1, 2)))


def test_empty_tensor_stays_empty():
    assert to_numpy(ops.box_sum(np.zeros((2, 0, 3), "float32"), 3, (1, 2))).shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("window", "axes", "message"),
    [
        (0, 0, "`window`: expected an integer of at least 1, received 0"),
        (2.5, 0, "`window`: expected an integer of at least 1, received 2.5"),
        ((3, 3), 0, "`window`: expected an integer or 1 integers"),
        (3, 2, "`axes`: expected axes of a tensor of rank 2, received"),
        (3, (), "`axes`: expected axes of a tensor of rank 2"),
        (3, (1, -1), "`axes`: expected distinct axes"),
    ],
)
@pytest.mark.parametrize("function", [ops.box_sum, ops.box_second_moment])
def test_errors(function, window, axes, message):
    with pytest.raises(ValueError, match=message):
        function(keras.ops.ones((3, 4)), window, axes)


@pytest.mark.parametrize("spacing", [0, (1.0, 2.0)])
def test_refuses_spacings(spacing):
    with pytest.raises(ValueError, match="`spacing`: expected a positive number, received"):
        ops.box_second_moment(keras.ops.ones((3, 4)), 3, 0, spacing)
