import importlib.util
import json
import os
import sys
import types

import pytest

import keras_dpn
from keras_dpn import backend


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Returns a function that makes it look as if Keras isn't imported and these are installed."""
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "")  # so that what is set here is undone
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def install(*names, configured=None):
        spec = types.SimpleNamespace(origin="somewhere")
        monkeypatch.setattr(backend, "find_spec", lambda name: spec if name in names else None)
        if configured is not None:
            (tmp_path / "keras.json").write_text(json.dumps({"backend": configured}))

    return install


@pytest.mark.parametrize("configured", [None, "tensorflow"])
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_the_only_backend_is_used(environment, name, configured):
    environment("keras", name, configured=configured)
    assert backend.choose_backend() is None
    assert os.environ["KERAS_BACKEND"] == name


@pytest.mark.parametrize(
    "installed", [("tensorflow",), ("tensorflow", "torch"), ("tensorflow", "jax", "torch")]
)
def test_tensorflow_stays_keras_default(environment, installed):
    environment("keras", *installed)
    assert backend.choose_backend() is None
    assert "KERAS_BACKEND" not in os.environ


@pytest.mark.parametrize("chosen", ["torch", "numpy"])
def test_the_users_choice_stays(environment, monkeypatch, chosen):
    environment("keras", "tensorflow", "jax", "torch")
    monkeypatch.setenv("KERAS_BACKEND", chosen)
    assert backend.choose_backend() is None
    assert os.environ["KERAS_BACKEND"] == chosen


def test_the_choice_in_kerass_file_stays(environment):
    environment("keras", "jax", "torch", configured="torch")
    assert backend.choose_backend() is None
    assert "KERAS_BACKEND" not in os.environ  # Keras reads its file


def test_a_broken_file_of_keras_is_no_choice(environment, tmp_path):
    environment("keras", "torch")
    (tmp_path / "keras.json").write_text("[")
    assert backend.choose_backend() is None
    assert os.environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize(
    ("installed", "chosen", "message"),
    [
        (("keras",), None, r"no backend of Keras.*\[cpu\] or \[gpu\].*\[jax\], or \[torch\]"),
        (("torch",), None, r"no Keras\..*\[cpu\]"),
        (("keras", "tensorflow"), "jax", r"no jax, .*KERAS_BACKEND.*\[jax\]"),
        (("keras", "jax"), "tensorflow", r"no tensorflow, .*KERAS_BACKEND.*\[cpu\]"),
        (("keras", "jax", "torch"), None, "Set .*KERAS_BACKEND to jax or torch"),
    ],
)
def test_what_is_missing_is_an_error_of_the_import(
    environment, monkeypatch, installed, chosen, message
):
    environment(*installed)
    if chosen is not None:
        monkeypatch.setenv("KERAS_BACKEND", chosen)
    with pytest.raises(ImportError, match=message):
        imported()


def test_the_client_needs_no_backend(environment):
    environment("keras", "grpc")
    package = imported()
    assert package.__all__ == ["__version__"]
    with pytest.raises(ImportError, match="no backend of Keras"):
        _ = package.layers
    with pytest.raises(AttributeError):
        _ = package.client  # Python then imports it


def test_a_directory_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "jaxx").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not backend.is_installed("jaxx")
    assert backend.is_installed("json")


def imported():
    """Returns the package as its import makes it, next to the one that all tests use."""
    spec = importlib.util.spec_from_file_location("keras_dpn", keras_dpn.__file__)
    package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return package
