import numpy as np
import pytest
import scipy
import tensorflow as tf

from training.data.pipeline import transforms

IGNORE = 9
SEED = tf.constant([5, 6], "int64")
# A ramp, so that a pixel's colour tells where it was.
IMAGE = tf.cast(tf.reshape(tf.range(6 * 8 * 3), (6, 8, 3)), "float32")
LABELS = tf.reshape(tf.range(48) % 3, (6, 8))


def seeds(count):
    return [tf.constant([1, number], "int64") for number in range(count)]


def scale(image, labels, seed):
    return transforms.random_scale(image, labels, (0.4, 1.7), seed)


def crop(image, labels, seed):
    return transforms.random_crop(image, labels, (4, 20), seed)


def pad(image, labels, seed):
    return transforms.random_pad(image, labels, (9, 8), IGNORE, seed)


def photometric(image, labels, seed):
    return transforms.random_photometric(image, 0.2, 0.5, 0.5, seed), labels


def rotate(image, labels, seed):
    return transforms.random_rotation(image, labels, 40.0, IGNORE, seed)


def blur(image, labels, seed):
    return transforms.random_blur(image, 1.5, seed), labels


def cutout(image, labels, seed):
    return transforms.random_cutout(image, 0.8, seed), labels


ALL = [scale, crop, pad, transforms.random_horizontal_flip, photometric, rotate, blur, cutout]


@pytest.mark.parametrize("transform", ALL)
def test_labels_stay_a_subset_and_sizes_agree(transform):
    for seed in seeds(8):
        image, labels = transform(IMAGE, LABELS, seed)
        assert image.shape[:2] == labels.shape
        assert (image.dtype, labels.dtype) == (tf.float32, tf.int32)
        assert set(np.unique(labels)) <= {0, 1, 2, IGNORE}
        assert np.min(image) >= 0 and np.max(image) <= 255


@pytest.mark.parametrize("transform", ALL)
def test_the_same_in_tf_data_as_eagerly(transform):
    dataset = tf.data.Dataset.from_tensors((IMAGE, LABELS, SEED)).map(transform)
    for a, b in zip(next(iter(dataset)), transform(IMAGE, LABELS, SEED), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)  # graphs fuse multiply and add


@pytest.mark.parametrize("transform", ALL)
def test_seeds_matter(transform):
    results = {transform(IMAGE, LABELS, seed)[0].numpy().tobytes() for seed in seeds(8)}
    assert len(results) > 1


