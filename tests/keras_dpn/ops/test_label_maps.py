import numpy as np
import pytest

from keras_dpn.ops.label_maps import ignore_labels, read_labels, standardize_ignore_label
from tests.keras_dpn.support import TRACED, jitted, to_numpy


@pytest.mark.parametrize(
    ("given", "standard", "several"),
    [
        (255, 255, (255,)),
        (np.uint8(7), 7, (7,)),
        (None, None, ()),
        ((), (), ()),
        ([255, -1], (255, -1), (255, -1)),
        ((np.int64(3), 4), (3, 4), (3, 4)),
        ({0}, (0,), (0,)),
    ],
)
def test_ignore_labels(given, standard, several):
    assert standardize_ignore_label(given) == standard
    assert ignore_labels(given) == several


@pytest.mark.parametrize("given", [1.5, "255", (1, 2.0), [[1]], [None], np.array([3, 4])])
def test_other_ignore_labels_are_refused(given):
    with pytest.raises(ValueError, match="`ignore_label`: expected an integer, a tuple of integer"):
        standardize_ignore_label(given)


LABELS = np.array([[0, 2, 255], [-1, 1, 2]])


@pytest.mark.parametrize(
    ("ignore_label", "counted"),
    [
        ((255, -1), [[1, 1, 0], [0, 1, 1]]),
        ((-1, 2, 255), [[1, 0, 0], [0, 1, 0]]),
        ((255, -1, 9, 0), [[0, 1, 0], [0, 1, 1]]),
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "float64"])
def test_pixels_that_count(ignore_label, counted, dtype):
    found = map(to_numpy, read_labels(LABELS.astype(dtype), 3, ignore_label))
    labels, mask, out_of_range = found
    np.testing.assert_array_equal(mask, counted)
    np.testing.assert_array_equal(labels, np.where(counted, LABELS, 0))
    assert labels.dtype == "int32" and not out_of_range.any()


def test_all_count_without_an_ignore_label():
    for dtype in ("bool", "uint8"):
        labels, counted, _ = read_labels(np.array([0, 1, 1], dtype), 2, None)
        assert to_numpy(labels).tolist() == [0, 1, 1] and to_numpy(counted).all()


FAULTY = np.array([0.0, -1, 3, 1.5, np.nan, np.inf, 2**32, 2, 255])


@pytest.mark.parametrize("index", range(1, 7))
def test_labels_out_of_range_are_refused(index):
    with pytest.raises(
        ValueError, match=r"`y`: expected integers 0 ... 2, received .* \(pixels out of range: 1\)"
    ):
        read_labels(FAULTY[[0, index, 7]], 3, 255, name="y")


@TRACED
@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.tensorflow_only)])
def test_compiled_they_are_told_apart(xla):
    run = _compiled(lambda y: read_labels(y, 3, 255), xla)
    labels, counted, out_of_range = map(to_numpy, run(FAULTY.astype("float32")))
    assert labels.tolist() == [0] * 7 + [2, 0]
    assert counted.tolist() == [True, *[False] * 6, True, False]
    assert out_of_range.tolist() == [False, *[True] * 6, False, False]


def _compiled(function, xla):
    compiled = jitted(function)
    if compiled is not function:
        return compiled
    import tensorflow as tf

    return tf.function(function, jit_compile=xla)
