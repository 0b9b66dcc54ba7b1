"""The spatial-temporal Deep Parsing Network (journal version): clips instead of pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import keras
import numpy as np
from keras import layers, ops

from keras_dpn.deprecation import renamed_argument
from keras_dpn.layers import BlockMinPool, DynamicNodeLink, LocalConv3D, Resize
from keras_dpn.models.dpn import (
    DPN,
    Guide,
    b12_settings,
    check_dpn_config,
    contexts_layer,
    unary_term,
)
from keras_dpn.models.label_contexts import context_kernels, triple_penalty_sign
from keras_dpn.models.staged import StagedModel, check_input_shape
from keras_dpn.ops.checks import check_one_of, standardize_spacing, standardize_window
from keras_dpn.ops.mean_field import mean_field_update
from keras_dpn.ops.node_links import check_frames
from keras_dpn.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class SpatialTemporalDPN(StagedModel):
    """Deep Parsing Network over space and time: a Markov random field on the frames of a clip.

    The unary term is that of `DPN`, the same for all frames. Its random field spans K frames:
    b12's window (K x 50 x 50 in the paper) and b13's filters (K x 7 x 7) lie over each frame's
    neighbours in time, which optical flow links (dynamic node linking, `DynamicNodeLink`).

    Args:
        num_classes: L, integer >= 2.
        frames: K, odd integer, how many frames the windows of b12 and b13 span.
        input_shape: `(height, width, 3)` of a frame; None for sizes that differ.
        linking: "flow", neighbours in time along the optical flow; or "static", at the same place.
        link_threshold: how far from itself a pixel may end on the way along the flow and back for
            its link to count, in pixels of the frames.
        frame_spacing: how far apart successive frames count where b12 compares positions, in pixels
            of the grid of the pairwise part. At 1 a pixel's neighbour in time would count less
            than any in space, as the position weight learns to favour what is further away.
        labels_of: "middle", the labels of the clip's middle frame; or "all", of every frame.
        width, trunk, fc6_kernel, fc6_dilation, fc_width, keep_pools, pool_size, unary_activation,
            pairwise, mixtures, kernel, gate, color_weight, position_weight, scale, color_unit,
            num_iterations, pairwise_stride, context_noise, dropout, global_context, output_stride,
            skips, skip_width: as in `DPN`; each frame is a context of its own.
        triple_window: spatial window of b12, in pixels of the grid of the pairwise part.
        context_window: spatial window of b13's filters.

    Input shape:
        With linking "static" frames alone, else a dictionary:
        "frames": `(B, T, H, W, 3)`, RGB, 0-255, uint8 or float, for any T; odd for the middle one.
        "forward_flow": `(B, T-1, H, W, 2)`, (dx, dy) in pixels, from frame t to t+1.
        "backward_flow": `(B, T-1, H, W, 2)`, from frame t+1 to t.

    Output shape:
        `(B, H, W, num_classes)`, or `(B, T, H, W, num_classes)` for all frames; float32 logits.

    Raises:
        TypeError: for an argument that isn't one of these.
        ValueError: for values out of these ranges, and clips without a middle frame.

    Example:

    >>> model = SpatialTemporalDPN(num_classes=3, width=0.125, trunk="large_fov", linking="static")
    >>> model(keras.ops.zeros((1, 3, 13, 9, 3))).shape
    (1, 13, 9, 3)
    """

    def __init__(
        self,
        num_classes: int,
        frames: int = 3,
        input_shape: Shape = (None, None, 3),
        linking: Literal["flow", "static"] = "flow",
        link_threshold: float = 1.0,
        frame_spacing: float = 10.0,
        labels_of: Literal["middle", "all"] = "middle",
        width: float = 1.0,
        trunk: Literal["vgg16", "large_fov"] = "vgg16",
        fc6_kernel: int | None = None,
        fc6_dilation: int | None = None,
        fc_width: int | None = None,
        keep_pools: bool = False,
        pool_size: int = 2,
        unary_activation: Literal["softmax", "sigmoid"] = "softmax",
        pairwise: Literal["triple", "contexts"] | None = "contexts",
        triple_window: int | Sequence[int] = 50,
        context_window: int | Sequence[int] = 7,
        mixtures: int = 5,
        kernel: Literal["squared_distance", "gaussian", "learned"] = "squared_distance",
        gate: bool = True,
        color_weight: float = 1.0,
        position_weight: float = 0.0,
        scale: float = 1.0,
        color_unit: float = 32.0,
        num_iterations: int = 1,
        pairwise_stride: int = 1,
        context_noise: float = 0.01,
        dropout: float = 0.5,
        global_context: bool = False,
        output_stride: int = 8,
        skips: Sequence[str] = (),
        skip_width: int = 96,
        name: str = "spatial_temporal_dpn",
    ) -> None:
        config = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        check_dpn_config(config)
        check_input_shape(input_shape)
        check_frames(frames)
        check_one_of("linking", linking, ("flow", "static"))
        check_one_of("labels_of", labels_of, ("middle", "all"))

        # === Layers ===
        merge, split = MergeFrames(name="merge_frames"), SplitFrames(name="split_frames")
        # On a coarse grid the flow counts in its pixels: averaged over a cell, and divided.
        coarse = Guide(pairwise_stride, pairwise_stride, name="coarse_flow")
        link = DynamicNodeLink(frames, link_threshold / pairwise_stride, name="link")
        window = (frames, *standardize_window(triple_window, 2))
        spacing = (*standardize_spacing(frame_spacing, 1, "frame_spacing"), 1.0, 1.0)
        b12 = LocalConv3D(window, spacing=spacing, name="b12", **b12_settings(config))
        stack = StackNeighbors(name="stack_neighbors")
        b13 = contexts_layer(config, frames)
        b14 = BlockMinPool(mixtures, dtype="float32", name="b14")
        b15 = layers.Identity(dtype="float32", name="b15")
        middle = MiddleFrame(name="middle_frame")
        to_image = Resize(factor=pairwise_stride, name="resize")

        # === Functional model ===
        def field(unary: Tensor, guide: Tensor, clip: Tensor, *flows: Tensor) -> dict[str, Tensor]:
            """Logits after each stage, from the terms on the grid and the model's inputs."""
            links = [split((coarse(merge(flow)), flow)) for flow in flows]

            def linked(x: Tensor) -> Tensor:  # (B, T, h, w, C) to (B, T, h, w, K, C)
                return link((x, *links) if links else x)[0]

            def penalty(marginals: Tensor) -> Tensor:
                o12 = b12((linked(marginals), colors))
                return o12 if pairwise == "triple" else split((b14(b13(stack(linked(o12)))), o12))

            stages = {"unary": unary}
            if pairwise is not None:
                colors = linked(guide)
                stages["triple"] = mean_field_update(
                    unary, unary, lambda q: b12((linked(q), colors))
                )
            logits = unary
            for i in range(num_iterations if pairwise else 0):
                logits = mean_field_update(unary, logits, penalty)
                if pairwise == "contexts" and i == 0:
                    stages["contexts"] = logits
            stages["final"] = b15(logits)
            return {stage: on_frames(x, clip) for stage, x in stages.items()}

        def on_frames(x: Tensor, clip: Tensor) -> Tensor:
            """From the grid to those of the clip's frames that are asked for."""
            if labels_of == "middle":
                return to_image((middle(x), middle(clip)))
            return split((to_image((merge(x), merge(clip))), x))

        clip = keras.Input((None, *input_shape), name="frames")
        names = ("forward_flow", "backward_flow") if linking == "flow" else ()
        flows = [keras.Input((None, *input_shape[:2], 2), name=name) for name in names]
        inputs = dict(zip(("frames", *names), (clip, *flows), strict=True))
        terms = tuple(split((x, clip)) for x in unary_term(merge(clip), config))
        stages = field(*terms, clip, *flows)
        super().__init__(inputs if flows else clip, stages, config)
        self._clip, self._terms, self._field = (clip, *flows), terms, field

    # Constants of other networks, arguments here.
    @property
    def clip_frames(self) -> int:  # type: ignore[override]
        """How many frames the network spans."""
        return self.frames

    @property
    def needs_flow(self) -> bool:  # type: ignore[override]
        """Whether the network takes the optical flow between its frames."""
        return self.linking == "flow"

    def context_kernels(self):
        return context_kernels(self)

    def triple_penalty_sign(self, inputs):
        """Return whether b12's penalty is larger (1) or smaller (-1) where a label is present.

        `context_kernels` weigh b12's penalties: where the sign is -1, read them negated.

        Args:
            inputs: what the network takes, a batch.

        Returns:
            1, -1, or 0 where it depends on the position.
        """
        return triple_penalty_sign(self, inputs)

    @classmethod
    def from_dpn(
        cls,
        dpn: DPN,
        frames: int = 3,
        context_window: int | Sequence[int] | None = 7,
        **arguments: Any,
    ) -> Self:
        """A network that starts from a trained one for pictures.

        Args:
            dpn: a `DPN`.
            frames: K, as in the constructor.
            context_window: as in the constructor; None keeps the other network's.
            arguments: of the constructor, instead of those of `dpn`.

        Returns:
            `SpatialTemporalDPN` whose weights are those of `dpn`, see `start_from`.

        Example:

        >>> from keras_dpn.models import DPN
        >>> dpn = DPN(num_classes=3, width=0.125, trunk="large_fov")
        >>> SpatialTemporalDPN.from_dpn(dpn, linking="static").context_window
        7
        """
        config = {key: value for key, value in dpn.get_config().items() if key != "name"}
        if context_window is not None:
            config["context_window"] = context_window
        model = cls(**config | {"frames": frames} | arguments)
        model.start_from(dpn)
        return model

    @renamed_argument("dpn", "other")
    def start_from(self, other: keras.Model) -> None:
        """Take over the weights of a trained network for images, or of one for clips.

        b13's filters of a network for images look at the middle frame as they did, cut to or filled
        up with zeros to the window here, and begin to look at the other frames from zero.

        Args:
            other: a `DPN` with the same trunk, classes, mixtures and pairwise part; or a
                `SpatialTemporalDPN` with the same windows and number of frames, too.

        Raises:
            ValueError: if a layer of that network doesn't fit.
        """
        super().start_from(other)

    def _weights_from(self, layers: Mapping[str, layers.Layer]) -> dict[str, list[np.ndarray]]:
        values = super()._weights_from(layers)
        if "b13" in values:
            kernel, bias = values["b13"]
            if kernel.shape[2] == self.num_classes:  # of one frame
                values["b13"] = [self._over_frames(kernel), bias]
        return values

    def _over_frames(self, kernel: np.ndarray) -> np.ndarray:
        """b13's filters for pictures, `(n, n, L, L K)`, as filters for the middle frame."""
        window = standardize_window(self.context_window, 2)
        for axis, size in enumerate(window):
            kernel = _resized(kernel, axis, size)
        others = self.frames // 2 * kernel.shape[2]
        return np.pad(kernel, [(0, 0), (0, 0), (others, others), (0, 0)])

    @renamed_argument("stage", "heads")
    def split(self, heads: str | Sequence[str] = "final") -> tuple[keras.Model, keras.Model]:
        """Return two models that together are this one: videos need each unary term only once.

        Args:
            heads: one of `head_names`, or several.

        Returns:
            A model from frames `(B, T, H, W, 3)` to the unary term `(B, T, h, w, L)` and the guide
            `(B, T, h, w, 3)`, frame by frame; and one from a list of these two, the frames and,
            where neighbours are linked by it, forward and backward flow, to the head's logits, or
            to a list of several heads'.

        Raises:
            ValueError: if the network has no such head.
        """
        names = [heads] if isinstance(heads, str) else list(heads)
        for name in names:
            check_one_of("heads", name, self.head_names)
        terms = keras.Model(self._clip[0], self._terms, name=f"{self.name}_terms")
        inputs = [keras.Input(x.shape[1:], name=x.name) for x in (*self._terms, *self._clip)]
        outputs = self._field(*inputs)
        logits = [outputs[name] for name in names]
        field = keras.Model(
            inputs, logits[0] if isinstance(heads, str) else logits, name=f"{self.name}_field"
        )
        return terms, field


