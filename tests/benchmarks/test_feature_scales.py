import json

import keras
import numpy as np
import pytest

from benchmarks.feature_scales import feature_norms, main
from training.rundir.models import load_model


def test_norms_are_those_of_the_features(finished_run, small_scenes):
    model = load_model(finished_run)
    norms = feature_norms(model, small_scenes, "val", 2)
    sizes = {name: values.size for name, values in norms.items()}
    assert sizes == {"conv3_3": 384, "conv4_3": 96, "conv5_3": 96, "fc7": 96, "pool6": 2}
    image = small_scenes.read(small_scenes.splits["val"][0])[0]
    features = keras.Model(model.input, model.get_layer("b10").output)(image[None])
    np.testing.assert_allclose(
        norms["fc7"][:48], np.linalg.norm(np.reshape(features, (48, -1)), axis=1), rtol=1e-4
    )
    pooled = np.linalg.norm(np.mean(features, axis=(0, 1, 2)))
    np.testing.assert_allclose(norms["pool6"][0], pooled, rtol=1e-4)


def test_writes_table_numbers_and_plot(finished_run, tmp_path, capsys):
    main(finished_run, dataset="scenes", split="test", images=1, out=tmp_path / "out")
    found = json.loads((tmp_path / "out" / "feature_scales.json").read_text())
    assert (found["dataset"], found["split"], found["images"]) == ("scenes", "test", 1)
    assert list(found["norms"]) == ["conv3_3", "conv4_3", "conv5_3", "fc7", "pool6"]
    for row in found["norms"].values():
        assert 0 <= row["lower_quartile"] <= row["median"] <= row["upper_quartile"]
    assert (tmp_path / "out" / "feature_scales.png").read_bytes()[1:4] == b"PNG"
    assert "conv5_3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either the directory of a run or --weights"),
        ({"weights": "vgg16.h5"}, "name a --dataset"),
        ({"weights": "none.h5", "dataset": "scenes"}, "none.h5"),
    ],
)
def test_mistakes(options, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        main(**options, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_networks_are_refused(small_scenes):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 1, name="b10")(image))
    with pytest.raises(ValueError, match="VGG16 backbone"):
        feature_norms(model, small_scenes, "val", 1)