def test_scale_stays_in_range_and_keeps_labels_in_place():
    image, labels = tf.zeros((40, 20, 3)), tf.constant([[1] * 10 + [2] * 10] * 40)
    sizes = []
    for seed in seeds(20):
        _, scaled = transforms.random_scale(image, labels, (0.5, 2.0), seed)
        h, w = scaled.shape
        assert abs(h - 2 * w) <= 1
        assert np.all(scaled[:, : w // 2] == 1) and np.all(scaled[:, -(w // 2) :] == 2)
        sizes.append(h)
    assert 20 <= min(sizes) < 30 and 60 < max(sizes) <= 80


def test_scale_never_makes_an_empty_image():
    image, labels = transforms.random_scale(
        tf.zeros((1, 1, 3)), tf.constant([[1]]), (0.1, 0.1), SEED
    )
    assert image.shape == (1, 1, 3) and labels.shape == (1, 1)


def test_scale_of_one_changes_nothing():
    image, labels = transforms.random_scale(IMAGE, LABELS, (1.0, 1.0), SEED)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(labels, LABELS)


def test_crop_is_a_window_of_both():
    corners = set()
    for seed in seeds(40):
        image, labels = transforms.random_crop(IMAGE, LABELS, (4, 5), seed)
        assert labels.shape == (4, 5)
        y, x = divmod(int(image[0, 0, 0]) // 3, 8)
        corners.add((y, x))
        np.testing.assert_array_equal(image, IMAGE[y : y + 4, x : x + 5])
        np.testing.assert_array_equal(labels, LABELS[y : y + 4, x : x + 5])
    assert {y for y, _ in corners} == {0, 1, 2} and {x for _, x in corners} == {0, 1, 2, 3}


def test_crop_keeps_a_shorter_side():
    _, labels = transforms.random_crop(IMAGE, LABELS, (4, 20), SEED)
    assert labels.shape == (4, 8)


def test_pad_surrounds_the_picture():
    tops = set()
    for seed in seeds(20):
        image, labels = transforms.random_pad(IMAGE, LABELS, (9, 10), IGNORE, seed)
        inside = labels != IGNORE
        assert int(tf.reduce_sum(tf.cast(inside, "int32"))) == 48
        np.testing.assert_allclose(image[inside], tf.reshape(IMAGE, (48, 3)), atol=1e-4)
        outside = image[~inside]
        np.testing.assert_allclose(outside, [transforms.PAD_COLOR] * len(outside), atol=1e-4)
        tops.add(int(np.argwhere(inside)[0, 0]))
    assert tops == {0, 1, 2, 3}


def test_pad_of_a_full_picture_changes_nothing():
    image, labels = transforms.random_pad(IMAGE, LABELS, (6, 8), IGNORE, SEED)
    np.testing.assert_allclose(image, IMAGE, atol=1e-4)
    np.testing.assert_array_equal(labels, LABELS)


def test_half_of_the_images_are_flipped():
    turned = 0
    for seed in seeds(60):
        image, labels = transforms.random_horizontal_flip(IMAGE, LABELS, seed)
        is_flipped = bool(tf.reduce_any(image != IMAGE))
        step = -1 if is_flipped else 1
        np.testing.assert_array_equal(image, IMAGE[:, ::step])
        np.testing.assert_array_equal(labels, LABELS[:, ::step])
        turned += is_flipped
    assert 18 <= turned <= 42


def test_photometric_by_parts():
    image = tf.constant([[[100.0, 120.0, 140.0], [60.0, 60.0, 60.0]]])
    brighter = transforms.random_photometric(image, 0.1, 0.0, 0.0, SEED)
    shift = np.unique(np.round(brighter - image, 3))
    assert len(shift) == 1 and 0 < abs(shift[0]) <= 25.5
    contrast = transforms.random_photometric(image, 0.0, 0.5, 0.0, SEED)
    np.testing.assert_allclose(
        tf.reduce_mean(contrast, (0, 1)), tf.reduce_mean(image, (0, 1)), atol=1e-3
    )
    factor = (contrast[0, 0] - contrast[0, 1]) / (image[0, 0] - image[0, 1])
    np.testing.assert_allclose(factor, [factor[0]] * 3, rtol=1e-4)
    assert 0.5 <= factor[0] <= 1.5
    saturated = transforms.random_photometric(image, 0.0, 0.0, 0.5, SEED)
    np.testing.assert_allclose(saturated @ [[0.299], [0.587], [0.114]], [[[116.3], [60]]], atol=0.1)
    assert tf.reduce_max(abs(saturated - image)) > 0.1


def test_photometric_stays_in_range():
    image = tf.constant([[[0.0, 128.0, 255.0]] * 4] * 4)
    for seed in seeds(10):
        result = transforms.random_photometric(image, 1.0, 1.0, 1.0, seed)
        assert np.min(result) >= 0 and np.max(result) <= 255


def test_split_seed_gives_different_seeds():
    parts = transforms.split_seed(SEED, 4)
    assert len({part.numpy().tobytes() for part in parts}) == 4


def drawn(monkeypatch, value):
    """Let the transforms draw this value."""
    monkeypatch.setattr(transforms, "_uniform", lambda *_: tf.constant(value, "float32"))


def test_a_quarter_turn_moves_image_and_labels_alike(monkeypatch):
    drawn(monkeypatch, 90.0)
    image, labels = transforms.random_rotation(IMAGE[:, :6], LABELS[:, :6], 180.0, IGNORE, SEED)
    np.testing.assert_allclose(image, np.rot90(IMAGE[:, :6], -1), atol=1e-3)
    np.testing.assert_array_equal(labels, np.rot90(LABELS[:, :6], -1))


def test_a_rotation_keeps_the_center_and_ignores_what_comes_from_outside(monkeypatch):
    drawn(monkeypatch, 45.0)
    labels = np.repeat([[1] * 20 + [2] * 21], 41, axis=0)
    image = np.repeat(labels[..., None], 3, axis=-1).astype("float32")
    image, labels = transforms.random_rotation(image, labels, 45.0, IGNORE, SEED)
    y, x = np.mgrid[-20:21, -20:21]
    is_outside = abs(x) + abs(y) > 20 * 2**0.5 + 1.5
    assert np.all(labels[is_outside] == IGNORE)
    np.testing.assert_allclose(image[is_outside] - transforms.PAD_COLOR, 0.0, atol=1e-4)
    is_inside = abs(x) + abs(y) < 20 * 2**0.5 - 1.5
    # The edge between the classes, a vertical line, rises from the left to the right.
    expected = np.where(x + y > 0, 2, 1)
    is_clear = is_inside & (abs(x + y) > 2)
    np.testing.assert_array_equal(labels[is_clear], expected[is_clear])
    np.testing.assert_allclose(image[is_clear][:, 0], expected[is_clear], atol=1e-3)


def test_blur_is_gaussian_and_keeps_constants(monkeypatch):
    drawn(monkeypatch, 1.2)
    impulse = np.zeros((15, 17, 6), "float32")
    impulse[7, 8] = 100.0
    blurred = transforms.random_blur(impulse, 2.0, SEED)
    expected = scipy.ndimage.gaussian_filter(impulse[..., 0], 1.2, truncate=5)
    np.testing.assert_allclose(blurred[..., 3], expected, atol=1e-3)
    flat = transforms.random_blur(np.full((3, 2, 3), 200.0, "float32"), 2.0, SEED)
    np.testing.assert_allclose(flat, 200.0, rtol=1e-5)  # also where the kernel is larger
    drawn(monkeypatch, 0.0)
    np.testing.assert_allclose(transforms.random_blur(IMAGE, 2.0, SEED), IMAGE, rtol=1e-5)


def test_cutout_fills_one_rectangle():
    image, sides = tf.zeros((20, 30, 6)), set()
    for seed in seeds(40):
        cut = transforms.random_cutout(image, 0.4, seed)
        is_cut = np.any(cut != 0, axis=-1)
        np.testing.assert_array_equal(
            cut[is_cut], np.broadcast_to(np.float32(transforms.PAD_COLOR * 2), (is_cut.sum(), 6))
        )
        rows, columns = np.any(is_cut, axis=1), np.any(is_cut, axis=0)
        np.testing.assert_array_equal(is_cut, rows[:, None] & columns)
        assert rows.sum() <= 8 and columns.sum() <= 12
        assert np.abs(np.diff(np.pad(rows, 1).astype(int))).sum() <= 2
        sides.add((rows.sum(), columns.sum()))
    assert max(height for height, _ in sides) == 8 and len(sides) > 10
