import keras
import numpy as np

from keras_dpn.ops.segment_sum import segment_sum
from tests.keras_dpn.support import assert_close, random, to_numpy


def test_sums_the_rows_of_each_segment():
    x, segments = random(5, 2, 3), np.array([2, 0, 2, 3, 0])
    expected = np.stack([x[segments == i].sum(axis=0) for i in range(5)])
    assert_close(segment_sum(*map(tensor, (x, segments)), 5), expected)


def test_integers_stay_exact():
    sums = segment_sum(tensor(np.array([2**24, 1, 1], "int32")), tensor(np.zeros(3, "int32")), 1)
    assert to_numpy(sums).tolist() == [2**24 + 2]
    assert "int32" in str(sums.dtype)


def tensor(x):
    return keras.ops.convert_to_tensor(x)