def _resized(kernel: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Cuts an axis of a filter to another size, or fills it up with zeros, about its centre."""
    missing = size - kernel.shape[axis]
    # Where padding "same" has the centre, see IdentityContexts.
    before = (size - 1) // 2 - (kernel.shape[axis] - 1) // 2
    if missing >= 0:
        padding = [(0, 0)] * kernel.ndim
        padding[axis] = before, missing - before
        return np.pad(kernel, padding)
    return np.take(kernel, range(-before, -before + size), axis=axis)


@keras.saving.register_keras_serializable(package="keras_dpn")
class MergeFrames(layers.Layer):
    """Frames as a batch of pictures: `(B, T, ...)` to `(B T, ...)`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (_product(ops.shape(x)[:2]), *ops.shape(x)[2:]))

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((None, *x.shape[2:]), dtype=x.dtype)


@keras.saving.register_keras_serializable(package="keras_dpn")
class SplitFrames(layers.Layer):
    """A batch of pictures as the clips it was before: `(B T, ...)` with `(B, T, ...)`."""

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
    """Linked frames as pictures of many channels: `(B, T, h, w, K, L)` to `(B T, h, w, K L)`."""

    def call(self, x: Tensor) -> Tensor:
        batch, time, height, width, _, _ = ops.shape(x)
        return ops.reshape(x, (batch * time, height, width, x.shape[-2] * x.shape[-1]))

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        shape = (None, *x.shape[2:4], x.shape[-2] * x.shape[-1])
        return keras.KerasTensor(shape, dtype=x.dtype)


@keras.saving.register_keras_serializable(package="keras_dpn")
class MiddleFrame(layers.Layer):
    """The frame in the middle of each clip: `(B, T, ...)` to `(B, ...)`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, x: Tensor) -> Tensor:
        if x.shape[1] is not None and x.shape[1] % 2 == 0:
            raise ValueError(
                "SpatialTemporalDPN with labels_of='middle' expects clips with a frame in the "
                f"middle, an odd number of them, received {x.shape[1]}. Build it with "
                "labels_of='all' for clips of any length."
            )
        return x[:, ops.shape(x)[1] // 2]

    def compute_output_spec(self, x: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((x.shape[0], *x.shape[2:]), dtype=x.dtype)


def _product(sizes: Sequence[Any]) -> Any:
    return sizes[0] * sizes[1]
