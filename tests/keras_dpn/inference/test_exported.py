import json

import numpy as np
import pytest

from keras_dpn import Classes, Segmenter
from keras_dpn.export import export
from keras_dpn.inference import InferenceSettings
from keras_dpn.inference.exported import exported_version
from keras_dpn.limits import SizeError

tf = pytest.importorskip("tensorflow")

from tests.keras_dpn.export.test_saved_model import CLASSES, pictures, small_model  # noqa: E402

pytestmark = pytest.mark.tensorflow_only


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network, exported with and without probabilities."""
    folder, model = tmp_path_factory.mktemp("exported"), small_model()
    settings = {"classes": CLASSES, "warmup": None, "max_pixels": 5000}
    export(model, folder / "all", outputs=["labels", "probabilities"], **settings)
    export(model, folder / "labels", **settings)
    return model, folder


def test_results_are_the_networks(exported):
    model, folder = exported
    image = pictures(9, 12)
    here = Segmenter(model, Classes.from_json(CLASSES), InferenceSettings(horizontal_flip=True))
    there = Segmenter.from_export(folder / "all", horizontal_flip=True)
    assert there.classes == here.classes
    expected, found = here(image), there(image)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected.labels)
    plain = Segmenter(model, here.classes)(image).labels
    np.testing.assert_array_equal(Segmenter.from_export(folder / "labels/1")(image).labels, plain)
    frames = list(there.video([image, image[::-1]]))
    np.testing.assert_array_equal(frames[0].labels, expected.labels)


def test_an_export_of_labels_alone_has_no_probabilities(exported):
    _, folder = exported
    options = ({"horizontal_flip": True}, {"scales": (2.0,)}, {"crf": {}})
    for option in options:
        Segmenter.from_export(folder / "all", **option)
        with pytest.raises(ValueError, match="labels/1: .* Export it with the output `probabil"):
            Segmenter.from_export(folder / "labels", **option)


def test_limits_are_those_of_the_export(exported):
    segmenter = Segmenter.from_export(exported[1] / "all")
    assert segmenter.max_pixels == 5000
    with pytest.raises(SizeError, match="101 x 50 pixels are too many"):
        segmenter(pictures(50, 101))
    assert Segmenter.from_export(exported[1] / "all", max_pixels=80).max_pixels == 80


def test_the_limit_counts_at_the_largest_scale(exported):
    segmenter = Segmenter.from_export(exported[1] / "all", scales=(0.5, 2.0))
    assert segmenter.max_pixels == 1250
    assert segmenter(pictures(25, 50)).labels.shape == (25, 50)
    with pytest.raises(SizeError, match="51 x 25 pixels are too many"):
        segmenter(pictures(25, 51))


def test_a_model_that_resizes_images_has_no_scales(exported, tmp_path):
    settings = {"outputs": ["probabilities"], "classes": CLASSES, "warmup": None}
    export(exported[0], tmp_path, shorter_side=8, **settings)
    assert Segmenter.from_export(tmp_path)(pictures(9, 12)).labels.shape == (9, 12)
    with pytest.raises(ValueError, match="expected scales of 1.0, since the model resizes"):
        Segmenter.from_export(tmp_path, scales=(1.0, 2.0))


def test_the_limit_counts_at_the_size_that_the_model_sees(exported, tmp_path):
    settings = {"classes": CLASSES, "warmup": None, "max_pixels": 70_000}
    export(exported[0], tmp_path, shorter_side=64, **settings)
    segmenter = Segmenter.from_export(tmp_path)
    with pytest.raises(SizeError, match="a shorter side of 64, 2560 x 64 pixels are too many"):
        segmenter(pictures(10, 400))
    assert segmenter.labels(pictures(10, 12)).shape == (10, 12)


def test_a_presets_name_is_no_directory(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dpn_scenes").symlink_to(exported[1] / "all")  # a program
    assert exported_version("dpn_scenes") is None
    assert exported_version(tmp_path / "dpn_scenes") is not None


@pytest.mark.parametrize("name", ["model.keras", "metadata.json"])
def test_a_run_or_a_preset_that_holds_an_export_is_no_export(tmp_path, name):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").touch()
    assert exported_version(tmp_path) == tmp_path / "1"
    (tmp_path / name).touch()
    assert exported_version(tmp_path) is None
    assert exported_version(tmp_path / "1") == tmp_path / "1"


def test_what_is_no_such_export_is_named(exported, tmp_path):
    model, folder = exported
    assert exported_version(folder / "all") == exported_version(folder / "all/1")
    with pytest.raises(ValueError, match="expected an exported model, received none"):
        Segmenter.from_export(tmp_path)
    nameless = export(model, tmp_path / "nameless", warmup=None)
    with pytest.raises(ValueError, match="model.json: names no classes"):
        Segmenter.from_export(tmp_path / "nameless")
    facts = json.loads((nameless / "model.json").read_text())
    (nameless / "model.json").write_text(json.dumps(facts | {"classes": CLASSES, "frames": 3}))
    with pytest.raises(ValueError, match="expected a network of images, received one of clips"):
        Segmenter.from_export(nameless)
    for other in ([], {"classes": CLASSES}):
        (nameless / "model.json").write_text(json.dumps(other))
        with pytest.raises(ValueError, match=r"model.json: expected what .*export` writes"):
            Segmenter.from_export(nameless)
    (nameless / "model.json").write_text("{")
    with pytest.raises(ValueError, match=r"model.json: can't be read .* Export again"):
        Segmenter.from_export(nameless)
