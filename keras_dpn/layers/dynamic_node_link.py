"""DynamicNodeLink: each frame's neighbours in time, along the optical flow."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.checks import check_channels_last, holds_shapes
from keras_dpn.ops.node_links import check_clip_flows, check_frames, link_frames
from keras_dpn.ops.warp import check_threshold
from keras_dpn.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class DynamicNodeLink(ShapeFromSpec, keras.layers.Layer):
    """Align the neighbouring frames of each frame with it, pixel by pixel along the optical flow.

    The edges of a Markov random field over space and time: a pixel's neighbours in the frames
    before and after are those that the flow leads to, `j = i + flow_{t->t+1}(i)` (journal version
    of the Deep Parsing Network, eq. 2); those further away are found by chaining such steps. A link
    has no weight if the backward flow doesn't lead back to the pixel, if the flow leads out of the
    image, or beyond the ends of the clip. `LocalConv3D` takes the output of this layer.

    Args:
        frames: odd integer K, the number of frames that are aligned; 3: t-1, t, t+1.
        threshold: largest forward-backward error of the flow, in pixels: how far from a pixel the
            forward flow followed by the backward flow may end.

    Input shape:
        A triple (x, forward_flow, backward_flow): frames `(B, T, H, W, C)` of any dtype, and flows
        `(B, T-1, H, W, 2)`, (dx, dy) in pixels, float: forward from frame t to t+1, backward from
        t+1 to t. Or x alone: the neighbours are then the pixels at the same position.

    Output shape:
        A pair: the neighbours, `(B, T, H, W, K, C)` of x's dtype (float32 for integers), in order
        of time, 0 without a link; and a mask of the linked ones, float32 `(B, T, H, W, K, 1)`, 0 or
        1.

    Raises:
        ValueError: for an even number of frames, a negative threshold, flows of another size or
            with another axis for their channels, and channels first.

    Example:

    >>> frames, flow = keras.ops.ones((2, 5, 8, 8, 3)), keras.ops.zeros((2, 4, 8, 8, 2))
    >>> neighbors, linked = DynamicNodeLink(frames=3)((frames, flow, flow))
    >>> neighbors.shape
    (2, 5, 8, 8, 3, 3)
    >>> linked.shape
    (2, 5, 8, 8, 3, 1)
    """

    def __init__(self, frames: int = 3, threshold: float = 1.0, **kwargs: Any) -> None:
        # Flows and colours of 0..255 lose their digits in half precision.
        super().__init__(autocast=False, **kwargs)
        check_channels_last(type(self).__name__)
        self.frames = check_frames(frames)
        self.threshold = check_threshold(threshold)

    def build(self, input_shape: Shape | Sequence[Shape]) -> None:
        x_shape, *flow_shapes = input_shape if holds_shapes(input_shape) else [input_shape]
        if len(x_shape) != 5 or len(flow_shapes) not in (0, 2):
            raise ValueError(
                "DynamicNodeLink expects frames (B, T, H, W, C), or a triple of frames, forward "
                f"flow and backward flow as input, received shapes {input_shape}."
            )
        self.built = True

    def call(self, inputs: Tensor | tuple[Tensor, ...] | list[Tensor]) -> tuple[Tensor, Tensor]:
        x, *flows = inputs if isinstance(inputs, (tuple, list)) else [inputs]
        return link_frames(x, flows or None, self.frames, self.threshold)

    def compute_output_spec(
        self, inputs: Tensor | tuple[Tensor, ...] | list[Tensor]
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        x, *flows = inputs if isinstance(inputs, (tuple, list)) else [inputs]
        if flows:
            forward, backward = flows
            check_clip_flows(forward, backward, x.shape)
        *sizes, channels = x.shape
        dtype = x.dtype if keras.backend.is_float_dtype(x.dtype) else "float32"
        return (
            keras.KerasTensor((*sizes, self.frames, channels), dtype=dtype),
            keras.KerasTensor((*sizes, self.frames, 1), dtype="float32"),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frames": self.frames, "threshold": self.threshold}
