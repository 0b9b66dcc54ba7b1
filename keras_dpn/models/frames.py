"""Layers between the frames of clips and batches of images."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dpn.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class MergeFrames(layers.Layer):
    """Reshape frames to a batch of images: `(B, T, ...)` to `(B T, ...)`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, x: Tensor) -> Tensor:
        batch, time, *sizes = ops.shape(x)
        return ops.reshape(x, (batch * time, *sizes))

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((None, *x.shape[2:]), dtype=x.dtype)


@keras.saving.register_keras_serializable(package="keras_dpn")
class SplitFrames(layers.Layer):
    """Reshape a batch of images to clips: `(B T, ...)` to `(B, T, ...)`, given those."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, clips = inputs
        return ops.reshape(x, (*ops.shape(clips)[:2], *ops.shape(x)[1:]))

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        x, clips = inputs
        return keras.KerasTensor((*clips.shape[:2], *x.shape[1:]), dtype=x.dtype)


@keras.saving.register_keras_serializable(package="keras_dpn")
class StackNeighbors(layers.Layer):
    """Stack linked frames as channels: `(B, T, h, w, K, L)` to `(B T, h, w, K L)`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # penalties stay in float32

    def call(self, x: Tensor) -> Tensor:
        batch, time, height, width, _, _ = ops.shape(x)
        return ops.reshape(x, (batch * time, height, width, x.shape[-2] * x.shape[-1]))

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        shape = (None, *x.shape[2:4], x.shape[-2] * x.shape[-1])
        return keras.KerasTensor(shape, dtype=x.dtype)


@keras.saving.register_keras_serializable(package="keras_dpn")
class MiddleFrame(layers.Layer):
    """Select the center frame of each clip: `(B, T, ...)` to `(B, ...)`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, x: Tensor) -> Tensor:
        if x.shape[1] is not None and x.shape[1] % 2 == 0:
            raise ValueError(
                "SpatialTemporalDPN with output_frames='center' expects clips with a frame in "
                f"the center, an odd number of them, received {x.shape[1]}. Build it with "
                "output_frames='all' for clips of any length."
            )
        return x[:, ops.shape(x)[1] // 2]

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((x.shape[0], *x.shape[2:]), dtype=x.dtype)
