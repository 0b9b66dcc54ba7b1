"""The devices of a training run on Keras's JAX backend."""

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import keras
import tensorflow as tf

_LOGGER = logging.getLogger("keras_dpn")
# As TensorFlow's op determinism: a resumed run equals an uninterrupted one.
_DETERMINISM = "--xla_gpu_deterministic_ops=true"


class JaxDevices:
    """Devices of one or several processes that JAX computes on, each on its part of a batch.

    Args:
        devices: JAX's devices; with a single one nothing is distributed.
    """

    def __init__(self, devices: Sequence[Any]) -> None:
        self.devices = tuple(devices)
        self.distribution = (
            keras.distribution.DataParallel(devices=list(devices), auto_shard_dataset=False)
            if len(devices) > 1
            else None
        )

    @property
    def num_replicas_in_sync(self) -> int:
        """The number of devices."""
        return len(self.devices)

    def scope(self) -> AbstractContextManager[Any]:
        """Return a context in which Keras distributes variables, batches and training."""
        return self.distribution.scope() if self.distribution else nullcontext()


def choose(kind: str, numbers: Sequence[int]) -> JaxDevices:
    """Return the devices of a run, and log which they are; arguments as parsed by `devices`.

    What JAX computes on is fixed by its first computation in a process.

    Raises:
        ValueError: for GPUs that JAX doesn't find, or devices that were fixed otherwise before.
    """
    tf.config.set_visible_devices([], "GPU")  # TensorFlow only reads images here
    devices = (
        _on_cpu(numbers[0] if numbers else None) if kind == "cpu" else _of_any_kind(kind, numbers)
    )
    if devices[0].platform != "cpu" or len(devices) > 1:
        _LOGGER.info("Training on %d devices: %s.", len(devices), devices[0].device_kind)
    return JaxDevices(devices)


def _of_any_kind(kind: str, numbers: Sequence[int]) -> list[Any]:
    flags = os.environ.get("XLA_FLAGS", "")
    if _DETERMINISM.partition("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_DETERMINISM}".strip()
    if kind == "gpu" and numbers and not _is_started():
        jax.config.update("jax_cuda_visible_devices", ",".join(map(str, dict.fromkeys(numbers))))
    if kind == "gpu":
        local = [device for device in jax.local_devices() if device.platform == "gpu"]
        if not local or (numbers and len(local) != len(set(numbers))):
            names = f"gpu:{','.join(map(str, numbers))}" if numbers else "gpu"
            raise ValueError(f"--devices {names}: JAX finds {len(local)} of these GPUs.")
    return jax.devices()


def _on_cpu(count: int | None) -> list[Any]:
    if not _is_started():
        jax.config.update("jax_platforms", "cpu")
        if count is not None:
            jax.config.update("jax_num_cpu_devices", count)
    local = jax.local_devices(backend="cpu")
    if count is None and jax.process_count() == 1:
        return local[:1]
    if count not in (None, len(local)):
        raise ValueError(
            f"--devices cpu:{count}: JAX has started with {len(local)} devices on the CPU in this "
            "process; start another one."
        )
    return jax.devices("cpu")


def _is_started() -> bool:
    from jax._src import xla_bridge  # no public name (JAX 0.10)

    return xla_bridge.backends_are_initialized()
