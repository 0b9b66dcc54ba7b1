"""For all tests and docstring examples: one seed, float32, the same display on every backend."""

import collections
import contextlib
import os
import re
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is first imported
# TensorFlow and JAX read these when they first compile: to optimise what runs once takes longer.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ["XLA_FLAGS"] = f"{XLA_FLAGS} {os.environ.get('XLA_FLAGS', '')}"
# tf2onnx copies a graph before each of its passes, to go on without one that fails: half the time.
os.environ["TF2ONNX_CATCH_ERRORS"] = "false"

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # To optimise a graph that runs once takes longer than to run it, and so does to divide small
    # operations among threads. Processes that tests start have TensorFlow's defaults.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tf.config.threading.set_intra_op_parallelism_threads(1)

# JAX compiles each operation of these examples by itself; tests run the same as a whole.
NETWORKS = re.compile(
    r"keras_dpn/(models/\w+|segmenter|crf|ops/(permutohedral|crf_likelihood|edge_field)"
    r"|layers/(mean_field_crf|edge_mean_field|dynamic_node_link|deep_parsing_field))\.py"
)

# Test functions that `make check` leaves out; `make test ARGS=--record-slow` writes the list.
SLOW = Path(__file__).parent / "tests" / "slow.txt"
SLOW_SECONDS = 0.2
# Trained once for several tests, the first of which takes the time.
SLOW_FIXTURES = {"trained", "trained_deeplab", "trained_on_frames", "trained_piecewise"}


def pytest_addoption(parser):
    """Adds the option that brings the list of slow tests up to date."""
    parser.addoption(
        "--record-slow",
        action="store_true",
        help=f"write the test functions that take more than {SLOW_SECONDS} s to tests/slow.txt",
    )


def function_of(nodeid):
    """The node id without parameters: one line stands for all of them."""
    return nodeid.partition("[")[0]


def pytest_collection_modifyitems(items):
    """Marks slow tests.

    Skips what is marked `tensorflow_only` on another backend, and networks in docstrings on JAX.
    """
    slow = set(SLOW.read_text().split())
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if function_of(item.nodeid) in slow or not SLOW_FIXTURES.isdisjoint(fixtures):
            item.add_marker(pytest.mark.slow)
    if keras.backend.backend() == "tensorflow":
        return
    skip = pytest.mark.skip(reason=f"needs TensorFlow, the backend is {keras.backend.backend()}")
    for item in items:
        is_network = keras.backend.backend() == "jax" and NETWORKS.match(item.nodeid)
        if "tensorflow_only" in item.keywords or is_network:
            item.add_marker(skip)


def pytest_configure(config):
    """Records slow tests on request, on TensorFlow, where all of them run."""
    if config.getoption("record_slow") and keras.backend.backend() == "tensorflow":
        config.pluginmanager.register(SlowRecorder())


class SlowRecorder:
    """Brings the list of slow tests up to date for the tests that run."""

    def __init__(self):
        self.seconds = collections.Counter()

    def pytest_runtest_logreport(self, report):
        self.seconds[function_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self):
        root = SLOW.parents[1]
        kept = {
            name
            for name in SLOW.read_text().split()
            if name not in self.seconds and (root / name.partition("::")[0]).exists()
        }
        slow = {name for name, seconds in self.seconds.items() if seconds > SLOW_SECONDS}
        SLOW.write_text("".join(f"{name}\n" for name in sorted(kept | slow)))


@pytest.fixture(autouse=True)
def fresh_state():
    """Seeds every random generator and undoes what an earlier test left in Keras."""
    # It also drops TensorFlow's kernels: kept, they take all of a machine's memory by the end.
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def docstring_examples(doctest_namespace, monkeypatch):
    """Examples know `keras` and `np`; `doctest` shows values with `sys.__displayhook__`."""
    doctest_namespace.update(keras=keras, np=np)
    monkeypatch.setattr(sys, "__displayhook__", display)


@contextlib.contextmanager
def run_eagerly():
    """TensorFlow step by step: to trace a network for a few steps takes longer than they do."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def eager():
    """A test of few steps."""
    with run_eagerly():
        yield


@pytest.fixture(scope="session")
def eagerly():
    """For fixtures that several tests share: a context manager that does the same."""
    return run_eagerly


def display(value):
    """Shows tensors as NumPy prints arrays, and their shapes as tuples, whatever the backend."""
    if keras.ops.is_tensor(value):
        print(keras.ops.convert_to_numpy(value))
    elif type(value).__name__ in ("TensorShape", "Size"):  # TensorFlow's, PyTorch's
        print(tuple(value))
    elif value is not None:
        print(repr(value))
