"""Matrix products in full float32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from keras_dpn.typing import Tensor


def matmul(a: Tensor, x: Tensor) -> Tensor:
    """Return `keras.ops.matmul`, on JAX and PyTorch in full float32 on every device.

    By default a GPU computes float32 products as TF32, which keeps 11 bits of each number. In
    TensorFlow this is a setting of the whole process: see `matmul_is_rounded`.
    """
    if keras.backend.backend() == "jax":
        import jax.numpy as jnp

        return jnp.matmul(a, x, precision="highest")
    with without_autocast(x):
        return ops.matmul(a, x)


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which PyTorch's `torch.autocast` leaves float32 products as they are.

    In float16 sums of squared colours overflow. The dtype of a Keras layer has no effect on it.

    Args:
        x: a tensor on the device of the products.
    """
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    device = x.device.type if isinstance(x, torch.Tensor) else "cpu"
    return torch.autocast("cpu" if device == "meta" else device, enabled=False)


def small_matmul(a: Tensor, x: Tensor) -> Tensor:
    """Return `matmul` of many small matrices, in full float32 on TensorFlow's GPUs too."""
    if matmul_is_rounded():
        return ops.sum(a[..., None] * x[..., None, :, :], axis=-2)
    return matmul(a, x)


def matmul_is_rounded() -> bool:
    """Return whether TensorFlow computes float32 products as TF32."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return tf.config.experimental.tensor_float_32_execution_enabled() and bool(
        tf.config.list_physical_devices("GPU")
    )
