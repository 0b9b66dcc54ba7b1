import numpy as np
import pytest

from keras_dpn.inference.images import check_image, resize, size_of_shorter_side
from keras_dpn.limits import SizeError


def test_resizing_is_antialiased_and_keeps_positions():
    stripes = np.zeros((4, 16, 1), "float32")
    stripes[:, ::2] = 1
    small = resize(stripes, 4, 4)
    np.testing.assert_allclose(small, 0.5, atol=0.13)  # every 4th pixel alone would give 1
    ramp = np.tile(np.arange(16, dtype="float32")[None, :, None], (4, 1, 1))
    np.testing.assert_allclose(resize(ramp, 4, 8)[0, 2:-2, 0], np.arange(8)[2:-2] * 2 + 0.5)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-2.1, 2.6)])
def test_normalized_images_are_warned_of(low, high):
    image = np.random.default_rng(0).uniform(low, high, (4, 5, 3))
    with pytest.warns(UserWarning, match=r"fractions from .* where numbers from 0 to 255"):
        check_image(image)


@pytest.mark.filterwarnings("error")
def test_dark_images_and_other_channels_are_not():
    rng = np.random.default_rng(0)
    check_image(rng.integers(0, 3, (4, 5, 3)).astype("float32"))
    check_image(np.zeros((4, 5, 3), "float32"))
    check_image(rng.uniform(0, 255, (4, 5, 3)))
    check_image(rng.uniform(0, 1, (4, 5, 4)), channels=4)


def test_grey_arrays_are_told_what_to_do():
    with pytest.raises(ValueError, match=r"received shape \(4, 5\)\. .*np.stack\(\[image\] \* 3"):
        check_image(np.zeros((4, 5), "uint8"))


def test_narrow_images_are_not_enlarged_without_limit():
    assert size_of_shorter_side(90, 400, 360, 10**8) == (360, 1600)
    assert size_of_shorter_side(500, 4000, 1024, 10**8) == (1024, 8192)
    with pytest.raises(SizeError, match="500 x 1 pixels are too narrow .* 180000 x 360 pixels"):
        size_of_shorter_side(1, 500, 360, 10**8)
    with pytest.raises(SizeError, match="see `max_pixels`"):
        size_of_shorter_side(90, 400, 360, 10_000)
