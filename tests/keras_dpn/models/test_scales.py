import keras
import numpy as np
import pytest

from keras_dpn.models import DPN, ParseNet, adapt_scales
from tests.keras_dpn.support import random, to_numpy


def test_features_keep_their_mean_length():
    model = ParseNet(num_classes=3, width=0.05)
    images = [random(32, 40, 3, high=255.0), random(24, 32, 3, seed=1, high=255.0)]
    scales = adapt_scales(model, images)
    for name, scale in scales.items():
        layer = model.get_layer(name)
        features = keras.Model(model.input, layer.input)
        vectors = np.concatenate(
            [to_numpy(features(image[None])).reshape(-1, layer.scale.shape[0]) for image in images]
        )
        assert scale == pytest.approx(np.linalg.norm(vectors, axis=1).mean(), rel=1e-4)
        np.testing.assert_allclose(to_numpy(layer.scale), scale, rtol=1e-6)


def test_a_network_without_normalised_features_stays():
    model = DPN(num_classes=2, width=0.02)
    before = model.get_weights()
    assert adapt_scales(model, [random(16, 16, 3)]) == {}
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
