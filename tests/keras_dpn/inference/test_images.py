import numpy as np

from keras_dpn.inference.images import resize


def test_resizing_is_antialiased_and_keeps_positions():
    stripes = np.zeros((4, 16, 1), "float32")
    stripes[:, ::2] = 1
    small = resize(stripes, 4, 4)
    np.testing.assert_allclose(small, 0.5, atol=0.13)  # every 4th pixel alone would give 1
    ramp = np.tile(np.arange(16, dtype="float32")[None, :, None], (4, 1, 1))
    np.testing.assert_allclose(resize(ramp, 4, 8)[0, 2:-2, 0], np.arange(8)[2:-2] * 2 + 0.5)
