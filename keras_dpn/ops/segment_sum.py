"""Sums of rows that belong together."""

import keras
from keras import ops

from keras_dpn.typing import Tensor


def segment_sum(x: Tensor, segments: Tensor, num_segments: int | Tensor) -> Tensor:
    """Return `keras.ops.segment_sum`, on PyTorch in the dtype of `x`.

    There Keras 3.15.1 sums integers as float32, which is exact up to 2**24 only, and repeats the
    numbers of the segments for each column.

    Args:
        x: `(n, ...)`.
        segments: `(n,)`, integers from 0 to `num_segments - 1`.
        num_segments: number of segments.

    Returns:
        `(num_segments, ...)`.
    """
    if keras.backend.backend() != "torch":
        return ops.segment_sum(x, segments, num_segments)
    import torch

    zeros = torch.zeros((num_segments, *x.shape[1:]), dtype=x.dtype, device=x.device)
    return zeros.index_add(0, segments.long(), x)
