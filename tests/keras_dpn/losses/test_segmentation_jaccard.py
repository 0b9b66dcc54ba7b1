import numpy as np

from keras_dpn.losses import SegmentationJaccard
from keras_dpn.metrics import confusion_matrix, mean_iou
from tests.keras_dpn.losses import references
from tests.keras_dpn.support import assert_close


def test_is_one_minus_mean_iou_where_all_is_certain():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, (2, 2, 5, 6))
    logits = 1000 * references.one_hot(predictions, 4)
    expected = 1 - mean_iou(confusion_matrix(labels, predictions, 4))
    assert_close(references.eager(SegmentationJaccard())(labels, logits), expected)
