import keras
import numpy as np
import pytest

from keras_dpn.losses import SegmentationDice, SegmentationJaccard, SegmentationTversky
from tests.keras_dpn.losses import references
from tests.keras_dpn.support import assert_close, direct_softmax, random

LOGITS = random(2, 3, 4, 5, low=-3.0, high=3.0)
LABELS = np.random.default_rng(1).integers(0, 5, (2, 3, 4))
assert len(np.unique(LABELS)) == 5


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (1.0, 0.0), (2.0, 0.5)])
def test_is_keras_on_one_hot_labels(alpha, beta):
    """Keras's alpha weighs (1 - p) y, what is missed, in spite of its docstring."""
    theirs = keras.losses.Tversky(alpha=beta, beta=alpha, axis=(0, 1, 2))
    wanted = theirs(references.one_hot(LABELS, 5), direct_softmax(LOGITS))
    loss = SegmentationTversky(alpha=alpha, beta=beta)
    assert_close(references.eager(loss)(LABELS, LOGITS), wanted)


def test_alpha_weighs_what_is_added_and_beta_what_is_missed():
    logits = np.log([[[[0.75, 0.25], [0.5, 0.5]]]]).astype("float32")
    labels = np.array([[[0, 1]]])  # class 0: hits 3/4, added 1/2, missed 1/4; class 1: the reverse
    added, missed = 1 - 0.75 / (0.75 + 2 * 0.5), 1 - 0.5 / (0.5 + 2 * 0.25)
    loss = SegmentationTversky(alpha=2, beta=0)
    assert_close(references.eager(loss)(labels, logits), (added + missed) / 2)


@pytest.mark.parametrize(("cls", "weight"), [(SegmentationDice, 0.5), (SegmentationJaccard, 1.0)])
def test_dice_and_jaccard_are_cases_of_it(cls, weight):
    tversky = SegmentationTversky(alpha=weight, beta=weight)
    assert_close(references.eager(tversky)(LABELS, LOGITS), references.eager(cls())(LABELS, LOGITS))


def test_config_and_arguments():
    loss = SegmentationTversky(alpha=0.2, beta=2)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (again.alpha, again.beta) == (0.2, 2)
    for alpha, beta in [(-0.1, 1), (1, float("nan")), (0, 0), (float("inf"), 1)]:
        with pytest.raises(ValueError, match=f"`alpha` and `beta`: .* {alpha} and {beta}"):
            SegmentationTversky(alpha=alpha, beta=beta)
