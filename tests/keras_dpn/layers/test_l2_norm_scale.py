import keras
import numpy as np
import pytest

from keras_dpn import layers
from tests.keras_dpn.support import assert_close, gradients, random, run_layer_test, to_numpy


@pytest.mark.parametrize(("shape", "axis"), [((2, 5), -1), ((2, 4, 3, 5), -1), ((2, 5, 4, 3), 1)])
def test_layer(shape, axis):
    run_layer_test(
        layers.L2NormScale,
        {"init_scale": 5.0, "axis": axis},
        input_shape=shape,
        expected_output_shape=shape,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=0,
        supports_masking=True,
    )


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_unit_length_times_scale(axis):
    x = random(2, 4, 3, 5, low=-1.0)
    layer = layers.L2NormScale(init_scale=10.0, axis=axis)
    layer.build(x.shape)
    scale = random(x.shape[axis])
    layer.scale.assign(scale)
    unit = x / np.linalg.norm(x, axis=axis, keepdims=True)
    assert_close(layer(x), np.moveaxis(np.moveaxis(unit, axis, -1) * scale, -1, axis))


def test_zero_stays_zero_with_a_finite_gradient():
    layer = layers.L2NormScale()
    x = np.zeros((1, 3), "float32")
    assert not to_numpy(layer(x)).any()
    (gradient,) = gradients(lambda x: keras.ops.sum(layer(x)), x)
    assert_close(gradient, np.full((1, 3), 10 / np.sqrt(1e-10)))


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16"])
def test_large_values_in_half_precision(policy):
    layer = layers.L2NormScale(dtype=policy)
    out = layer(np.full((1, 4), 1000.0))
    assert keras.backend.standardize_dtype(out.dtype) == layer.compute_dtype
    assert_close(keras.ops.cast(out, "float32"), np.full((1, 4), 5.0))


def test_unknown_sizes():
    inputs = keras.Input((None, None, 4))
    model = keras.Model(inputs, layers.L2NormScale()(inputs))
    model.compile("sgd", "mse")
    model.fit(random(2, 3, 5, 4), random(2, 3, 5, 4, seed=1), verbose=0)
    assert np.isfinite(model.get_weights()).all()


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_refuses_epsilon(epsilon):
    with pytest.raises(ValueError, match="`epsilon`: expected a positive number"):
        layers.L2NormScale(epsilon=epsilon)


@pytest.mark.parametrize("axis", [3, -4, 1])
def test_refuses_axis(axis):
    with pytest.raises(ValueError, match=r"`axis`: .* of shape \(None, None, 4\), received"):
        layers.L2NormScale(axis=axis)(keras.Input((None, 4)))
