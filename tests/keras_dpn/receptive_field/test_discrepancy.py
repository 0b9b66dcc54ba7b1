import keras
import numpy as np
import pytest
from keras import layers

from keras_dpn.receptive_field import discrepancy_map, effective_field, theoretical_field


def small_network():
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", strides=2, name="conv")(image)
    x = layers.Conv2D(2, 3, padding="same", name="top")(x)
    return keras.Model(image, x)


def test_a_patch_changes_the_unit_within_its_field_alone():
    model, size = small_network(), (30, 40)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    box = theoretical_field(model, "top", (7, 9), size).box(size)
    everywhere = discrepancy_map(model, "top", image, (7, 9), patch=3, stride=2)
    within = discrepancy_map(model, "top", image, (7, 9), patch=3, stride=2, within=box)
    assert everywhere.shape == (15, 20) and everywhere.dtype == np.float32
    np.testing.assert_allclose(everywhere, within, atol=1e-4)
    y, x = np.indices(everywhere.shape) * 2 + 1
    top, left, bottom, right = box
    touched = (y + 2 > top) & (y - 1 < bottom) & (x + 2 > left) & (x - 1 < right)
    np.testing.assert_array_equal(everywhere > 1e-3, touched)
    one = discrepancy_map(model, "top", image, (7, 9), channel=1, patch=3, stride=2, batch_size=7)
    assert (one <= everywhere + 1e-4).all() and one.max() > 0


def test_a_covered_image_worked_out_by_hand():
    """A unit that adds up the image changes by what the patch adds to it."""
    image = keras.Input((4, 4, 1))
    total = layers.Conv2D(1, 4, kernel_initializer="ones", name="top")(image)
    pixels = np.arange(16, dtype="float32").reshape(4, 4, 1)
    batches = []
    settings = {"patch": 2, "stride": 2, "batch_size": 3}
    model = keras.Model(image, total)
    found = discrepancy_map(
        model, "top", pixels, (0, 0), progress=lambda x: batches.extend(x) or x, **settings
    )
    noise = np.random.default_rng(0).uniform(0, 15, (2, 2, 1))
    expected = [
        [abs(noise.sum() - pixels[y : y + 2, x : x + 2].sum()) for x in (0, 2)] for y in (0, 2)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert [len(batch) for batch in batches] == [3, 1]


def test_the_effective_field_is_a_fraction_of_the_theoretical():
    changes = np.zeros((4, 5))
    changes[1:3, 1:4] = 1.0
    changes[1, 1] = 0.05
    seen, fraction = effective_field(changes, (0, 0, 30, 40), stride=8, threshold=0.1)
    assert seen.sum() == 5 and fraction == pytest.approx(5 * 64 / (30 * 40))
    assert effective_field(changes, (8, 16, 24, 32), stride=8)[1] == 1.0
    with pytest.raises(ValueError, match="dead"):
        effective_field(np.zeros((2, 2)), (0, 0, 4, 4), 2)
    with pytest.raises(ValueError, match="`threshold`"):
        effective_field(changes, (0, 0, 4, 4), 8, threshold=1.0)
    with pytest.raises(ValueError, match="`box`: no pixel"):
        effective_field(changes, (4, 0, 4, 4), 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "fc7"}, "`layer`: expected one of .*image, conv, top; received 'fc7'"),
        ({"unit": (0, 20)}, "`unit`: expected row and column of a map of 15x20"),
        ({"channel": 2}, "`channel`: expected 0 to 1 of layer 'top', received 2"),
        ({"patch": 0}, "`patch`"),
        ({"image": np.zeros((30, 40))}, r"`image`: expected shape \(H, W, C\)"),
    ],
)
def test_refuses(change, message):
    arguments = {"layer": "top", "image": np.zeros((30, 40, 3)), "unit": (0, 0)} | change
    with pytest.raises(ValueError, match=message):
        discrepancy_map(small_network(), **arguments)
