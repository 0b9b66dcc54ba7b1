import json

import keras
import numpy as np
import pytest
from PIL import Image

from training.analysis.receptive_field import main


@pytest.fixture
def network(tmp_path):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 5, padding="same", strides=4, name="near")(image)
    x = keras.layers.Multiply(name="far")((x, keras.layers.GlobalMaxPooling2D(keepdims=True)(x)))
    keras.Model(image, x).save(tmp_path / "network.keras")
    return tmp_path / "network.keras"


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_writes_the_map_and_the_numbers(network, picture, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    main(network, picture, layer="near", out=out, patch=3, stride=2)
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
    assert "near: in theory 5x5 pixels" in capsys.readouterr().out


def test_a_run_with_a_layer_that_sees_the_whole_image(finished_run, picture, tmp_path, capsys):
    main(finished_run, picture, layer="b8_conv3", out=tmp_path / "run", stride=16)
    assert json.loads((tmp_path / "run" / "b8_conv3.json").read_text())["theoretical_size"] == [
        188,
        188,
    ]
    capsys.readouterr()
    network = keras.saving.load_model(finished_run / "model.keras", compile=False)
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="all")(network.input)
    keras.Model(network.input, pooled).save(tmp_path / "all.keras")
    main(tmp_path / "all.keras", picture, layer="all", out=tmp_path / "all", stride=8)
    found = json.loads((tmp_path / "all" / "all.json").read_text())
    assert found["theoretical_size"] is None and found["box"] == [0, 0, 24, 32]
    printed = capsys.readouterr().out
    assert "note: all (GlobalAveragePooling2D) looks at the whole image" in printed
    assert "in theory the whole image" in printed


def test_mistakes_leave_nothing(network, picture, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="none.keras: expected a .keras file or the directory"):
        main(tmp_path / "none.keras", picture, layer="near", out=out)
    with pytest.raises(ValueError, match="`layer`: expected one of .*near.*; received 'fc7'"):
        main(network, picture, layer="fc7", out=out)
    with pytest.raises(ValueError, match="none.png: no such file"):
        main(network, tmp_path / "none.png", layer="near", out=out)
    with pytest.raises(ValueError, match="`threshold`"):
        main(network, picture, layer="near", out=out, threshold=2.0)
    assert not out.exists()
