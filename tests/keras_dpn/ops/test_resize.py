import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.ops.resize import _resize_portable
from tests.keras_dpn.support import (
    assert_close,
    dot,
    gradients,
    random,
    to_numpy,
)

SIZES = [((1, 1), (3, 2)), ((5, 7), (1, 1)), ((4, 3), (9, 8)), ((9, 8), (4, 3)), ((2, 6), (2, 6))]
SOME = [SIZES[2], SIZES[3]]  # of which JAX compiles each


@pytest.mark.parametrize(
    ("row", "align_corners", "expected"),
    [
        ([0.0, 4.0], True, [0, 1, 2, 3, 4]),
        ([0.0, 4.0, 8.0], True, [0, 2, 4, 6, 8]),
        ([0.0, 10.0], False, [0, 1, 5, 9, 10]),  # positions -0.3, 0.1, 0.5, 0.9, 1.3
        ([3.0], False, [3, 3, 3, 3, 3]),
    ],
)
@pytest.mark.parametrize("function", [ops.resize, _resize_portable])
def test_values_by_hand(function, row, align_corners, expected):
    x = keras.ops.array(row)[None, None, :, None]
    assert_close(function(x, (1, 5), align_corners)[0, 0, :, 0], expected)
    column = keras.ops.transpose(x, (0, 2, 1, 3))
    assert_close(function(column, (5, 1), align_corners)[0, :, 0, 0], expected)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(("size_in", "size_out"), SIZES)
def test_half_pixel_centres_are_tensorflow_2s(size_in, size_out):
    import tensorflow as tf

    x = random(2, *size_in, 3)
    expected = tf.image.resize(x, size_out, antialias=False).numpy()
    assert_close(ops.resize(x, size_out), expected)
    assert_close(_resize_portable(x, size_out, False), expected)


@pytest.mark.parametrize(
    ("size_in", "size_out"),
    SOME + [pytest.param(*s, marks=pytest.mark.tensorflow_only) for s in SIZES if s not in SOME],
)
@pytest.mark.parametrize("align_corners", [False, True])
def test_both_paths_are_equal_with_their_gradients(size_in, size_out, align_corners):
    x, projection = random(2, *size_in, 3), random(2, *size_out, 3, seed=1)
    assert_close(
        ops.resize(x, size_out, align_corners),
        to_numpy(_resize_portable(x, size_out, align_corners)),
    )
    ours, portable = (
        gradients(lambda x, f=f: dot(f(x, size_out, align_corners), projection), x)[0]
        for f in (ops.resize, _resize_portable)
    )
    assert_close(ours, portable)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "bfloat16"])
def test_gives_float32(dtype):
    x = keras.ops.cast(np.full((1, 2, 2, 1), 250), dtype)
    out = ops.resize(x, (3, 5))
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    assert_close(out, np.full((1, 3, 5, 1), 250.0))


@pytest.mark.parametrize("dtype", ["bool", "uint32"])
def test_masks_and_large_integers(dtype):
    out = ops.resize(keras.ops.ones((1, 2, 2, 1), dtype), (3, 5))
    assert_close(out, np.ones((1, 3, 5, 1)))


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("function", [ops.resize, _resize_portable])
def test_unknown_sizes(function, align_corners):
    import tensorflow as tf

    def double(x):
        return function(x, tuple(2 * n for n in keras.ops.shape(x)[1:3]), align_corners)

    traced = tf.function(double).get_concrete_function(tf.TensorSpec((None, None, None, 2)))
    x = tf.constant(random(1, 3, 4, 2))
    assert_close(traced(x), double(x).numpy())


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("align_corners", [False, True])
def test_compiles_with_xla(align_corners):
    import tensorflow as tf

    x = random(1, 3, 4, 2)

    @tf.function(jit_compile=True)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = tf.reduce_sum(tf.square(ops.resize(x, (7, 6), align_corners)))
        return tape.gradient(out, x)

    expected = gradients(
        lambda x: keras.ops.sum(keras.ops.square(ops.resize(x, (7, 6), align_corners))), x
    )[0]
    assert_close(gradient(tf.constant(x)), expected)


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((3, 4, 1), (2, 2), r"`x`: expected shape \(B, H, W, C\), received \(3, 4, 1\)"),
        ((1, 3, 4, 1), (2,), r"`size`: expected \(height, width\), received \(2,\)"),
        ((1, 3, 4, 1), (0, 2), "`size`: expected an integer of at least 1, received 0"),
    ],
)
def test_errors(shape, size, message):
    with pytest.raises(ValueError, match=message):
        ops.resize(np.ones(shape), size)
