"""Bilinear resizing that trains and exports with unknown sizes."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dpn.graph import is_compiled_by_xla
from keras_dpn.ops.checks import check_positive_int
from keras_dpn.ops.matmul import matmul
from keras_dpn.typing import Tensor


def resize(x: Tensor, size: Sequence[int | Tensor], align_corners: bool = False) -> Tensor:
    """Resize the two spatial axes of `x` by bilinear interpolation, without antialiasing.

    `keras.ops.image.resize` fails in `fit` and `export` with unknown sizes (keras 3.15.1); this
    function doesn't, and it supports both conventions:

    * half-pixel centres: output i samples `(i + 0.5) * in / out - 0.5`, the corners of the two
      images' areas coincide (TensorFlow 2, OpenCV, Pillow);
    * aligned corners: output i samples `i * (in - 1) / (out - 1)`, the centres of the corner
      pixels coincide (`interp` of Caffe, used by the published DeepLab and DPN networks).

    Args:
        x: tensor of shape `(B, H, W, C)`; batch and sizes may be unknown.
        size: `(height, width)`, integers or scalar integer tensors.
        align_corners: whether to align the centres of the corner pixels.

    Returns:
        float32 tensor of shape `(B, height, width, C)`.

    Raises:
        ValueError: if `x` has another rank or a size is below 1.

    Example:

    >>> resize(keras.ops.array([[[[0.0], [2.0]]]]), (1, 3), align_corners=True)[0, 0, :, 0]
    [0. 1. 2.]
    """
    x = ops.convert_to_tensor(x)
    if len(x.shape) != 4:
        raise ValueError(
            "Invalid value for argument `x`: expected shape (B, H, W, C), received "
            f"{tuple(x.shape)}."
        )
    size = check_size(size)
    # XLA's kernel of TensorFlow's operation has wrong results for half-pixel centres.
    if keras.backend.backend() == "tensorflow" and (align_corners or not is_compiled_by_xla()):
        return _resize_tensorflow(x, size, align_corners)
    return _resize_portable(x, size, align_corners)


def check_size(size: Any) -> tuple[Any, ...]:
    """Return `(height, width)`; raise ValueError if its length or an integer is wrong."""
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(
            f"Invalid value for argument `size`: expected (height, width), received {size}."
        )
    return tuple(n if ops.is_tensor(n) else check_positive_int("size", n) for n in size)


def _resize_tensorflow(x: Tensor, size: Sequence[int | Tensor], align_corners: bool) -> Tensor:
    import tensorflow as tf

    if x.dtype in (tf.bool, tf.uint32, tf.uint64):  # which the kernel doesn't take
        x = tf.cast(x, "float32")
    out = tf.raw_ops.ResizeBilinear(
        images=x,
        size=tf.stack([tf.cast(n, "int32") for n in size]),
        align_corners=align_corners,
        half_pixel_centers=not align_corners,
    )
    out.set_shape((x.shape[0], *(n if isinstance(n, int) else None for n in size), x.shape[3]))
    return out


def _resize_portable(x: Tensor, size: Sequence[int | Tensor], align_corners: bool) -> Tensor:
    x = ops.cast(x, "float32")
    rows = _interpolation_matrix(ops.shape(x)[1], size[0], align_corners)
    columns = _interpolation_matrix(ops.shape(x)[2], size[1], align_corners)
    batch, height, width, channels = ops.shape(x)
    x = matmul(rows, ops.reshape(x, (batch, height, width * channels)))
    x = matmul(columns, ops.reshape(x, (batch * size[0], width, channels)))
    return ops.reshape(x, (batch, *size, channels))


def _interpolation_matrix(
    size_in: int | Tensor, size_out: int | Tensor, align_corners: bool
) -> Tensor:
    """Return the (size_out, size_in) matrix of bilinear weights."""
    target = ops.cast(ops.arange(size_out), "float32")
    scale_in, scale_out = ops.cast(size_in, "float32"), ops.cast(size_out, "float32")
    if align_corners:
        source = target * (scale_in - 1) / ops.maximum(scale_out - 1, 1)
    else:
        source = (target + 0.5) * scale_in / scale_out - 0.5
    source = ops.clip(source, 0, scale_in - 1)
    positions = ops.cast(ops.arange(size_in), "float32")
    return ops.relu(1 - ops.abs(source[:, None] - positions[None, :]))
