import json

import keras
import numpy as np
import pytest
from PIL import Image

from training.cli import main


@pytest.fixture
def network(tmp_path):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 5, padding="same", strides=4, name="near")(image)
    x = keras.layers.Multiply(name="far")((x, keras.layers.GlobalMaxPooling2D(keepdims=True)(x)))
    keras.Model(image, x).save(tmp_path / "network.keras")
    return tmp_path / "network.keras"


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def measure(network, image, out, *options):
    arguments = [network, image, "--out", out, *options]
    return main(["receptive-field", *map(str, arguments)])


def test_writes_the_map_and_the_numbers(network, image, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    options = ["--layer", "near", "--patch", 3, "--stride", 2]
    assert measure(network, image, out, *options) == 0
    assert {path.name for path in out.iterdir()} == {"near.png", "near.json"}
    shown = np.asarray(Image.open(out / "near.png"))
    assert shown.ndim == 3 and shown.std() > 10
    found = json.loads((out / "near.json").read_text())
    assert (found["map_size"], found["unit"]) == ([6, 8], [3, 4])
    assert found["theoretical_size"] == [5, 5] and found["unlimited"] == []
    top, left, bottom, right = found["box"]
    assert (bottom - top, right - left) == (5, 5)
    assert 0 < found["effective_share"] <= 1
    assert np.shape(found["changes"]) == (12, 16) and np.max(found["changes"]) > 0
    sees = [max(top, found["effective_box"][0]), min(bottom, found["effective_box"][2])]
    assert sees == [found["effective_box"][0], found["effective_box"][2]]
    assert "near: theoretical field 5x5 pixels" in capsys.readouterr().out


def test_a_run_with_a_layer_that_sees_the_whole_image(finished_run, image, tmp_path, capsys):
    out = tmp_path / "run"
    assert measure(finished_run, image, out, "--layer", "b8_conv3", "--stride", 16) == 0
    assert json.loads((tmp_path / "run" / "b8_conv3.json").read_text())["theoretical_size"] == [
        188,
        188,
    ]
    capsys.readouterr()
    network = keras.saving.load_model(finished_run / "model.keras", compile=False)
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="all")(network.input)
    keras.Model(network.input, pooled).save(tmp_path / "all.keras")
    assert measure(tmp_path / "all.keras", image, tmp_path / "all", "--layer", "all") == 0
    found = json.loads((tmp_path / "all" / "all.json").read_text())
    assert found["theoretical_size"] is None and found["box"] == [0, 0, 24, 32]
    printed = capsys.readouterr().out
    assert "note: all (GlobalAveragePooling2D) depends on the whole image" in printed
    assert "theoretical field the whole image" in printed


def test_mistakes_leave_nothing(network, image, tmp_path, capsys):
    out, none = tmp_path / "out", tmp_path / "none"
    for source, shown, options, message in (
        (f"{none}.keras", image, ["near"], "none.keras: expected a .keras file or the directory"),
        (network, image, ["fc7"], "`layer`: expected one of "),
        (network, f"{none}.png", ["near"], "none.png: no such file"),
        (network, image, ["near", "--threshold", 2.0], "`threshold`"),
    ):
        assert measure(source, shown, out, "--layer", *options) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()
