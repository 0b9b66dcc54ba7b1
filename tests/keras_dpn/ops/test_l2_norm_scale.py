import importlib

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


def direct(x, scale, axes, epsilon):
    """The definition, in the dtype of its arguments."""
    shape = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    squares = np.square(x).sum(axis=axes, keepdims=True)
    return x / np.sqrt(squares + epsilon) * scale.reshape(shape)


@pytest.mark.parametrize(
    ("axis", "axes", "scales"),
    [(-1, (3,), 5), (1, (1,), 3), ((-1, 2), (2, 3), (4, 5)), ([3, 1], (1, 3), (3, 5))],
)
@pytest.mark.parametrize("rounded", [False, True])
def test_values_and_gradients(axis, axes, scales, rounded, monkeypatch):
    # By the module's path, as `keras_dpn.ops` has a function of the same name.
    module = importlib.import_module("keras_dpn.ops.l2_norm_scale")
    monkeypatch.setattr(module, "matmul_is_rounded", lambda: rounded)
    x, scale = random(2, 3, 4, 5, low=-1.0), random(*np.atleast_1d(scales), seed=1)
    x[0, :, 1] = 0  # vectors of zeros, whichever axes
    x[:, :, :, 2] = 0
    upstream = random(*x.shape, seed=2)

    def weighted(x, scale):
        return dot(ops.l2_norm_scale(x, scale, axis, epsilon=0.01), upstream)

    run = jitted(lambda x, scale: ops.l2_norm_scale(x, scale, axis))
    assert_close(run(x, scale), direct(x, scale, axes, 1e-10))
    expected = finite_differences(lambda *a: (direct(*a, axes, 0.01) * upstream).sum(), x, scale)
    for found, reference in zip(gradients(weighted, x, scale), expected, strict=True):
        assert_close(found, reference, rtol=1e-4)


@pytest.mark.parametrize("epsilon", [1e-10, 1e-30])
def test_gradient_at_a_zero_vector(epsilon):
    zeros, ones = np.zeros((2, 3), "float32"), np.ones(3, "float32")
    d_x, d_scale = gradients(
        lambda x, scale: keras.ops.sum(ops.l2_norm_scale(x, scale, epsilon=epsilon)), zeros, ones
    )
    assert_close(d_x, np.full((2, 3), epsilon**-0.5))
    assert_close(d_scale, np.zeros(3))
