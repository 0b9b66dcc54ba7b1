import numpy as np
import pytest

from training.data.statistics import (
    class_frequencies,
    count_labels,
    median_frequency_weights,
)


def test_count_labels_leaves_the_ignore_label_out():
    np.testing.assert_array_equal(count_labels(np.array([[0, 2, 2, 255]], "uint8"), 3), [1, 0, 2])


def test_weights_by_hand():
    weights = median_frequency_weights([6, 1, 0], [7, 3, 0])
    median = (6 / 7 + 1 / 3) / 2
    np.testing.assert_allclose(weights, [median * 7 / 6, median * 3, 0], rtol=1e-6)


def test_power_comes_before_cap():
    counts, present = np.array([64, 16, 1]), np.array([100, 100, 100])
    np.testing.assert_allclose(median_frequency_weights(counts, present), [0.25, 1, 16])
    np.testing.assert_allclose(
        median_frequency_weights(counts, present, power=0.5, cap=3), [0.5, 1, 3]
    )
    np.testing.assert_allclose(median_frequency_weights(counts, present, power=0), [1, 1, 1])


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [([0], {}, "all are 0"), ([1], {"cap": 0}, "`cap`"), ([1], {"power": -1}, "`power`")],
)
def test_invalid(counts, options, message):
    with pytest.raises(ValueError, match=message):
        median_frequency_weights(counts, [9], **options)


def test_class_frequencies():
    np.testing.assert_allclose(class_frequencies([1, 3, 0]), [0.25, 0.75, 0])
    np.testing.assert_array_equal(class_frequencies([0, 0]), [0, 0])
