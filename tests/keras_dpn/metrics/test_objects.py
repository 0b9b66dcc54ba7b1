import math

import numpy as np
import pytest

from keras_dpn.metrics import object_counts, object_scores
from keras_dpn.metrics.objects import COUNTS

VOID = 255


def blobs(shape, num_classes, seed):
    """A random label map of patches with void in places, and another one much like it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, num_classes, [-(-n // 4) for n in shape])
    labels = np.kron(coarse, np.ones((4, 4), int))[: shape[0], : shape[1]]
    predictions = np.roll(labels, rng.integers(0, 3, 2), (0, 1))
    wrong = rng.random(shape) < 0.05
    predictions = np.where(wrong, rng.integers(0, num_classes, shape), predictions)
    return np.where(rng.random(shape) < 0.1, VOID, labels).astype("uint8"), predictions


def slow_box(pixels):
    return (
        min(y for y, _ in pixels),
        min(x for _, x in pixels),
        max(y for y, _ in pixels) + 1,
        max(x for _, x in pixels) + 1,
    )


def slow_area(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0) if box else 0


def slow_boundary(labels, label):
    height, width = labels.shape
    found = set()
    for y, x in np.argwhere(labels == label):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < height and 0 <= u < width and labels[v, u] != label:
                found.add((int(y), int(x)))
    return found


def slow_counts(labels, predictions, num_classes, tolerance):
    """As defined, pixel by pixel, with sets and distances."""
    radius = tolerance * math.sqrt(labels.shape[0] ** 2 + labels.shape[1] ** 2)
    rows = []
    for label in range(num_classes):
        true = [tuple(p) for p in np.argwhere(labels == label).tolist()]
        guess = [
            (y, x) for y, x in np.argwhere(predictions == label).tolist() if labels[y, x] != VOID
        ]
        boxes = [slow_box(p) if p else None for p in (true, guess)]
        inner = None
        if all(boxes):
            pairs = zip(*boxes, strict=True)
            inner = [f(*pair) for f, pair in zip((max, max, min, min), pairs, strict=True)]
        edge, other = slow_boundary(labels, label), slow_boundary(predictions, label)
        found = [p for p in edge if any(math.dist(p, q) <= radius for q in other)]
        right = [p for p in other if any(math.dist(p, q) <= radius for q in edge)]
        judged = [p for p in other if labels[p] != VOID or p in right]
        areas = [slow_area(box) for box in (inner, *boxes)]
        rows.append([*areas, len(edge), len(found), len(judged), len(right)])
    return np.array(rows)


@pytest.mark.parametrize(
    ("shape", "num_classes", "tolerance"),
    [((20, 23), 5, 0.08), ((9, 14), 3, 0.0), ((3, 40), 4, 0.15), ((12, 11), 40, 0.1)],
)
def test_counts_equal_a_slow_count(shape, num_classes, tolerance):
    for seed in range(3):
        pair = blobs(shape, num_classes, seed)
        found = object_counts(*pair, num_classes, VOID, tolerance)
        np.testing.assert_array_equal(found, slow_counts(*pair, num_classes, tolerance))


def test_several_void_labels_are_one():
    labels, predictions = blobs((20, 23), 5, 0)
    mixed = labels.astype("float32")
    mixed[labels == VOID] = np.random.default_rng(0).choice([VOID, 7, -1], (labels == VOID).sum())
    found = object_counts(mixed, predictions, 5, (VOID, 7, -1), 0.08)
    np.testing.assert_array_equal(found, slow_counts(labels, predictions, 5, 0.08))
    with pytest.raises(ValueError, match="`labels`: expected integers 0 ... 4, received"):
        object_counts(mixed, predictions, 5, (VOID, 7), 0.08)


def test_void_counts_in_no_box_and_excuses_what_is_predicted_on_it():
    labels = np.array([[VOID, 1, 1, VOID, VOID, VOID, 0]])
    predictions = np.array([[1, 1, 1, 1, 1, 1, 0]])
    found = dict(zip(COUNTS, object_counts(labels, predictions, 2, VOID, 0.0)[1], strict=True))
    assert found["true_box"] == found["predicted_box"] == found["box_intersection"] == 2
    assert found["true_boundary"] == 2  # beside the void
    assert found["predicted_boundary"] == 0  # its only one is on void, far from a true one


def score(counts, **options):
    return object_scores(np.array(counts), **options)


def test_scores_by_hand():
    absent, missed, invented = [0] * 7, [0, 6, 0, 4, 0, 0, 0], [0, 0, 9, 0, 0, 5, 0]
    right, half = [4, 4, 4, 10, 10, 8, 4], [3, 4, 5, 10, 5, 4, 4]
    found = score([[right, absent], [missed, invented], [half, absent]], threshold=0.5)
    assert found["per_class"]["ta"] == [pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert found["per_class"]["la"] == [pytest.approx((1 + 0 + 0.5) / 3), None]
    recall, precision = 15 / 20, 8 / 12
    f_measure = 2 * recall * precision / (recall + precision)
    assert found["per_class"]["ba"] == [pytest.approx(f_measure), None]
    assert (found["ta"], found["la"]) == (pytest.approx(2 / 3), pytest.approx(0.5))
    strict = score([[right, absent], [half, absent]], threshold=0.6)
    assert strict["ba"] == pytest.approx(2 * 0.5 / 1.5), "the half right box is not localised"
    assert score([[absent]]) == {
        **dict.fromkeys(("ta", "la", "ba")),
        "per_class": {"ta": [None], "la": [None], "ba": [None]},
    }
    assert score([[[4, 4, 4, 3, 0, 0, 0]]])["ba"] == 0, "nothing of its boundary is found"


def test_any_order_and_any_halves_give_the_same_scores():
    counts = [object_counts(*blobs((16, 18), 4, seed), 4, VOID, 0.05) for seed in range(7)]
    whole = object_scores(counts)
    assert 0 < whole["ba"] < 1 and 0 < whole["la"] < 1
    assert object_scores(counts[::-1]) == whole
    assert object_scores(np.concatenate([counts[4:], counts[:4]])) == whole


def test_a_perfect_prediction_scores_one():
    labels, _ = blobs((20, 20), 4, 0)
    predictions = np.where(labels == VOID, 0, labels)
    found = object_scores([object_counts(labels, predictions, 4, VOID, 0.05)])
    assert (found["ta"], found["la"], found["ba"]) == (1, 1, 1)


def test_what_does_not_fit_is_refused():
    labels, predictions = blobs((8, 8), 3, 0)
    with pytest.raises(ValueError, match=r"received \(8, 8\) and \(7, 8\)"):
        object_counts(labels, predictions[1:], 3)
    with pytest.raises(ValueError, match="`labels`: expected integers 0 ... 1, received 2"):
        object_counts(labels, predictions, 2)
    with pytest.raises(ValueError, match="`predictions`: expected integers 0 ... 2, received 3"):
        object_counts(labels, predictions + 1, 3)
    for tolerance in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="`tolerance`"):
            object_counts(labels, predictions, 3, tolerance=tolerance)
    with pytest.raises(ValueError, match=r"`counts`: expected shape \(images, classes, 7\)"):
        object_scores(np.zeros((3, 7), int))
    for threshold in (-0.1, 1.1):
        with pytest.raises(ValueError, match="`threshold`: expected a number from 0 to 1"):
            object_scores(np.zeros((1, 3, 7), int), threshold)


def test_all_labels_of_255_classes_have_a_bit():
    labels = np.arange(255).reshape(17, 15)
    found = object_counts(labels, labels, 255, VOID, 0.0)
    np.testing.assert_array_equal(found, np.ones((255, 7)))


def test_an_empty_map_has_no_object():
    empty = np.zeros((0, 3), int)
    np.testing.assert_array_equal(object_counts(empty, empty, 2), np.zeros((2, 7)))
