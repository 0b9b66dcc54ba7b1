"""Layers between the frames of clips and batches of images."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dpn.ops.node_links import (
    FlowLinks,
    check_clip_flows,
    check_frames,
    flow_links,
    follow_links,
    link_frames,
)
from keras_dpn.ops.warp import check_threshold
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


@keras.saving.register_keras_serializable(package="keras_dpn")
class FindLinks(layers.Layer):
    """Find each pixel's neighbours in time along the flow, for `FollowLinks`.

    Takes frames `(B, T, h, w, C)` and their flows `(B, T-1, h, w, 2)`; gives the three tensors of
    `FlowLinks`.
    """

    def __init__(self, frames: int = 3, threshold: float = 1.0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # flows lose their digits in half precision
        self.frames = check_frames(frames)
        self.threshold = check_threshold(threshold)

    def call(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        x, forward, backward = inputs
        check_clip_flows(forward, backward, x.shape)
        return tuple(flow_links(forward, backward, self.frames, self.threshold))

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> tuple[keras.KerasTensor, ...]:
        x, forward, backward = inputs
        check_clip_flows(forward, backward, x.shape)
        shape = (self.frames - 1, *x.shape[:-1])
        return (
            keras.KerasTensor((4, *shape), dtype="int32"),
            keras.KerasTensor((4, *shape), dtype="float32"),
            keras.KerasTensor(shape, dtype="float32"),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frames": self.frames, "threshold": self.threshold}


@keras.saving.register_keras_serializable(package="keras_dpn")
class FollowLinks(layers.Layer):
    """Align neighbouring frames: `(B, T, h, w, C)` to `(B, T, h, w, K, C)`.

    Takes these and, but for pixels at the same position, the links of `FindLinks`.
    """

    def __init__(self, frames: int = 3, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.frames = check_frames(frames)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, *links = inputs
        if links:
            return follow_links(x, FlowLinks(*links))
        return link_frames(x, frames=self.frames)[0]

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        *sizes, channels = inputs[0].shape
        return keras.KerasTensor((*sizes, self.frames, channels), dtype=inputs[0].dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frames": self.frames}
