"""Clips as images of many channels, so that all transforms of images work on them."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ..clips.base import Clip


@dataclass(frozen=True)
class ClipInputs:
    """The inputs of a network for clips.

    Args:
        frames: length T of the clips, odd.
        flow: whether the network also takes the flow between the frames.
    """

    frames: int
    flow: bool

    @property
    def flow_channels(self) -> int:
        """The channels of flow in a stacked clip."""
        return 4 * (self.frames - 1) if self.flow else 0

    @property
    def channels(self) -> int:
        """All channels of a stacked clip."""
        return 3 * self.frames + self.flow_channels

    def stack(self, clip: Clip) -> np.ndarray:
        """Return a clip as one image of many channels, float32 (H, W, C): frames, then flow."""
        parts = [clip.frames]
        if self.flow:
            parts += [clip.forward_flow, clip.backward_flow]
        parts = [np.moveaxis(part, 0, 2) for part in parts]  # (H, W, T, channels)
        flat = [np.reshape(part, (*part.shape[:2], -1)) for part in parts]
        return np.concatenate(flat, axis=-1, dtype="float32")

    def unstack(self, stacked: tf.Tensor) -> tf.Tensor | dict[str, tf.Tensor]:
        """Return the network's inputs for a batch of stacked clips, (B, H, W, C)."""
        frames = self._to_time(stacked[..., : 3 * self.frames], 3)
        if not self.flow:
            return frames
        forward, backward = tf.split(stacked[..., 3 * self.frames :], 2, axis=-1)
        return {
            "frames": frames,
            "forward_flow": self._to_time(forward, 2),
            "backward_flow": self._to_time(backward, 2),
        }

    @staticmethod
    def _to_time(stacked: tf.Tensor, channels: int) -> tf.Tensor:
        """Convert (B, H, W, T channels) to (B, T, H, W, channels)."""
        length = stacked.shape[-1] // channels
        shape = tf.concat([tf.shape(stacked)[:3], [length, channels]], 0)
        split = tf.transpose(tf.reshape(stacked, shape), (0, 3, 1, 2, 4))
        return tf.ensure_shape(split, (stacked.shape[0], length, *stacked.shape[1:3], channels))
