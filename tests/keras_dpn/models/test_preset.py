import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_dpn import models
from keras_dpn.classes import Classes
from keras_dpn.models import (
    DPN,
    FCN,
    DeepLab,
    ParseNet,
    PiecewiseCRF,
    SpatialTemporalDPN,
    weights_file,
)
from keras_dpn.presets import Card
from keras_dpn.presets.source import find
from tests.keras_dpn.support import random, run

pytestmark = pytest.mark.tensorflow_only  # JAX compiles each of these networks for seconds

BACKBONE = {"fc6_kernel": 1, "fc_width": 32}
TINY = {"width": 0.03, "local_conv": {"window": 3}}
WITH_SKIPS = {**TINY, "backbone": {**BACKBONE, "skips": ("conv3",)}, "pairwise_stride": 4}
NETWORKS = {
    "dpn": lambda: DPN(3, **WITH_SKIPS),
    "clips": lambda: SpatialTemporalDPN(3, **TINY, backbone=BACKBONE, linking="static"),
    "deeplab": lambda: DeepLab("largefov", 3, width=0.03),
    "parsenet": lambda: ParseNet(3, width=0.03),
    "fcn": lambda: FCN(3, width=0.03, **BACKBONE),
    "piecewise": lambda: PiecewiseCRF(3, width=0.03, block6=((3, 4),), relations=("above",)),
}
CLASSES = Classes(("sky", "road", "car"), ((0, 0, 255), (90, 90, 90), (255, 0, 0)))


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("presets") / "mine"
    keras.utils.set_random_seed(1)
    NETWORKS["dpn"]().save_to_preset(directory, classes=CLASSES, card=Card(description="Mine"))
    return directory


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_comes_back_as_it_was(tmp_path, name):
    model = NETWORKS[name]()
    model.save_to_preset(tmp_path / name)
    loaded = models.from_preset(tmp_path / name)
    assert type(loaded) is type(model)
    assert [json.loads(json.dumps(m.get_config())) for m in (loaded, model)] == [
        json.loads((tmp_path / name / "config.json").read_text())["config"]
    ] * 2
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert type(type(model).from_preset(tmp_path / name)) is type(model)


def test_other_classes_keep_everything_but_classifier_and_contexts(preset):
    old, new = DPN.from_preset(preset), DPN.from_preset(preset, num_classes=5)
    assert new.num_classes == 5 and new.output.shape[-1] == 5
    for layer in old.layers:
        ours, theirs = layer.get_weights(), new.get_layer(layer.name).get_weights()
        if layer.name in ("b11", "b13"):
            assert [w.shape for w in ours] != [w.shape for w in theirs]
            continue
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_other_arguments_and_precision(preset):
    before = keras.config.dtype_policy().name
    model = DPN.from_preset(preset, dtype="mixed_bfloat16", num_iterations=3)
    assert keras.config.dtype_policy().name == before
    assert model.num_iterations == 3
    assert model.get_layer("b1_conv1").compute_dtype == "bfloat16"
    np.testing.assert_array_equal(
        model.get_layer("b11").get_weights()[0],
        DPN.from_preset(preset).get_layer("b11").get_weights()[0],
    )
    with pytest.raises(TypeError, match="num_iteration"):
        DPN.from_preset(preset, num_iteration=3)


def test_other_keys_of_a_group_keep_the_rest(preset):
    model = DPN.from_preset(preset, contexts={"mixtures": 2}, local_conv={"kernel": "gaussian"})
    assert model.contexts == {"window": 9, "mixtures": 2, "noise": 0.01}
    assert (model.local_conv["window"], model.local_conv["kernel"]) == (3, "gaussian")
    with pytest.warns(DeprecationWarning, match="`mixtures=`"):
        assert DPN.from_preset(preset, mixtures=3).contexts["mixtures"] == 3


