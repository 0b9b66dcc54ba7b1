import json
import math

import numpy as np
import pytest
import sklearn.metrics

from keras_dpn import metrics

RNG = np.random.default_rng(0)
LABELS = RNG.choice([0, 1, 2, 4, 255], (3, 20, 30))  # 3 is absent, 4 never predicted
PREDICTIONS = RNG.choice([0, 1, 2], LABELS.shape)
COUNTED = LABELS != 255
HAND = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])  # IoU 3/6, 4/7, none


def test_counts_are_scikit_learns():
    ours = metrics.confusion_matrix(LABELS, PREDICTIONS, 5)
    theirs = sklearn.metrics.confusion_matrix(
        LABELS[COUNTED], PREDICTIONS[COUNTED], labels=range(5)
    )
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours, theirs)


def test_scores_are_scikit_learns():
    truth, predicted = LABELS[COUNTED], PREDICTIONS[COUNTED]
    confusion = metrics.confusion_matrix(LABELS, PREDICTIONS, 5)
    present = [0, 1, 2, 4]
    iou = sklearn.metrics.jaccard_score(truth, predicted, labels=present, average=None)
    weighted = sklearn.metrics.jaccard_score(truth, predicted, average="weighted")
    np.testing.assert_allclose(metrics.iou_per_class(confusion)[present], iou)
    assert np.isnan(metrics.iou_per_class(confusion)[3])
    assert metrics.mean_iou(confusion) == pytest.approx(iou.mean())
    assert metrics.frequency_weighted_iou(confusion) == pytest.approx(weighted)
    accuracy = sklearn.metrics.accuracy_score(truth, predicted)
    assert metrics.pixel_accuracy(confusion) == pytest.approx(accuracy)
    recall = sklearn.metrics.recall_score(truth, predicted, labels=present, average="macro")
    assert metrics.mean_accuracy(confusion) == pytest.approx(recall)


def test_scores_by_hand():
    found = metrics.scores(HAND)
    assert found["iou"] == [0.5, pytest.approx(4 / 7), None]
    assert found["miou"] == pytest.approx((1 / 2 + 4 / 7) / 2)
    assert found["accuracy"] == 0.7
    assert found["mean_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert found["frequency_weighted_iou"] == pytest.approx(0.4 * 1 / 2 + 0.6 * 4 / 7)
    assert json.loads(json.dumps(found)) == found


def test_a_class_that_is_only_predicted_counts_as_missed():
    assert metrics.scores([[1, 1], [0, 0]])["iou"] == [0.5, 0.0]
    assert metrics.scores([[1, 1], [0, 0]])["mean_accuracy"] == 0.5


def test_no_pixel_has_no_score():
    found = metrics.scores(np.zeros((2, 2), int))
    assert found["iou"] == [None, None]
    assert [found[name] for name in found if name != "iou"] == [None] * 4
    assert math.isnan(metrics.mean_iou(np.zeros((2, 2), int)))


def test_large_counts_stay_exact():
    confusion = np.array([[2**53, 1], [0, 2**53]])
    assert metrics.mean_iou(confusion) == pytest.approx(1)
    uint8 = np.zeros(300, "uint8"), np.zeros(300, "uint8")
    assert (
        metrics.confusion_matrix(*uint8, 200).sum() == metrics.confusion_matrix(*uint8, 200)[0, 0]
    )


def test_small_integers_do_not_overflow():
    labels = np.array([199, 100, 255], "uint8")
    confusion = metrics.confusion_matrix(labels, labels, 200)
    assert confusion[199, 199] == confusion[100, 100] == 1
    assert confusion.sum() == 2


def test_ignore_label_may_be_a_class_number():
    confusion = metrics.confusion_matrix([0, 1, 1], [0, 0, 7], 2, ignore_label=1)
    assert confusion.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_several_ignore_labels(dtype):
    labels = np.array([0, 1, 1, -1, 255], dtype)
    for ignore_label, expected in [
        ((255, -1), [[1, 0], [1, 1]]),
        ((255, -1, 1), [[1, 0], [0, 0]]),
        ([-1, 255, 0, 1], [[0, 0], [0, 0]]),
    ]:
        confusion = metrics.confusion_matrix(labels, [0, 0, 1, 0, 0], 2, ignore_label)
        assert confusion.tolist() == expected
    uint8 = np.array([0, 1, 255], "uint8")  # which holds no -1
    assert metrics.confusion_matrix(uint8, [0, 1, 0], 2, (-1, 255)).tolist() == [[1, 0], [0, 1]]
    assert metrics.confusion_matrix([0, 1], [0, 1], 2, None).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="`ignore_label`: expected an integer, a tuple"):
        metrics.confusion_matrix([0], [0], 2, ignore_label="255")


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1], [0], r"expected the same shape, received \(2,\) and \(1,\)"),
        (
            [0, 2, 2],
            [0, 0, 0],
            r"`labels`: expected integers 0 ... 1, received 2 \(pixels out of range: 2\)",
        ),
        ([0, -1], [0, 0], "`labels`: expected integers 0 ... 1, received -1"),
        ([0, 1], [0, 2], "`predictions`: expected integers 0 ... 1, received 2"),
        (
            [0, 0.5],
            [0, 0],
            r"`labels`: expected integers 0 ... 1, received 0.5 \(pixels out of range: 1",
        ),
        ([0, float("nan")], [0, 0], "`labels`: expected integers 0 ... 1, received nan"),
        ([0, 1], [0, 0.25], "`predictions`: expected integers 0 ... 1, received 0.25"),
    ],
)
def test_errors(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        metrics.confusion_matrix(labels, predictions, 2)
