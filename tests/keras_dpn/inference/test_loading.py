import json

import numpy as np
import pytest

from keras_dpn.classes import Classes
from keras_dpn.inference.loading import load_trained
from keras_dpn.models import DPN
from keras_dpn.presets.files import Card, write_preset

pytestmark = pytest.mark.tensorflow_only  # files need no second backend

CLASSES = Classes(("sky", "road", "car"), ((0, 0, 255), (90, 90, 90), (255, 0, 0)), ignore=7)


@pytest.fixture(scope="module")
def model():
    backbone = {"name": "large_fov", "fc6_kernel": 1, "fc_width": 8}
    return DPN(3, width=0.02, backbone=backbone, pairwise=None)


def write_run(model, directory, classes=CLASSES):
    """What a finished run leaves of its network."""
    directory.mkdir()
    model.save(directory / "model.keras")
    (directory / "classes.json").write_text(json.dumps(classes.to_json()))
    return directory


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    return write_run(model, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def preset(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("presets") / "preset"
    card = Card(description="streets", size=24, lowest_confidence=0.625)
    write_preset(model, directory, classes=CLASSES, card=card)
    return directory


def compute_dtypes(trained):
    return [network.get_layer("b1_conv1").compute_dtype for network in trained.models]


def assert_same_weights(network, model):
    for found, expected in zip(network.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_run_says_its_classes_alone(run, model):
    trained = load_trained([str(run)])
    assert_same_weights(*trained.models, model)
    assert trained.classes == CLASSES
    assert (trained.size, trained.lowest_confidence, trained.description) == (None, None, "")


def test_a_preset_says_what_is_known_of_it(preset, model):
    trained = load_trained([preset])
    assert_same_weights(*trained.models, model)
    assert trained.classes == CLASSES
    assert (trained.size, trained.lowest_confidence) == (24, 0.625)
    assert trained.description == "streets"


def test_several_are_loaded_in_order_and_the_first_one_is_described(run, preset, model, tmp_path):
    backbone = {"name": "large_fov", "fc6_kernel": 1, "fc_width": 16}
    other = DPN(3, width=0.02, backbone=backbone, pairwise=None)
    painted = Classes(CLASSES.names, ((1, 1, 1), (2, 2, 2), (3, 3, 3)), CLASSES.ignore)
    trained = load_trained([preset, run, write_run(other, tmp_path / "other", painted)])
    for network, expected in zip(trained.models, (model, model, other), strict=True):
        assert_same_weights(network, expected)
    assert (trained.classes, trained.size) == (CLASSES, 24)
    assert load_trained([run, preset]).size is None


def test_all_compute_in_the_precision_that_is_asked_for(run, preset, model):
    trained = load_trained([run, preset], "mixed_bfloat16")
    assert compute_dtypes(trained) == 2 * ["bfloat16"]
    for network in trained.models:
        assert_same_weights(network, model)
        assert network.get_layer("b11").compute_dtype == "float32"
    assert compute_dtypes(load_trained([run, preset])) == 2 * ["float32"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (Classes(CLASSES.names, CLASSES.colors, 254), r"ignore label 7\).*ignore label 254"),
        (Classes(("sky", "car", "road"), CLASSES.colors, 7), "sky, road, car .*sky, car, road"),
    ],
)
def test_networks_of_other_classes_are_refused(run, model, tmp_path, classes, message):
    other = write_run(model, tmp_path / "other", classes)
    with pytest.raises(ValueError, match=f"{run} has .*{message}.*can't be averaged"):
        load_trained([run, run, other])


def test_what_is_not_there_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="Expected a preset or a training run, received none"):
        load_trained([])
    with pytest.raises(ValueError, match="none: no such directory, and no preset"):
        load_trained([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: expected a preset .* or a finished training run"):
        load_trained([tmp_path / "empty"])
    write_preset(model, tmp_path / "nameless")
    with pytest.raises(ValueError, match="nameless: expected a classes.json"):
        load_trained([tmp_path / "nameless"])
    write_run(model, tmp_path / "odd")
    (tmp_path / "odd" / "classes.json").write_text('{"names": ["a"]}')
    with pytest.raises(ValueError, match="names"):
        load_trained([tmp_path / "odd"])


def test_a_network_of_more_classes_than_names_is_refused(model, tmp_path):
    fewer = Classes(CLASSES.names[:2], CLASSES.colors[:2])
    run = write_run(model, tmp_path / "run", fewer)
    with pytest.raises(ValueError, match=f"{run}: its classes.json names 2 classes, its network"):
        load_trained([run])