@pytest.mark.filterwarnings("error::DeprecationWarning:keras_dpn")
def test_presets_of_0_1_have_flat_arguments():
    config = json.loads((find("dpn_scenes") / "config.json").read_text())["config"]
    assert config["triple_window"] == 7 and "local_conv" not in config
    model = models.from_preset("dpn_scenes", load_weights=False)
    assert model.local_conv["window"] == 7 and model.backbone["name"] == "large_fov"


def test_without_weights(preset):
    keras.utils.set_random_seed(2)
    trained, fresh = DPN.from_preset(preset), DPN.from_preset(preset, load_weights=False)
    assert fresh.get_config() == trained.get_config()
    kernels = [m.get_layer("b1_conv1").get_weights()[0] for m in (trained, fresh)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0


def test_a_run_is_a_preset_too(tmp_path):
    model, image = NETWORKS["dpn"](), random(1, 9, 13, 3, high=255)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(DPN.from_preset(tmp_path), image), run(model, image))
    assert DPN.from_preset(tmp_path, num_classes=4).num_classes == 4


def test_another_class_is_refused(preset, tmp_path):
    with pytest.raises(ValueError, match="expected a network of class FCN, received DPN"):
        FCN.from_preset(preset)
    copy = tmp_path / "copy"
    shutil.copytree(preset, copy)
    config = json.loads((copy / "config.json").read_text())
    for name in ("keras_dpn>Nothing", None, "os.system", "keras_dpn>IdentityContexts"):
        (copy / "config.json").write_text(json.dumps(config | {"registered_name": name}))
        metadata = json.loads((copy / "metadata.json").read_text())
        metadata["sha256"].pop("config.json", None)
        (copy / "metadata.json").write_text(json.dumps(metadata))
        with pytest.raises(ValueError, match="expected a network of class Model, received"):
            models.from_preset(copy)


def test_damaged_weights_are_refused(preset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(preset, copy)
    weights = copy / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.weights.h5: expected SHA-256"):
        models.from_preset(copy)


@pytest.mark.parametrize("content", [[], {}, {"config": 3}, {"config": {"units": 3}}])
def test_a_configuration_that_is_none_names_the_file(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(content))
    with pytest.raises(ValueError, match="model.keras: expected the file|received None"):
        models.from_preset(tmp_path)


def test_a_configuration_that_unpacks_to_too_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 2**22)
    with pytest.raises(ValueError, match="config.json inside would take 4194304 bytes"):
        models.from_preset(tmp_path)


def test_a_small_tensor_in_a_huge_chunk_is_refused(preset, tmp_path, monkeypatch):
    monkeypatch.setattr(weights_file, "_SMALL_BYTES", 2**22)
    copy = tmp_path / "copy"
    shutil.copytree(preset, copy)
    with h5py.File(copy / "model.weights.h5", "a") as file:
        file.create_dataset("x", data=np.zeros(3), maxshape=(None,), chunks=(2**20,), compression=9)
    metadata = json.loads((copy / "metadata.json").read_text())
    (copy / "metadata.json").write_text(json.dumps(metadata | {"sha256": {}}))
    with pytest.raises(ValueError, match=r"model.weights.h5: x would take 8388608 bytes"):
        models.from_preset(copy)


def test_presets_of_a_class():
    assert "dpn_scenes" in DPN.presets and DPN.presets["dpn_scenes"].miou > 80
    assert FCN.presets == {}


def test_load_pretrained_takes_presets_and_runs(preset, tmp_path):
    trained = DPN.from_preset(preset)
    trained.save(tmp_path / "model.keras")
    for source in (preset, tmp_path):
        model = DPN(4, **WITH_SKIPS)
        report = models.load_pretrained(model, str(source))
        assert {name.split("/")[0] for name in report.left} == {"b11", "b13"}
        for name in ("b1_conv1", "b10_conv3", "b12"):
            for a, b in zip(
                model.get_layer(name).get_weights(),
                trained.get_layer(name).get_weights(),
                strict=True,
            ):
                np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="expected a preset .* or a finished training run"):
        (tmp_path / "empty").mkdir()
        models.load_pretrained(model, tmp_path / "empty")
