"""The devices of a training run."""

import logging
import os
from pathlib import Path

import tensorflow as tf

from ..utils.installation import install_command

_LOGGER = logging.getLogger("keras_dpn")
# Where drivers show the GPUs of a machine: NVIDIA's, AMD's, and Windows' to its Linux.
_DRIVERS = ("/proc/driver/nvidia/gpus/*", "/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")


def choose_devices(devices: str) -> tf.distribute.Strategy:
    """Return a strategy for the devices of a run, and log which they are.

    Args:
        devices: "all", every GPU, or the CPU without one; "gpu", every GPU; "gpu:0,2", these;
            "cpu"; "cpu:N", N logical devices on the CPU.

    Raises:
        ValueError: for another text, and for GPUs that TensorFlow doesn't find.
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


def _on_cpu(count: int | None) -> tf.distribute.Strategy:
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
