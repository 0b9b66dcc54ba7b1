import json
import zipfile

import keras
import pytest

from keras_dpn.models.model_file import load_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The members of a small model's file."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1, name="conv")]).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def changed(saved, change):
    config = json.loads(saved["config.json"])
    change(config)
    return saved | {"config.json": json.dumps(config)}


def conv(config):
    return next(x for x in config["config"]["layers"] if x["class_name"] == "Conv2D")["config"]


CHANGES = {
    "filters": lambda config: conv(config).update(filters=10**15),
    "no_filters": lambda config: conv(config).pop("filters"),
    "class": lambda config: config.update(class_name="Popen", module="subprocess"),
    "no_class": lambda config: config.pop("class_name"),
    "layers": lambda config: config["config"].update(layers=3),
    "layer": lambda config: config.update(config={}, module="keras.layers", class_name="Layer"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_configuration_that_is_none_names_the_file(saved, tmp_path, name):
    path = write(tmp_path / "other.keras", changed(saved, CHANGES[name]))
    check(path)


def check(path):
    with pytest.raises(ValueError) as error:
        load_model(path)
    message = str(error.value)
    assert message.startswith(f"{path}: expected the file of an undamaged Keras model")
    assert "\n" not in message and len(message) < 1000


def test_a_function_of_the_file_is_not_run(tmp_path):
    """A Lambda's function is stored as a program."""
    ran = tmp_path / "ran"
    layer = keras.layers.Lambda(lambda x, file=str(ran): (open(file, "w").close(), x)[1])
    model = keras.Sequential([keras.Input((4, 4, 3)), layer])
    ran.unlink(missing_ok=True)
    model.save(path := tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match=r"lambda.keras: expected the file of an undamaged Keras"):
        load_model(path)
    assert not ran.exists()


def test_files_that_are_damaged(saved, tmp_path):
    check(write(tmp_path / "a.keras", {k: v for k, v in saved.items() if k != "config.json"}))
    check(write(tmp_path / "b.keras", {k: v for k, v in saved.items() if not k.endswith(".h5")}))
    check(write(tmp_path / "c.keras", saved | {"config.json": b"["}))
    check(write(tmp_path / "d.keras", saved | {"config.json": b"[" * 100_000}))
    (path := tmp_path / "e.keras").write_bytes(b"no archive")
    check(path)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises((FileNotFoundError, ValueError), match="missing.keras"):
        load_model(tmp_path / "missing.keras")


def test_a_model_is_loaded(saved, tmp_path):
    model = load_model(write(tmp_path / "model.keras", saved))
    assert model.get_layer("conv").filters == 2
