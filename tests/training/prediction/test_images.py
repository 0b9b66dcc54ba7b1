import os

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from keras_dpn.inference import InferenceSettings, predict_probabilities
from keras_dpn.io.images import read_image
from keras_dpn.segmenter import Segmentation, Segmenter
from training.prediction.images import (
    SETTINGS,
    draw_stages,
    keep_settings,
    label_pictures,
    without_done,
)


@pytest.fixture
def sources(tmp_path):
    """Five pictures by name, the second of which is broken."""
    found = {}
    for i in range(5):
        path = tmp_path / f"{i}.png"
        pixels = np.random.default_rng(i).integers(0, 256, (8 + i, 9, 3), "uint8")
        Image.fromarray(pixels).save(path)
        found[f"deep/{i}"] = path
    found["deep/1"].write_bytes(b"no picture")
    return found


def test_a_bad_file_stops_nothing_and_is_named_at_the_end(sources, small_scenes, tmp_path, capfd):
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(11, 1)])
    out, console = tmp_path / "out", Console(stderr=True)
    segmenter = Segmenter(model, small_scenes.classes, InferenceSettings(scales=(0.5, 1.0)))
    kinds = ("labels", "probabilities")
    bad = label_pictures(segmenter, sources, out, kinds, console=console)
    assert bad == [sources["deep/1"]]
    assert "skipped" in capfd.readouterr().err.splitlines()[-1]
    for name in ("deep/0", "deep/2", "deep/3", "deep/4"):
        image = read_image(sources[name])
        expected = predict_probabilities(model, image, (0.5, 1.0))
        labels = np.asarray(Image.open(out / f"labels/{name}.png"))
        np.testing.assert_array_equal(labels, expected.argmax(axis=-1))
        with np.load(out / f"probabilities/{name}.npz") as archive:
            np.testing.assert_allclose(archive["probabilities"], expected, atol=1e-3)


def test_pictures_are_done_that_have_every_result_since_the_settings(tmp_path):
    out, sources = tmp_path, {name: tmp_path / name for name in "abc"}
    keep_settings(out, {"scales": [1.0]}, resume=False)
    since = (out / SETTINGS).stat().st_mtime
    for kind, name, age in (("labels", "a", -9), ("labels", "b", 9), ("overlays", "a", -9)):
        path = out / kind / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (since - age, since - age))
    assert list(without_done(sources, out, ["labels"])) == ["b", "c"], "b is of an earlier run"
    assert list(without_done(sources, out, ["labels", "overlays"])) == ["b", "c"]
    assert list(without_done(sources, out, ["labels", "stages"])) == ["a", "b", "c"]


def test_settings_are_kept_as_they_were(tmp_path):
    keep_settings(tmp_path, {"scales": [1.0], "horizontal_flip": True}, resume=True)
    before = (tmp_path / SETTINGS).stat().st_mtime_ns
    keep_settings(tmp_path, {"scales": [1.0], "horizontal_flip": True}, resume=True)
    assert (tmp_path / SETTINGS).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="predict.json: .* with another horizontal_flip"):
        keep_settings(tmp_path, {"scales": [1.0], "horizontal_flip": False}, resume=True)
    keep_settings(tmp_path, {"scales": [1.0], "horizontal_flip": False}, resume=False)


def test_draw_stages_shows_the_image_and_each_stages_labels(small_scenes):
    classes = small_scenes.classes
    image = np.full((60, 80, 3), 77, "uint8")
    maps = {}
    for label, stage in enumerate(("unary", "triple")):
        maps[stage] = np.eye(classes.num_classes)[np.full((60, 80), label)]
    sheet = draw_stages(Segmentation(image, maps, classes))
    for color in ((77, 77, 77), classes.colors[0], classes.colors[1]):
        assert (sheet == color).all(axis=-1).sum() >= 60 * 80
