import keras
import numpy as np
import pytest
from PIL import Image

from keras_dpn.inference import InferenceSettings, predict_probabilities
from keras_dpn.io.images import read_image
from keras_dpn.segmentation import Segmentation
from keras_dpn.segmenter import Segmenter
from training.prediction.images import draw_heads, predict_images


@pytest.fixture
def sources(tmp_path):
    """Five images by name, the second of which is broken."""
    found = {}
    for i in range(5):
        path = tmp_path / f"{i}.png"
        pixels = np.random.default_rng(i).integers(0, 256, (8 + i, 9, 3), "uint8")
        Image.fromarray(pixels).save(path)
        found[f"deep/{i}"] = path
    found["deep/1"].write_bytes(b"no image")
    return found


def test_a_bad_file_stops_nothing_and_is_named_at_the_end(
    sources, small_scenes, tmp_path, messages
):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(11, 1)])
    out = tmp_path / "out"
    segmenter = Segmenter(model, small_scenes.classes, InferenceSettings(scales=(0.5, 1.0)))
    bad = predict_images(segmenter, sources, out, ("labels", "probabilities"))
    assert bad == [sources["deep/1"]]
    (message,) = messages().splitlines()
    assert message.startswith("skipped: ") and "1.png" in message
    for name in ("deep/0", "deep/2", "deep/3", "deep/4"):
        image = read_image(sources[name])
        expected = predict_probabilities(model, image, (0.5, 1.0))
        labels = np.asarray(Image.open(out / f"labels/{name}.png"))
        np.testing.assert_array_equal(labels, expected.argmax(axis=-1))
        with np.load(out / f"probabilities/{name}.npz") as archive:
            np.testing.assert_allclose(archive["probabilities"], expected, atol=1e-3)


@pytest.mark.parametrize("output", ["labels", "probabilities"])
def test_an_image_too_narrow_for_the_network_stops_nothing(sources, small_scenes, tmp_path, output):
    """Of one row, such as web pages have: resized to the network's size it has many pixels."""
    del sources["deep/1"]
    Image.new("RGB", (20_000, 1)).save(sources["deep/2"])
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(11, 1)])
    segmenter = Segmenter(model, small_scenes.classes, size=96)
    assert predict_images(segmenter, sources, tmp_path, (output,)) == [sources["deep/2"]]
    assert len(list((tmp_path / output).rglob("*.*"))) == 3
    with pytest.raises(ValueError, match="resized to a shorter side of 96"):
        segmenter.labels(np.zeros((1, 20_000, 3), "uint8"))


def test_draw_heads_shows_the_image_and_the_labels_of_each_head(small_scenes):
    classes = small_scenes.classes
    image = np.full((60, 80, 3), 77, "uint8")
    maps = {}
    for label, head in enumerate(("unary", "triple")):
        maps[head] = np.eye(classes.num_classes)[np.full((60, 80), label)]
    sheet = draw_heads(Segmentation(image, maps, classes))
    for color in ((77, 77, 77), classes.colors[0], classes.colors[1]):
        assert (sheet == color).all(axis=-1).sum() >= 60 * 80
