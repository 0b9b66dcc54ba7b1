"""What the tests share: slow references in float64, gradients on either backend, layer checks."""

import itertools
import warnings

import keras
import numpy as np
from keras.src.testing import TestCase  # not a public name of Keras; imported here only


def run_layer_test(layer_class, init_kwargs, **kwargs):
    """Keras's standard checks: serialisation, symbolic, eager, one training step, float16."""
    with warnings.catch_warnings():  # of its own generator and of layers without weights
        warnings.filterwarnings("ignore", "`shuffle=True` was passed|The model does not have any")
        TestCase().run_layer_test(layer_class, init_kwargs, **kwargs)


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def random(*shape, seed=0, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def offsets(window):
    """All positions of a window relative to its centre."""
    return list(itertools.product(*(range(-(m // 2), m - m // 2) for m in window)))


def direct_local_conv(
    p, features, window, kernel="squared_distance", color_weight=1.0, position_weight=0.0
):
    """ops.local_conv as it is defined, one pair of positions after the other."""
    p, features = np.asarray(p, "float64"), np.asarray(features, "float64")
    size, out = p.shape[1:-1], np.zeros(p.shape)
    for j in itertools.product(range(len(p)), *(range(n) for n in size)):
        for offset in offsets(window):
            z = tuple(a + b for a, b in zip(j[1:], offset, strict=True))
            if not all(0 <= a < n for a, n in zip(z, size, strict=True)):
                continue
            there = (j[0], *z)
            d = color_weight * np.square(features[j] - features[there]).sum()
            d += position_weight * np.square(offset).sum()
            out[j] += (np.exp(-d) if kernel == "gaussian" else d) * p[there]
    return out


def gradients(function, *arrays):
    """Gradients of a scalar function of tensors, by the backend's automatic differentiation."""
    tensors = [keras.ops.convert_to_tensor(a, "float32") for a in arrays]
    if keras.backend.backend() == "jax":
        import jax

        found = jax.grad(function, argnums=tuple(range(len(tensors))))(*tensors)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors)
    return [to_numpy(gradient) for gradient in found]


def finite_differences(function, *arrays, eps=1e-5):
    """Gradients of a scalar NumPy function in float64, by central differences."""
    arrays = [np.array(a, "float64") for a in arrays]
    found = [np.zeros(a.shape) for a in arrays]
    for array, gradient in zip(arrays, found, strict=True):
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + eps
            above = function(*arrays)
            array[index] = value - eps
            gradient[index] = (above - function(*arrays)) / (2 * eps)
            array[index] = value
    return found


def assert_close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=rtol, atol=atol)


def without_values(build):
    """The model that `build` makes, for its structure only: its weights take no time or memory."""
    with keras.StatelessScope(initialize_variables=False):
        return build()


def weight_shapes(build):
    """Shapes of the weights of the model that `build` makes, by path."""
    return {weight.path: tuple(weight.shape) for weight in without_values(build).weights}
