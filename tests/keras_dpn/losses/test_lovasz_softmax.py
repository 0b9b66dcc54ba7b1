import keras
import numpy as np
import pytest

from keras_dpn.losses import LovaszSoftmax
from keras_dpn.metrics import confusion_matrix, mean_iou
from tests.keras_dpn.losses import references
from tests.keras_dpn.support import assert_close, gradients, random

LOGITS = random(2, 5, 7, 4, low=-3.0, high=3.0)
LABELS = np.random.default_rng(1).choice([0, 1, 3, 255], (2, 5, 7))


def test_is_one_minus_mean_iou_where_all_is_certain():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, (2, 2, 5, 6))
    logits = 1000 * references.one_hot(predictions, 4)
    expected = 1 - mean_iou(confusion_matrix(labels, predictions, 4))
    assert_close(references.eager(LovaszSoftmax())(labels, logits), expected)


def test_steps_stay_exact_where_differences_would_not():
    """Of 2**20 pixels each weighs about 1e-6, float32's step near 1 is 6e-8."""
    rng, size = np.random.default_rng(0), 2**20
    labels = rng.integers(0, 2, (1, size))
    logits = np.stack([np.zeros(size), rng.normal(size=size)], -1)[None].astype("float32")
    loss = LovaszSoftmax(class_weights=[0.0, 1.0])
    (gradient,) = gradients(lambda x: loss(labels, x), logits)
    truth, p = labels[0], 1 / (1 + np.exp(-logits[0, :, 1].astype("float64")))
    errors = np.abs(truth - p)
    order = np.argsort(-errors)
    total, wrong = truth.sum(), np.cumsum(truth[order])
    jaccard = 1 - (total - wrong) / (total + np.cumsum(1 - truth[order]))
    steps = np.empty(size)
    steps[order] = np.diff(jaccard, prepend=0.0)
    expected = steps * np.where(truth, -1, 1) * p * (1 - p)
    # Pixels whose errors float32 can't tell apart may change places.
    assert_close(gradient[0, :, 1], expected, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("stride", [2, 3, 9])
def test_stride_compares_a_grid(stride):
    labels = LABELS.copy()
    labels[:, 0, 0] = 1
    grid = slice(None), slice(None, None, stride), slice(None, None, stride)
    expected = references.eager(LovaszSoftmax())(labels[grid], LOGITS[grid])
    for shaped in (labels, labels[..., None]):
        assert_close(references.eager(LovaszSoftmax(stride=stride))(shaped, LOGITS), expected)


def test_config_and_arguments():
    again = keras.losses.deserialize(keras.losses.serialize(LovaszSoftmax(stride=4)))
    assert again.stride == 4
    for stride in (0, 1.5):
        with pytest.raises(ValueError, match="`stride`: expected an integer of at least 1"):
            LovaszSoftmax(stride=stride)
