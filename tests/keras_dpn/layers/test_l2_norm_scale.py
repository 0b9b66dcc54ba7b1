import keras
import numpy as np
import pytest

from keras_dpn import layers, ops
from tests.keras_dpn.support import assert_close, gradients, random, run_layer_test, to_numpy


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((2, 4, 3, 5), -1), ((2, 3, 4, 5), [-1, 1])],
)
def test_layer(shape, axis):
    run_layer_test(
        layers.L2NormScale,
        {
            "init_scale": 5.0,
            "axis": axis,
            "scale_regularizer": keras.regularizers.L2(0.1),
            "scale_constraint": keras.constraints.NonNeg(),
        },
        input_shape=shape,
        expected_output_shape=shape,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=0,
        expected_num_losses=1,
        supports_masking=True,
    )


@pytest.mark.parametrize(("axis", "scales"), [(-1, (5,)), (1, (4,)), ((-1, 1), (4, 5))])
def test_equals_the_op(axis, scales):
    x = random(2, 4, 3, 5, low=-1.0)
    layer = layers.L2NormScale(axis=axis, epsilon=0.1)
    layer.build(x.shape)
    assert layer.scale.shape == scales
    layer.scale.assign(random(*scales))
    assert_close(layer(x), to_numpy(ops.l2_norm_scale(x, layer.scale, axis, epsilon=0.1)))


def test_regularizer_and_constraint_act():
    layer = layers.L2NormScale(2.0, scale_regularizer="l2", scale_constraint="non_neg")
    model = keras.Sequential([keras.Input((3,)), layer])
    assert_close(sum(model.losses), 0.01 * 3 * 2.0**2)
    model.compile(keras.optimizers.SGD(100.0), "mse")
    model.fit(np.ones((2, 3)), np.full((2, 3), -1.0), verbose=0)
    assert not to_numpy(layer.scale).any()


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16"])
def test_large_values_in_half_precision(policy):
    layer = layers.L2NormScale(dtype=policy)
    out = layer(np.full((1, 4), 1000.0))
    assert keras.backend.standardize_dtype(out.dtype) == layer.compute_dtype
    assert_close(keras.ops.cast(out, "float32"), np.full((1, 4), 5.0))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_zero_vectors_after_a_relu_have_zero_gradients(policy):
    layer = layers.L2NormScale(dtype=policy)

    def loss(x):
        return keras.ops.sum(layer(keras.ops.relu(keras.ops.cast(x, layer.compute_dtype))))

    assert not to_numpy(layer(np.zeros((1, 3)))).any()
    (gradient,) = gradients(loss, np.full((1, 3), -1.0))
    assert_close(gradient, np.zeros((1, 3)))


def test_scale_learns_in_full_precision():
    """The gradient of 4096 positions, each 16, is beyond float16."""
    layer = layers.L2NormScale(dtype="mixed_float16")
    model = keras.Sequential([keras.Input((64, 64, 1)), layer])
    model.compile(keras.optimizers.SGD(1.0), lambda y, out: 16 * keras.ops.sum(out - y))
    ones = np.ones((1, 64, 64, 1), "float32")
    model.fit(ones, ones, verbose=0)
    assert_close(layer.scale, [10.0 - 16 * 64 * 64])


def test_unknown_sizes_train_and_save(tmp_path):
    model = normalizing_model()
    model.compile("sgd", "mse")
    model.fit(random(2, 3, 5, 4), random(2, 3, 5, 4, seed=1), verbose=0)
    model.save(tmp_path / "model.keras")
    x = random(1, 6, 2, 4)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.any(to_numpy(loaded.layers[-1].scale) != 10)
    assert_close(loaded(x), to_numpy(model(x)))


@pytest.mark.tensorflow_only
def test_unknown_sizes_export(tmp_path):
    import tensorflow as tf

    model = normalizing_model()
    model.export(tmp_path / "saved_model", verbose=False)
    loaded, x = tf.saved_model.load(tmp_path / "saved_model"), random(1, 6, 2, 4)
    assert_close(loaded.serve(x), to_numpy(model(x)))


def normalizing_model():
    inputs = keras.Input((None, None, 4))
    return keras.Model(inputs, layers.L2NormScale()(inputs))


@pytest.mark.parametrize("name", ["init_scale", "epsilon"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "10"])
def test_refuses_numbers(name, value):
    with pytest.raises(ValueError, match=f"`{name}`: expected a .* number.*, received"):
        layers.L2NormScale(**{name: value})


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1e-50])
def test_refuses_epsilon(epsilon):
    with pytest.raises(ValueError, match="`epsilon`: expected a positive number of float32"):
        layers.L2NormScale(epsilon=epsilon)


@pytest.mark.parametrize("axis", [(), 1.0, True, None, "1", (1, None)])
def test_refuses_axis(axis):
    with pytest.raises(ValueError, match="`axis`: expected an integer or several integers"):
        layers.L2NormScale(axis=axis)


@pytest.mark.parametrize("axis", [3, -4, 1, (1, 2), (2, -1)])
def test_refuses_axis_of_unknown_length(axis):
    with pytest.raises(ValueError, match=r"`axis`: .* of shape \(None, None, 4\), received"):
        layers.L2NormScale(axis=axis)(keras.Input((None, 4)))


@pytest.mark.parametrize("axis", [-1, [1, 3]])
def test_adapted_scales_keep_the_mean_length(axis):
    batches = [random(2, 3, 5, 4, seed=seed) for seed in (0, 1)]
    layer = layers.L2NormScale(axis=axis)
    layer.adapt(iter(batches))
    lengths = np.sqrt(np.square(np.concatenate(batches)).sum(axis=tuple(np.atleast_1d(axis))))
    assert_close(layer.scale, np.full(layer.scale.shape, lengths.mean()))


@pytest.mark.parametrize("data", [[], [np.zeros((1, 2))], [np.full((1, 2), np.nan)]])
def test_scales_need_vectors_with_a_length(data):
    layer = layers.L2NormScale(init_scale=7.0)
    layer.build((None, 2))
    with pytest.raises(ValueError, match="`data`: expected finite vectors that are not all zero"):
        layer.adapt(data)
    assert_close(layer.scale, [7.0, 7.0])
