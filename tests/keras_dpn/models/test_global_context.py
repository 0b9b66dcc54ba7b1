import keras
import numpy as np
import pytest

from keras_dpn.models import DPN, FCN, DeepLab, ParseNet
from tests.keras_dpn.support import picture, to_numpy

TINY = {"num_classes": 3, "width": 0.05}
WITH_SKIPS = {"name": "large_fov", "skips": ("conv3",)}
NETWORKS = {
    "ParseNet": lambda: ParseNet(**TINY),
    "ParseNet, early fusion": lambda: ParseNet(fusion="early", **TINY),
    "ParseNet, no context": lambda: ParseNet(fusion=None, **TINY),
    "DeepLab": lambda: DeepLab(global_context=True, **TINY),
    "DPN": lambda: DPN(global_context=True, backbone="large_fov", pairwise=None, **TINY),
    "DPN with skips": lambda: DPN(backbone=WITH_SKIPS, pairwise=None, **TINY),
    "FCN": lambda: FCN(fc6_kernel=1, **TINY),
}
CLASSIFIERS = {"DPN with skips": "b10_fc7_project", "FCN": "b11_fc7"}


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("name", NETWORKS)
def test_the_classifier_expects_in_inference_what_it_saw_in_training(name):
    """Features dropped before the norm come out 1 / sqrt(1 - rate) times as long, on average.

    The norm then makes them as long as without dropout, and their mean 0.71 times that.
    """
    model = NETWORKS[name]()
    model.get_layer("b9_dropout").trainable = False  # what b10 gives is the same in both
    seen = keras.Model(model.input, model.get_layer(CLASSIFIERS.get(name, "b11")).input)
    images = np.repeat(picture(9, 13), 200, axis=0)
    expected = to_numpy(seen(images[:1], training=False))[0]
    trained = to_numpy(seen(images, training=True))
    assert (trained == 0).mean() > (expected == 0).mean() + 0.1  # dropout acts
    lengths = (np.linalg.norm(x, axis=-1) for x in (trained.mean(axis=0), expected))
    np.testing.assert_allclose(*lengths, rtol=0.05)
