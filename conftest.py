"""For all tests and docstring examples: one seed, float32, the same display on every backend."""

import os
import re
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is first imported

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

# JAX compiles each operation of these examples by itself; tests run the same as a whole.
NETWORKS = re.compile(r"keras_dpn/(models/\w+|layers/mean_field_crf|crf)\.py")


def pytest_collection_modifyitems(items):
    """Skips what is marked `tensorflow_only`, and networks in docstrings, on another backend."""
    if keras.backend.backend() == "tensorflow":
        return
    skip = pytest.mark.skip(reason=f"needs TensorFlow, the backend is {keras.backend.backend()}")
    for item in items:
        if "tensorflow_only" in item.keywords or NETWORKS.match(item.nodeid):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def fresh_state():
    """Seeds every random generator and undoes what an earlier test left in Keras."""
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def docstring_examples(doctest_namespace, monkeypatch):
    """Examples know `keras` and `np`; `doctest` shows values with `sys.__displayhook__`."""
    doctest_namespace.update(keras=keras, np=np)
    monkeypatch.setattr(sys, "__displayhook__", display)


@pytest.fixture
def eager():
    """TensorFlow step by step: to trace a network for a few steps takes longer than they do."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def display(value):
    """Shows tensors as NumPy prints arrays, and their shapes as tuples, whatever the backend."""
    if keras.ops.is_tensor(value):
        print(keras.ops.convert_to_numpy(value))
    elif type(value).__name__ == "TensorShape":
        print(tuple(value))
    elif value is not None:
        print(repr(value))
