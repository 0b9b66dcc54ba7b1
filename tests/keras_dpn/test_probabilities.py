import numpy as np

from keras_dpn.probabilities import softmax, to_labels


def test_softmax_of_odds():
    found = softmax(np.log(np.array([[1.0, 3.0], [2.0, 2.0], [9.0, 1.0]])))
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]], rtol=1e-12)


def test_softmax_of_large_logits_is_finite_and_along_the_last_axis():
    logits = np.array([[[1e4, 1e4 + np.log(4)], [-1e4, 1e4]]], "float32")
    found = softmax(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[[0.2, 0.8], [0, 1]]], rtol=1e-3)


def test_labels_are_the_most_probable_classes_the_first_of_equals():
    found = to_labels(np.array([[[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]]))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[1, 0]])


def test_labels_of_many_classes_do_not_wrap():
    for count, dtype in ((256, np.uint8), (257, np.int32), (300, np.int32)):
        probabilities = np.zeros((1, 1, count))
        probabilities[..., -1] = 1
        found = to_labels(probabilities)
        assert found[0, 0] == count - 1 and found.dtype == dtype
