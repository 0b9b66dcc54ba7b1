import keras
import numpy as np

from keras_dpn.losses import SegmentationDice
from tests.keras_dpn.losses import references
from tests.keras_dpn.support import assert_close, direct_softmax, random

LOGITS = random(2, 3, 4, 5, low=-3.0, high=3.0)
LABELS = np.random.default_rng(1).integers(0, 5, (2, 3, 4))


def test_is_keras_on_one_hot_labels():
    theirs = keras.losses.Dice(axis=(0, 1, 2))
    wanted = theirs(references.one_hot(LABELS, 5), direct_softmax(LOGITS))
    assert_close(references.eager(SegmentationDice())(LABELS, LOGITS), wanted)


def test_classes_that_do_not_occur_are_left_out_where_keras_counts_them_as_1():
    labels = LABELS % 3
    theirs = keras.losses.dice(references.one_hot(labels, 5), direct_softmax(LOGITS), (0, 1, 2))
    theirs = np.array(theirs)
    assert_close(theirs[3:], [1, 1])
    assert_close(references.eager(SegmentationDice())(labels, LOGITS), theirs[:3].mean())


def test_sums_are_over_the_batch():
    """Not a mean over its images, of which the second has a single pixel of class 0."""
    labels, logits = np.zeros((2, 1, 2), int), np.zeros((2, 1, 2, 2), "float32")
    labels[1, 0, 1] = 1
    hits = np.array([1.5, 0.5])
    expected = np.mean(1 - 2 * hits / (np.array([3, 1]) + 2))
    assert_close(references.eager(SegmentationDice())(labels, logits), expected)
