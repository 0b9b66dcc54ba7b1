import keras
import numpy as np

from keras_dpn import ops
from tests.keras_dpn.support import assert_close, random


def test_the_softmax_of_the_two_is_the_sigmoid_of_the_one():
    logits = random(2, 3, 1, low=-5.0, high=5.0)
    pair = ops.two_labels(logits)
    assert_close(keras.ops.softmax(pair)[..., 1:], 1 / (1 + np.exp(-logits)), rtol=1e-4)
    assert_close(ops.one_class(pair), logits)
    assert_close(ops.one_class(pair + random(2, 3, 1, seed=1)), logits, rtol=1e-4, atol=1e-5)


def test_other_numbers_of_labels_stay():
    logits = random(2, 3, 4)
    assert ops.two_labels(logits) is logits
