import keras
import numpy as np
import pytest

from keras_dpn import inference
from keras_dpn.models import DPN


@pytest.mark.tensorflow_only
def test_half_precision():
    model = DPN(3, width=0.125, backbone={"name": "large_fov", "fc6_kernel": 1}, pairwise=None)
    halved = inference.in_precision(model, "mixed_bfloat16")
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), "uint8")
    assert keras.config.dtype_policy().name == "float32"
    assert halved.get_layer("b1_conv1").compute_dtype == "bfloat16"
    assert halved.get_layer("b11").compute_dtype == "float32"
    whole = inference.predict_probabilities(model, image)
    half = inference.predict_probabilities(halved, image)
    assert 0 < np.abs(half - whole).max() < 0.1
    plain = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1)])
    with pytest.raises(ValueError, match="expected one that can compute in float16, but the"):
        inference.in_precision(plain, "mixed_float16")
