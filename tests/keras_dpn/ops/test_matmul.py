import keras
import numpy as np
import pytest

from keras_dpn.ops import matmul as module
from tests.keras_dpn.support import random, to_numpy


@pytest.mark.parametrize("rounded", [False, True])
def test_many_small_matrices(monkeypatch, rounded):
    monkeypatch.setattr(module, "matmul_is_rounded", lambda: rounded)
    a, x = random(2, 5, 4, 3), random(2, 5, 3, 6, seed=1)
    out = module.small_matmul(*map(keras.ops.convert_to_tensor, (a, x)))
    np.testing.assert_allclose(to_numpy(out), a.astype("float64") @ x, rtol=1e-6)
