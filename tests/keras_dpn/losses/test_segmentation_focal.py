import keras
import numpy as np
import pytest

from keras_dpn.losses import SegmentationCrossEntropy, SegmentationFocal
from tests.keras_dpn.losses import references
from tests.keras_dpn.support import assert_close, gradients, random

LOGITS = random(2, 3, 4, 5, low=-3.0, high=3.0)
LABELS = np.random.default_rng(1).integers(0, 5, (2, 3, 4))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_is_keras_on_one_hot_labels(gamma):
    theirs = keras.losses.CategoricalFocalCrossentropy(1.0, gamma, from_logits=True)
    ours = references.eager(SegmentationFocal(gamma=gamma))
    assert_close(ours(LABELS, LOGITS), theirs(references.one_hot(LABELS, 5), LOGITS))


def test_gamma_0_is_the_cross_entropy():
    ours = references.eager(SegmentationFocal(gamma=0))(LABELS, LOGITS)
    assert_close(ours, references.eager(SegmentationCrossEntropy())(LABELS, LOGITS))


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2])
def test_pixels_that_are_certain_have_a_finite_gradient(gamma):
    logits = np.array([[[[100.0, -100.0], [-100.0, 100.0]]]], "float32")
    labels = np.array([[[0, 0]]])  # one right, one wrong
    loss = SegmentationFocal(gamma=gamma)
    assert_close(references.eager(loss)(labels, logits), 100.0)
    (gradient,) = gradients(lambda x: loss(labels, x), logits)
    assert_close(gradient, [[[[0, 0], [-0.5, 0.5]]]])


def test_config_and_arguments():
    loss = SegmentationFocal(gamma=1.5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.gamma == 1.5
    for gamma in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"`gamma`: expected a number from 0 up, .* {gamma}"):
            SegmentationFocal(gamma=gamma)
