"""Matrix products in full float32."""

import keras
from keras import ops

from keras_dpn.typing import Tensor


def matmul(a: Tensor, x: Tensor) -> Tensor:
    """Return `keras.ops.matmul`, on JAX in full float32 on every device.

    By default a GPU computes float32 products as TF32, which keeps 11 bits of each number. In
    TensorFlow this is a setting of the whole process: see `matmul_is_rounded`.
    """
    if keras.backend.backend() == "jax":
        import jax.numpy as jnp

        return jnp.matmul(a, x, precision="highest")
    return ops.matmul(a, x)


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
