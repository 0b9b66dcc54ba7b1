import logging
import re
from types import SimpleNamespace

import pytest
import tensorflow as tf

from training.configs.networks import FCNTrainConfig
from training.configs.schema import StageConfig
from training.engine import devices
from training.engine.devices import check_batch_sizes, choose_devices


@pytest.fixture
def machine(monkeypatch):
    """TensorFlow on a machine with some GPUs; what a run sets is recorded."""
    machine = SimpleNamespace(gpus=[], visible=None, mirrored=None)

    def physical(kind):
        return machine.gpus if kind == "GPU" else ["CPU"]

    def logical(kind):
        return [SimpleNamespace(name=name) for name in machine.visible]

    def set_visible(chosen, kind):
        machine.visible = chosen

    def mirrored(names):
        machine.mirrored = names
        return "mirrored"

    monkeypatch.setattr(tf.config, "list_physical_devices", physical)
    monkeypatch.setattr(tf.config, "list_logical_devices", logical)
    monkeypatch.setattr(tf.config, "set_visible_devices", set_visible)
    monkeypatch.setattr(tf.config, "set_logical_device_configuration", lambda *_: None)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", mirrored)
    monkeypatch.setattr(devices, "_DRIVERS", ())
    monkeypatch.setattr(logging.getLogger("keras_dpn"), "propagate", True)
    return machine


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", ["G0", "G1", "G2"]),
        ("gpu", ["G0", "G1", "G2"]),
        ("gpu:0,2", ["G0", "G2"]),
        ("gpu:1", ["G1"]),
        ("gpu:2,2", ["G2"]),
    ],
)
def test_gpus_are_chosen(machine, caplog, text, expected):
    machine.gpus = ["G0", "G1", "G2"]
    with caplog.at_level(logging.INFO, "keras_dpn"):
        assert choose_devices(text) == "mirrored"
    assert machine.mirrored == expected
    assert caplog.messages == [f"Training on {len(expected)} of 3 GPUs."]


def test_the_cpu_is_chosen(machine, caplog):
    machine.gpus = ["G0"]
    with caplog.at_level(logging.INFO, "keras_dpn"):
        assert choose_devices("cpu") is tf.distribute.get_strategy()
        assert machine.visible == []
        assert choose_devices("cpu:2") == "mirrored"
    assert machine.mirrored == ["CPU:0", "CPU:1"]
    assert "the GPUs are not used" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        *("", "gpus", "cpu:0", "cpu:x", "cpu:", "cpu:1,2", "cpu:-1"),
        *("gpu:", "gpu:a", "gpu:0,", "gpu:-1", "all:1"),
    ],
)
def test_other_texts_are_refused(machine, text):
    machine.gpus = ["G0"]
    with pytest.raises(ValueError, match="`devices`: expected all, gpu, gpu:0,2, cpu or cpu:N"):
        choose_devices(text)


def test_gpus_that_are_not_there_are_refused(machine):
    with pytest.raises(ValueError, match="--devices gpu: TensorFlow finds other GPUs: none"):
        choose_devices("gpu")
    machine.gpus = ["G0", "G1"]
    with pytest.raises(ValueError, match="--devices gpu:0,2: .*: those from 0 to 1"):
        choose_devices("gpu:0,2")


@pytest.mark.parametrize(
    ("hidden", "built", "message"),
    [
        (None, False, "has a GPU, and this TensorFlow is for CPUs; .* pip install '..train,gpu.'"),
        (None, True, "has a GPU, and TensorFlow can't use it"),
        ("0", True, "has a GPU, and TensorFlow can't use it"),
        ("", True, "CUDA_VISIBLE_DEVICES= hides the GPU"),
        ("-1", True, "CUDA_VISIBLE_DEVICES=-1 hides the GPU"),
    ],
)
def test_a_gpu_that_is_not_used_is_told(
    machine, monkeypatch, caplog, tmp_path, hidden, built, message
):
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(devices, "_DRIVERS", (f"{tmp_path}/nvidia[0-9]*",))
    monkeypatch.setattr(tf.test, "is_built_with_gpu_support", lambda: built)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert choose_devices("all") is tf.distribute.get_strategy()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert re.search(message, caplog.text)
    with pytest.raises(ValueError, match=message):
        choose_devices("gpu")


def test_a_machine_without_a_gpu_has_nothing_to_tell(machine, caplog):
    assert choose_devices("all") is tf.distribute.get_strategy()
    assert not caplog.records


def test_jax_needs_batches_that_its_devices_divide(monkeypatch):
    config = FCNTrainConfig(final=StageConfig(epochs=1, batch_size=6))
    check_batch_sizes(config, 4)
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: "jax")
    check_batch_sizes(config, 3)
    with pytest.raises(ValueError, match="Stage final: .* that 4 devices divide, received 6"):
        check_batch_sizes(config, 4)
