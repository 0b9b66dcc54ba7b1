import numpy as np
import pytest

from keras_dpn import metrics

SIZE = (12, 16)


def square(x, y, side=4, size=SIZE):
    labels = np.zeros(size, "uint8")
    labels[y : y + side, x : x + side] = 1
    return labels


def moving_square(x, y, dx, dy):
    """A square that moves over a still background: label maps and flows, both exact."""
    first, second = square(x, y), square(x + dx, y + dy)
    forward = np.where(first[..., None], (dx, dy), (0, 0)).astype("float32")
    backward = np.where(second[..., None], (-dx, -dy), (0, 0)).astype("float32")
    return first, second, forward, backward


def test_labels_that_move_with_the_flow_agree():
    first, second, forward, backward = moving_square(2, 3, 3, 2)
    found = metrics.temporal_confusion(first, second, forward, backward, 2)
    covered = np.sum((second == 1) & (first == 0))  # background that the square hides
    assert found.tolist() == [[first.size - 16 - covered, 0], [0, 16]]
    assert metrics.scores(found)["miou"] == 1


def test_flicker_costs():
    first, second, forward, backward = moving_square(2, 3, 3, 2)
    second[7, 7] = 0  # one of the square's 16 pixels
    found = metrics.temporal_confusion(first, second, forward, backward, 2)
    assert found[1].tolist() == [1, 15]
    background = found[0, 0] / (found[0, 0] + 1)
    assert metrics.scores(found)["miou"] == pytest.approx((15 / 16 + background) / 2)


def test_a_still_prediction_of_what_moves_is_inconsistent():
    first, _, forward, backward = moving_square(2, 3, 3, 2)
    found = metrics.temporal_confusion(first, first, forward, backward, 2)
    assert metrics.scores(found)["miou"] < 0.7


def test_pixels_that_leave_the_image_do_not_count():
    flow = np.full((*SIZE, 2), (5, 0), "float32")
    labels = np.random.default_rng(0).integers(0, 3, SIZE)
    following = np.roll(labels, 5, axis=1)
    following[:, :5] = 2  # what comes into sight
    found = metrics.temporal_confusion(labels, following, flow, -flow, 3)
    assert found.sum() == 12 * 11
    assert np.trace(found) == found.sum()
    nothing = metrics.temporal_confusion(labels, labels, flow + 1e6, flow, 3)
    assert nothing.tolist() == np.zeros((3, 3), int).tolist()


def test_threshold_decides_which_flow_counts():
    labels = square(2, 3)
    flow, backward = np.zeros((*SIZE, 2), "float32"), np.full((*SIZE, 2), (0, 1.5), "float32")
    assert metrics.temporal_confusion(labels, labels, flow, backward, 2).sum() == 0
    loose = metrics.temporal_confusion(labels, labels, flow, backward, 2, threshold=1.6)
    assert loose.sum() == labels.size


def test_all_labels_count_however_many():
    labels = np.array([[0, 255, 299]])
    flow = np.zeros((1, 3, 2), "float32")
    found = metrics.temporal_confusion(labels, labels, flow, flow, 300)
    assert np.diag(found)[[0, 255, 299]].tolist() == [1, 1, 1]


def test_bad_input_is_refused():
    labels, flow = square(2, 3), np.zeros((*SIZE, 2), "float32")
    with pytest.raises(ValueError, match="two label maps"):
        metrics.temporal_confusion(labels, labels[1:], flow, flow, 2)
    with pytest.raises(ValueError, match="two label maps"):
        metrics.temporal_confusion(labels[None], labels[None], flow, flow, 2)
    with pytest.raises(ValueError, match="expected integers 0 ... 0, received 1"):
        metrics.temporal_confusion(labels, labels, flow, flow, 1)
    with pytest.raises(ValueError, match="`next_labels`: expected integers 0 ... 1, received 0.5"):
        metrics.temporal_confusion(labels, labels / 2, flow, flow, 2)
    with pytest.raises(ValueError, match="flow"):
        metrics.temporal_confusion(labels, labels, flow[1:], flow[1:], 2)


def test_lists_are_taken():
    found = metrics.temporal_confusion([[0, 1]], [[0, 0]], *[[[[0.0, 0.0]] * 2]] * 2, 2)
    assert found.tolist() == [[1, 0], [1, 0]]
