"""The devices of a training run."""

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import keras
import tensorflow as tf

from ..configs.schema import TrainConfig
from ..utils.installation import install_command

_LOGGER = logging.getLogger("keras_dpn")
# Where drivers show the GPUs of a machine: NVIDIA's, AMD's, and Windows' to its Linux.
_DRIVERS = ("/proc/driver/nvidia/gpus/*", "/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")


class Strategy(Protocol):
    """The devices of a run: TensorFlow's strategies, or `JaxDevices`."""

    @property
    def num_replicas_in_sync(self) -> int:
        """The number of devices, each of which computes its part of a batch."""

    def scope(self) -> AbstractContextManager[Any]:
        """Return a context in which variables are made for these devices."""


def choose_devices(devices: str) -> Strategy:
    """Return a strategy for the devices of a run, and log which they are.

    On JAX these are the devices of all processes, of which each has those that `devices` names.

    Args:
        devices: "all", every GPU, or the CPU without one; "gpu", every GPU; "gpu:0,2", these;
            "cpu"; "cpu:N", N logical devices on the CPU.

    Raises:
        ValueError: for another text, and for GPUs that the backend doesn't find.
    """
    kind, _, chosen = devices.partition(":")
    numbers = [int(n) if n.isdecimal() else -1 for n in chosen.split(",")] if chosen else []
    is_valid = kind in ("all", "cpu", "gpu") and min(numbers, default=0) >= 0
    if kind == "cpu":
        is_valid &= len(numbers) < 2 and numbers != [0]
    if not is_valid or (kind == "all" or not chosen) and devices != kind:
        raise ValueError(
            "Invalid value for argument `devices`: expected all, gpu, gpu:0,2, cpu or cpu:N, "
            f"received {devices!r}."
        )
    if keras.backend.backend() == "jax":
        from .jax_devices import choose

        return choose(kind, numbers)
    if kind == "cpu":
        return _on_cpu(numbers[0] if numbers else None)
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "gpu" and (not gpus or max(numbers, default=0) >= len(gpus)):
        found = f"those from 0 to {len(gpus) - 1}" if gpus else _reason() or "none"
        raise ValueError(f"--devices {devices}: TensorFlow finds other GPUs: {found}.")
    if not gpus:
        if reason := _reason():
            _LOGGER.warning("Training on the CPU: %s.", reason)
        return tf.distribute.get_strategy()
    used = [gpus[n] for n in dict.fromkeys(numbers)] or gpus
    tf.config.set_visible_devices(used, "GPU")
    _LOGGER.info("Training on %d of %d GPUs.", len(used), len(gpus))
    names = [device.name for device in tf.config.list_logical_devices("GPU")]
    return tf.distribute.MirroredStrategy(names)


def in_use(strategy: Strategy) -> AbstractContextManager[Any]:
    """Return a context in which a whole run computes on the devices.

    TensorFlow's strategies are a property of the models that are made in their scope; Keras's
    distribution on JAX is one of the process.
    """
    return strategy.scope() if keras.backend.backend() == "jax" else nullcontext()


def check_batch_sizes(config: TrainConfig, devices: int) -> None:
    """Raise a ValueError for a stage whose batches JAX can't divide among its devices."""
    if keras.backend.backend() != "jax":
        return  # TensorFlow gives some devices more images than others
    for stage in config.stages:
        settings, option = config.stage(stage.name), f"--{config.section(stage.name)}.batch-size"
        size = config.batch_size(settings)
        if settings.is_trained and size % devices:
            raise ValueError(
                f"Stage {stage.name}: expected a batch size that {devices} devices divide, "
                f"received {size}. Give another {option} or --data.batch-size, or train on "
                "fewer devices."
            )


def _on_cpu(count: int | None) -> Strategy:
    if tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")
        _LOGGER.info("Training on the CPU, as --devices says: the GPUs are not used.")
    if count is None:
        return tf.distribute.get_strategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, parts)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def _reason() -> str | None:
    """Return why TensorFlow finds no GPU on a machine that has one; None if it has none."""
    if not any(path for pattern in _DRIVERS for path in Path("/").glob(pattern[1:])):
        return None
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not hidden.replace("-1", ""):
        return f"CUDA_VISIBLE_DEVICES={hidden} hides the GPU of this machine"
    if not tf.test.is_built_with_gpu_support():
        return (
            "this machine has a GPU, and this TensorFlow is for CPUs; take the extra gpu, "
            f"not cpu: {install_command('train,gpu')}"
        )
    return (
        "this machine has a GPU, and TensorFlow can't use it; its messages, without "
        "TF_CPP_MIN_LOG_LEVEL, say which library is missing"
    )
