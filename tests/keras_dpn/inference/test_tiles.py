import keras
import numpy as np
import pytest

from keras_dpn import inference
from keras_dpn.inference import InferenceSettings, Predictor, tiles
from keras_dpn.layers import MeanFieldCRF, Resize
from keras_dpn.models import FCN
from keras_dpn.models.staged import StagedModel


def picture(height, width, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


def near_sighted():
    """A network that sees nine pixels in each direction, with cells of two pixels."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.Rescaling(1 / 64)(image))
    x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.Conv2D(3, 3, dilation_rate=3, padding="same")(x)
    return keras.Model(image, Resize(factor=2)((x, image)))


@pytest.mark.parametrize(
    ("size", "flip"),
    [pytest.param((150, 193), False, marks=pytest.mark.tensorflow_only), ((40, 300), True)],
)
def test_a_network_that_sees_less_than_the_margin_answers_as_on_the_whole_image(size, flip):
    model, image = near_sighted(), picture(*size)
    whole = inference.predict_probabilities(model, image, horizontal_flip=flip)
    tiled = inference.predict_probabilities(model, image, horizontal_flip=flip, tile=96, overlap=32)
    assert np.ptp(whole) > 0.5
    np.testing.assert_allclose(tiled, whole, atol=2e-5)
    labels = inference.predict_labels(model, image, horizontal_flip=flip, tile=96, overlap=32)
    np.testing.assert_array_equal(labels, tiled.argmax(axis=-1))


def test_scales_models_and_heads_go_with_tiles():
    image = keras.Input((None, None, 3))
    first, second = (keras.layers.Conv2D(3, 1, name=name)(image) for name in "ab")
    model = StagedModel(image, {"a": first, "final": second}, {"name": "two_heads"})
    pixels = np.float32(picture(100, 170) / 64)
    options = {"scales": (0.5, 1.0), "horizontal_flip": True}
    whole, tiled = (
        Predictor([model] * 2, InferenceSettings(**options | more), heads="all").probabilities(
            pixels
        )
        for more in ({}, {"tile": 64, "overlap": 32})
    )
    for name in ("a", "final"):
        np.testing.assert_allclose(tiled[name], whole[name], atol=1e-5)


@pytest.mark.tensorflow_only
def test_cells_of_a_tile_are_cells_of_the_whole_image():
    """A network of stride 32: the middle of a tile that begins at a multiple of it."""
    model = FCN(3, skips=("fc7", "pool4"), width=0.05, fc6_kernel=1, fc_width=64)
    image = picture(448, 480)
    whole = inference.predict_probabilities(model, image)
    tile = inference.predict_probabilities(model, image[32:416, 64:448])
    middle = np.s_[176:208, 176:208]
    assert np.ptp(whole) > 0.01
    np.testing.assert_allclose(tile[middle], whole[32:416, 64:448][middle], atol=1e-5)


@pytest.mark.parametrize("size", [(64, 65), (500, 64), (161, 1000), (31, 400), (700, 233)])
def test_pieces_cover_the_image_once_and_weights_sum_to_one(size):
    seen, covered, image = [], np.zeros(size, int), np.zeros((*size, 1))
    image[..., 0] = np.arange(size[0])[:, None] * size[1] + np.arange(size[1])

    def look(part):
        seen.append((*np.divmod(int(part[0, 0, 0]), size[1]), *part.shape[:2]))
        return [np.ones((*part.shape[:2], 2), "float32"), part.astype("float32")]

    for rows, columns, (ones, numbers) in tiles.predict_tiles(look, image, tile=96, overlap=32):
        covered[rows, columns] += 1
        np.testing.assert_allclose(ones, 1, rtol=1e-6)
        np.testing.assert_allclose(numbers, image[rows, columns], rtol=1e-6)
    assert (covered == 1).all()
    assert len(seen) == 1 or all(
        top % 32 == left % 32 == 0 and height <= 96 and width <= 96
        for top, left, height, width in seen
    )


def test_images_up_to_the_tiles_area_are_looked_at_whole():
    # Of a single row 64 count: such images take as much memory.
    for size, count in (
        ((96, 96), 1),
        ((36, 256), 1),
        ((97, 96), 2),
        ((1, 1024), 1),
        ((1, 1100), 17),
    ):
        found = list(tiles.predict_tiles(lambda part: [part], np.zeros((*size, 1)), 96, 32))
        assert len(found) == count


@pytest.mark.tensorflow_only
def test_the_side_follows_from_the_largest_map():
    image = keras.Input((None, None, 3))
    wide = keras.layers.Conv2D(64, 3, padding="same")(image)
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(wide))
    tile = 3 * 4 * (3 + 2)  # it and its probabilities
    assert tiles.bytes_per_pixel(model) == 4 * 4 * 64 + tile
    budget = (4 * 4 * 64 + tile) * 1024**2
    assert tiles.side_for_memory(model, budget) == 1024
    assert tiles.side_for_memory(model, budget - 1) == 1024 - 32
    assert tiles.side_for_memory(model, budget, scales=(0.5, 2.0)) == 512
    small = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    assert tiles.side_for_memory([small, model], budget) == 1024
    nested = keras.Model(image, keras.layers.Softmax()(model(image)))
    assert tiles.bytes_per_pixel(nested) == tiles.bytes_per_pixel(model)
    logits = keras.layers.Conv2D(10, 1)(wide)
    field = keras.Model(image, MeanFieldCRF(num_iterations=1)((logits, image)))
    lattice = 3 * 10 + 128
    assert tiles.bytes_per_pixel(field) == 4 * 4 * lattice + 3 * 4 * (3 + 10)
    bands = keras.Sequential([keras.Input((None, None, 5)), keras.layers.Conv2D(8, 1)])
    assert tiles.bytes_per_pixel(bands) == 4 * 4 * 8 + 3 * 4 * (5 + 8)


def test_what_does_not_fit_is_refused():
    model, image = near_sighted(), picture(100, 100)
    for tile in (100, 32, 0, 96.5):
        with pytest.raises(ValueError, match="`tile`: expected a multiple of 32 of at least .* 64"):
            inference.predict_labels(model, image, tile=tile, overlap=32)
    for overlap in (0, 40, -32):
        with pytest.raises(ValueError, match="`overlap`: expected a multiple of 32 from 32 up"):
            inference.predict_labels(model, image, tile=96, overlap=overlap)
    with pytest.raises(ValueError, match=r"`memory`: expected 0.0\d GiB or more, for .* 512x512"):
        tiles.side_for_memory(model, 1000)
    with pytest.raises(ValueError, match="expected a functional model of images"):
        tiles.side_for_memory(keras.Sequential([keras.layers.Conv2D(3, 1)]), 2**30)
