import json

import h5py
import keras
import numpy as np
import pytest

from keras_dpn.classes import Classes
from keras_dpn.models import DPN, FCN
from keras_dpn.presets import Card, files, write_preset
from keras_dpn.presets.files import check_files, read_metadata

CLASSES = Classes(("sky", "road", "car"), ((0, 0, 255), (90, 90, 90), (255, 0, 0)))
CARD = Card(description="Streets", miou=71.5, size=360, lowest_confidence=0.6, text="# Streets\n")


BACKBONE = {"fc6_kernel": 1, "fc_width": 32}


def tiny():
    return DPN(3, width=0.03, backbone=BACKBONE)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("presets") / "street"
    write_preset(tiny(), directory, classes=CLASSES, card=CARD, weights_dtype="float16")
    return directory


def test_keras_reads_it_too(tmp_path):
    model = tiny()
    write_preset(model, tmp_path / "mine", classes=CLASSES, card=CARD)
    loaded = keras.saving.load_model(tmp_path / "mine")
    assert type(loaded) is DPN
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_keras_reads_narrow_weights_into_float32(preset):
    with h5py.File(preset / "model.weights.h5") as file:
        kernel = file["layers/conv2d/vars/0"]
        assert kernel.dtype == "float16"
        expected = kernel[()].astype("float32")
    loaded = keras.saving.load_model(preset)
    assert loaded.get_layer("b1_conv1").kernel.dtype == "float32"
    np.testing.assert_array_equal(loaded.get_layer("b1_conv1").get_weights()[0], expected)


def test_int8_kernels_are_off_by_half_a_step(tmp_path):
    model = tiny()
    kernel = model.get_layer("b13").kernel
    kernel.assign(kernel * np.array([0, 1e-6] + [1] * 13))
    write_preset(model, tmp_path / "a", weights_dtype="int8")
    loaded = keras.saving.load_model(tmp_path / "a")
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        axes = tuple(range(ours.ndim - 1))
        half = np.abs(ours).max(axes, initial=0) / 127 if axes else 0  # a step is at most double
        assert (np.abs(ours - theirs) <= half + 2**-11 * np.abs(ours) + 2**-25).all()
    values = loaded.get_layer("b13").get_weights()[0]
    assert not values[..., 0].any() and values[..., 1].any()
    assert all(len(np.unique(values[..., channel])) < 256 for channel in range(15))
    with h5py.File(tmp_path / "a/model.weights.h5") as file:
        stored = max(map(file.get, names(file)), key=lambda item: item.size)
        assert stored.dtype == "float16" and stored.id.get_storage_size() < 0.8 * stored.nbytes


def names(file):
    found = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "dtype") else None)
    return found


def test_metadata_names_what_is_there(preset):
    metadata = read_metadata(preset)
    assert metadata["network"] == "DPN" and metadata["keras_version"] == keras.__version__
    assert metadata["parameters"] == tiny().count_params()
    assert metadata["weights_dtype"] == "float16"
    facts = ("description", "miou", "size", "lowest_confidence")
    assert [metadata[key] for key in facts] == ["Streets", 71.5, 360, 0.6]
    there = {path.name for path in preset.iterdir()}
    assert set(metadata["sha256"]) == there - {"metadata.json"}
    assert there == {*metadata["sha256"], "metadata.json"} and "classes.json" in there
    assert (preset / "README.md").read_text() == "# Streets\n"


@pytest.mark.parametrize("name", ["model.weights.h5", "config.json", "classes.json", "README.md"])
def test_changed_and_missing_files_are_found(preset, tmp_path, name):
    for path in preset.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    check_files(tmp_path, read_metadata(tmp_path))
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: expected SHA-256 .*, received .*copy the pres"):
        check_files(tmp_path, read_metadata(tmp_path))
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name}: the preset lacks this file"):
        check_files(tmp_path, read_metadata(tmp_path))


def test_names_that_lead_out_of_the_directory_are_refused(preset):
    with pytest.raises(ValueError, match="lacks this file"):
        check_files(preset, {"sha256": {"../street/config.json": "0"}})


@pytest.mark.parametrize("content", ["{", "[]", '{"sha256": 3}'])
def test_damaged_metadata_is_named(tmp_path, content):
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(ValueError, match="metadata.json: expected "):
        read_metadata(tmp_path)


@pytest.mark.parametrize(
    "change", [{"size": "x"}, {"size": 0}, {"size": 1e9}, {"lowest_confidence": [1]}]
)
def test_numbers_in_metadata_are_checked(tmp_path, change):
    (tmp_path / "metadata.json").write_text(json.dumps({"sha256": {}, **change}))
    with pytest.raises(ValueError, match=r"metadata.json: expected `size` in pixels"):
        read_metadata(tmp_path)


def test_numbers_of_a_card_are_checked(tmp_path):
    card = Card(size=np.int64(96), miou=np.float32(68.0), lowest_confidence=0.5)
    write_preset(tiny(), tmp_path / "mine", card=card)
    assert read_metadata(tmp_path / "mine")["size"] == 96
    for wrong in ({"size": 0}, {"size": 96.0}, {"miou": "68"}, {"lowest_confidence": -1}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`: expected"):
            Card(**wrong)


def test_a_directory_that_holds_something_stays(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected a new or an empty directory"):
        write_preset(tiny(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="expected a new or an empty directory"):
        write_preset(tiny(), tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    write_preset(tiny(), tmp_path / "empty")
    assert (tmp_path / "empty/config.json").is_file()


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def full(path, values):
        raise OSError("No space left on device")

    monkeypatch.setattr(files, "_write_json", full)
    with pytest.raises(OSError, match="No space"):
        write_preset(tiny(), tmp_path / "mine", classes=CLASSES)
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`classes`: expected 3 as the model has, received 2"):
        write_preset(tiny(), tmp_path / "a", classes=Classes(("a", "b"), ((0, 0, 0), (1, 1, 1))))
    with pytest.raises(ValueError, match="`weights_dtype`: expected one of float32, float16, int8"):
        write_preset(tiny(), tmp_path / "a", weights_dtype="int4")
    model = FCN(3, width=0.03, **BACKBONE)
    model.get_layer("b1_conv1").bias.assign(model.get_layer("b1_conv1").bias + 1e5)
    with pytest.raises(ValueError, match="`weights_dtype`: .*beyond the range of float16"):
        write_preset(model, tmp_path / "a", weights_dtype="float16")
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_json(preset):
    for name in ("metadata.json", "classes.json", "config.json"):
        json.loads((preset / name).read_text())
