from fractions import Fraction

import numpy as np
import pytest

from keras_dpn.metrics import calibration, calibration_counts

RNG = np.random.default_rng(0)
LABELS = RNG.choice([0, 1, 2, 255], 2000)
PREDICTIONS = RNG.integers(0, 3, 2000)
CONFIDENCES = np.concatenate([np.arange(16) / 15, RNG.uniform(0.3, 1, 1984)]).astype("float32")


def slow_ece(labels, predictions, confidences, bins):
    """As Guo et al. define it, with fractions: one pixel after the other."""
    groups = [[] for _ in range(bins)]
    for label, predicted, confidence in zip(labels, predictions, confidences, strict=True):
        if label != 255:
            exact = Fraction(round(float(confidence) * 2**24), 2**24)
            index = next(i for i in range(bins) if exact <= Fraction(i + 1, bins))
            groups[index].append((label == predicted, exact))
    total = sum(map(len, groups))
    gaps = [abs(sum(int(right) - exact for right, exact in group)) for group in groups]
    return float(sum(gaps) / total), groups


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_equals_a_slow_one(bins):
    found = calibration(calibration_counts(LABELS, PREDICTIONS, CONFIDENCES, 255, bins))
    ece, groups = slow_ece(LABELS, PREDICTIONS, CONFIDENCES, bins)
    assert found["ece"] == pytest.approx(ece, rel=1e-12)
    assert found["pixels"] == list(map(len, groups))
    for i, group in enumerate(groups):
        if group:
            right, confidence = zip(*group, strict=True)
            assert found["accuracy"][i] == pytest.approx(np.mean(right))
            assert found["confidence"][i] == pytest.approx(float(sum(confidence) / len(group)))
        else:
            assert found["accuracy"][i] is found["confidence"][i] is None


def test_parts_add_up_to_the_whole_in_any_order():
    triple = LABELS, PREDICTIONS, CONFIDENCES
    whole = calibration_counts(*triple)
    parts = [calibration_counts(*(x[i::3] for x in triple)) for i in (2, 0, 1)]
    np.testing.assert_array_equal(sum(parts), whole)
    padded = (
        np.pad(x, (0, 9), constant_values=v) for x, v in zip(triple, (255, 0, 1), strict=True)
    )
    np.testing.assert_array_equal(calibration_counts(*padded), whole)


def test_right_as_often_as_it_says():
    labels = np.repeat([0, 1], [3, 1])
    counts = calibration_counts(labels, np.zeros(4, int), np.full(4, 0.75))
    assert calibration(counts)["ece"] == 0
    sure = calibration_counts(labels, np.zeros(4, int), np.full(4, 1 + 1e-7))
    assert calibration(sure)["ece"] == 0.25, "softmax may pass 1 by a rounding"


def test_without_a_pixel_there_is_no_error():
    found = calibration(calibration_counts([255], [0], [0.5], bins=2))
    assert found == {
        "ece": None,
        "pixels": [0, 0],
        "accuracy": [None, None],
        "confidence": [None, None],
    }


def test_several_ignore_labels():
    pair = [0, 1, 0, 0], [0.75, 1.0, 0.5, 0.25]
    found = calibration_counts([0, 0, -1, 255], *pair, ignore_label=(255, -1), bins=2)
    np.testing.assert_array_equal(found, calibration_counts([0, 0, 255, 255], *pair, bins=2))
    assert found[:, :2].tolist() == [[0, 0], [2, 1]]
    assert calibration_counts([0, 1, 0, 255], *pair, ignore_label=None)[:, 0].sum() == 4


def test_what_does_not_fit_is_refused():
    for label in (-1, 0.5):
        with pytest.raises(ValueError, match=f"`labels`: expected integers from 0 up, .* {label}"):
            calibration_counts([0, label], [0, 0], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"same shape, received \(2,\), \(2,\) and \(1,\)"):
        calibration_counts([0, 1], [0, 1], [0.5])
    for confidence in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="`confidences`: expected 0 ... 1, received"):
            calibration_counts([0], [0], [confidence])
    with pytest.raises(ValueError, match="`bins`: expected an integer of at least 1"):
        calibration_counts([0], [0], [0.5], bins=0)
    with pytest.raises(ValueError, match=r"`counts`: expected shape \(bins, 3\)"):
        calibration(np.zeros(3))
