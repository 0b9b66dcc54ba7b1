import numpy as np
import pytest
from scipy import ndimage

from keras_dpn import metrics

RNG = np.random.default_rng(0)


def sprinkled(void_share, size=(37, 53), void=255):
    """Blocks of three classes with some void pixels."""
    labels = np.kron(RNG.integers(0, 3, (8, 11)), np.ones((5, 5), int))[: size[0], : size[1]]
    labels[RNG.random(size) < void_share] = void
    return labels.astype("uint8")


def dilated(mask, width):
    return ndimage.binary_dilation(mask, np.ones((2 * width + 1, 2 * width + 1), bool))


def sides(labels):
    """Pixels with another label beside them, one pixel after the other."""
    found = np.zeros(labels.shape, bool)
    for (y, x), label in np.ndenumerate(labels):
        for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= near[0] < labels.shape[0] and 0 <= near[1] < labels.shape[1]
            found[y, x] |= inside and labels[near] != label
    return found


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
def test_void_bands_are_the_dilated_void_less_the_void(share):
    labels = sprinkled(share)
    distance = metrics.trimap_distance(labels, max_width=12)
    np.testing.assert_array_equal(distance == 0, labels == 255)
    for width in range(1, 13):
        band = dilated(labels == 255, width) & (labels != 255)
        np.testing.assert_array_equal((distance >= 1) & (distance <= width), band)
    assert distance.max() <= 13


def test_boundary_bands_hold_as_many_pixels_on_either_side():
    labels = sprinkled(0.01)
    distance = metrics.trimap_distance(labels, around="boundary", max_width=6)
    np.testing.assert_array_equal(distance == 1, sides(labels))
    for width in range(2, 7):
        np.testing.assert_array_equal(distance <= width, dilated(sides(labels), width - 1))
    assert distance.min() == 1


@pytest.mark.parametrize("around", ["void", "boundary"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1)])
def test_without_void_or_boundary_all_pixels_lie_beyond(around, size):
    distance = metrics.trimap_distance(np.zeros(size, "uint8"), around=around, max_width=3)
    assert distance.tolist() == np.full(size, 4).tolist()


@pytest.mark.parametrize("around", ["void", "boundary"])
def test_confusions_are_those_of_the_pixels_in_each_band(around):
    labels = sprinkled(0.01, void=9)
    predictions = RNG.integers(0, 3, labels.shape)
    found = metrics.trimap_confusions(labels, predictions, 3, 9, around, max_width=8)
    assert found.shape == (8, 3, 3)
    for width in range(1, 9):
        start = dilated(labels == 9, width) if around == "void" else sides(labels)
        band = dilated(start, width - 1) if around == "boundary" and width > 1 else start
        expected = metrics.confusion_matrix(np.where(band, labels, 9), predictions, 3, 9)
        np.testing.assert_array_equal(found[width - 1], expected)


@pytest.mark.parametrize("around", ["void", "boundary"])
def test_several_void_labels_are_one(around):
    labels, predictions = sprinkled(0.05), RNG.integers(0, 3, (37, 53))
    mixed = labels.astype("int64")
    mixed[labels == 255] = RNG.choice([255, 254, -1], (labels == 255).sum())
    several = (255, 254, -1)
    np.testing.assert_array_equal(
        metrics.trimap_distance(mixed, several, around),
        metrics.trimap_distance(labels, 255, around),
    )
    np.testing.assert_array_equal(
        metrics.trimap_confusions(mixed, predictions, 3, several, around),
        metrics.trimap_confusions(labels, predictions, 3, 255, around),
    )


def test_without_void_labels():
    labels = np.array([[0, 0, 1, 1]])
    assert metrics.trimap_distance(labels, None, max_width=2).tolist() == [[3, 3, 3, 3]]
    assert metrics.trimap_distance(labels, None, "boundary", 2).tolist() == [[2, 1, 1, 2]]


def test_wide_bands_hold_every_pixel():
    labels, predictions = sprinkled(0.01), RNG.integers(0, 3, (37, 53))
    found = metrics.trimap_confusions(labels, predictions, 3, max_width=53)
    np.testing.assert_array_equal(found[-1], metrics.confusion_matrix(labels, predictions, 3))


def test_what_does_not_fit_is_refused():
    labels = np.zeros((2, 3), int)
    with pytest.raises(ValueError, match=r"`labels`.*\(1, 2, 3\)"):
        metrics.trimap_distance(labels[None])
    with pytest.raises(ValueError, match="`around`.*'edges'"):
        metrics.trimap_distance(labels, around="edges")
    with pytest.raises(ValueError, match="`max_width`.*0"):
        metrics.trimap_distance(labels, max_width=0)
    with pytest.raises(ValueError, match=r"same shape.*\(2, 3\) and \(3, 2\)"):
        metrics.trimap_confusions(labels, labels.T, 2)
    with pytest.raises(ValueError, match="`labels`: expected integers 0 ... 1, received 5"):
        metrics.trimap_confusions([[255, 5]], [[0, 0]], 2)
