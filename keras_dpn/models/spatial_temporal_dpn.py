"""The spatial-temporal Deep Parsing Network (journal version): clips instead of images."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import layers

from keras_dpn.deprecation import renamed_argument
from keras_dpn.layers import LocalConv3D, Resize
from keras_dpn.models.backbones import as_config
from keras_dpn.models.dpn import DPN, check_dpn_config, smallest_contexts, unary_term
from keras_dpn.models.dpn_arguments import (
    DEFAULTS,
    DEPRECATED,
    GroupedModel,
    accept_flat_arguments,
    complete_group,
    merge_groups,
)
from keras_dpn.models.frames import (
    FindLinks,
    FollowLinks,
    MergeFrames,
    MiddleFrame,
    SplitFrames,
    StackNeighbors,
)
from keras_dpn.models.guide import Guide, check_guide_channels
from keras_dpn.models.label_contexts import context_kernels, triple_penalty_sign
from keras_dpn.models.staged import check_input_shape
from keras_dpn.ops.checks import check_one_of, standardize_spacing, standardize_window
from keras_dpn.ops.mean_field import parsing_field_logits
from keras_dpn.ops.node_links import check_frames
from keras_dpn.ops.two_labels import one_class
from keras_dpn.typing import Shape, Tensor

# Local variables of the constructor that are no arguments.
_NO_ARGUMENTS = ("self", "__class__", "dpn")


@keras.saving.register_keras_serializable(package="keras_dpn")
class SpatialTemporalDPN(GroupedModel):
    """Deep Parsing Network over space and time: a Markov random field on the frames of a clip.

    The unary term is that of `DPN`, the same for all frames. Its random field spans K frames:
    b12's window (K x 50 x 50 in the paper) and b13's filters (K x 7 x 7) cover each frame's
    neighbours in time, which are linked by optical flow (dynamic node linking, `DynamicNodeLink`).

    Args:
        num_classes: L, integer >= 2; or 1, see `DPN`.
        frames: K, odd integer, how many frames the windows of b12 and b13 span.
        input_shape: `(height, width, C)` of a frame; None for sizes that differ.
        linking: "flow", neighbours in time along the optical flow; or "static", at the same
            position.
        link_threshold: largest forward-backward error of the flow at which a link counts, in pixels
            of the frames.
        frame_spacing: distance of successive frames in b12's comparison of positions, in pixels of
            the pairwise part's grid. At 1 a pixel's neighbour in time would count less than any in
            space, as the learned position weight favours distant pixels.
        output_frames: "center", logits of the clip's center frame; or "all", of every frame.
        **dpn: the other arguments of `DPN`; each frame has its own global context, and the windows
            of `local_conv` and `contexts` (7) are spatial ones. b12 takes marginals here, too, also
            with `unary_activation="sigmoid"`.

    Input shape:
        With linking "static" only the frames; otherwise a dictionary:
        "frames": `(B, T, H, W, C)`, RGB if C is 3, 0-255, uint8 or float, for any T; odd for the
        center one.
        "forward_flow": `(B, T-1, H, W, 2)`, (dx, dy) in pixels, from frame t to t+1.
        "backward_flow": `(B, T-1, H, W, 2)`, from frame t+1 to t.

    Output shape:
        `(B, H, W, num_classes)`, or `(B, T, H, W, num_classes)` for all frames; float32 logits.

    Raises:
        TypeError: for an argument, or a key of one, that isn't one of these.
        ValueError: for values out of these ranges, and clips without a center frame.

    Example:

    >>> model = SpatialTemporalDPN(3, linking="static", width=0.125, backbone="large_fov")
    >>> model(keras.ops.zeros((1, 3, 13, 9, 3))).shape
    (1, 13, 9, 3)
    """

    passes_on_to = DPN
    deprecated_arguments = DEPRECATED | {"labels_of": "output_frames"}

    @accept_flat_arguments
    def __init__(
        self,
        num_classes: int,
        frames: int = 3,
        input_shape: Shape = (None, None, 3),
        linking: str = "flow",
        link_threshold: float = 1.0,
        frame_spacing: float = 10.0,
        output_frames: str = "center",
        name: str = "spatial_temporal_dpn",
        **dpn: Any,
    ) -> None:
        own = {key: value for key, value in locals().items() if key not in _NO_ARGUMENTS}
        config = _dpn_defaults() | dpn | own
        for group in DEFAULTS:
            smaller = {"window": 7} if group == "contexts" else {}
            config[group] = complete_group("SpatialTemporalDPN", group, config[group], **smaller)
        pairwise, pairwise_stride = config["pairwise"], config["pairwise_stride"]
        check_dpn_config(config)
        check_input_shape(input_shape)
        check_guide_channels(config["guide_channels"], input_shape[-1])
        check_frames(frames)
        check_one_of("linking", linking, ("flow", "static"))
        check_one_of("output_frames", output_frames, ("center", "all"))

        # === Layers ===
        merge, split = MergeFrames(name="merge_frames"), SplitFrames(name="split_frames")
        # On a coarse grid the flow is in units of its cells: averaged over a cell, and divided.
        coarse = Guide(pairwise_stride, pairwise_stride, name="coarse_flow")
        find = FindLinks(frames, link_threshold / pairwise_stride, name="find_links")
        follow = FollowLinks(frames, name="follow_links")
        window = (frames, *standardize_window(config["local_conv"]["window"], 2))
        spacing = (*standardize_spacing(frame_spacing, 1, "frame_spacing"), 1.0, 1.0)
        arguments = config["local_conv"] | {"window": window, "spacing": spacing}
        b12 = LocalConv3D(**arguments, name="b12")
        stack = StackNeighbors(name="stack_neighbors")
        smallest = smallest_contexts(config, frames)  # b13 and b14
        b15 = layers.Identity(dtype="float32", name="b15")
        center = MiddleFrame(name="middle_frame")
        to_image = Resize(factor=pairwise_stride, name="resize")

        # === Functional model ===
        def field(unary: Tensor, guide: Tensor, clip: Tensor, *flows: Tensor) -> dict[str, Tensor]:
            """Return the logits at each head, from the grid's terms and the model's inputs."""
            grid_flows = [split((coarse(merge(flow)), flow)) for flow in flows]
            links = find((guide, *grid_flows)) if flows and frames > 1 else ()

            def contexts(o12: Tensor) -> Tensor:
                return split((smallest(stack(follow((o12, *links)))), o12))

            heads = {"unary": unary, "final": unary}
            if pairwise is not None:
                colors = follow((guide, *links))
                heads = parsing_field_logits(
                    unary,
                    triple=lambda marginals: b12((follow((marginals, *links)), colors)),
                    contexts=contexts if pairwise == "contexts" else None,
                    num_iterations=config["num_iterations"],
                )
            heads["final"] = b15(heads["final"])
            if config["num_classes"] == 1:
                heads = {head: one_class(x) for head, x in heads.items()}
            return {head: on_frames(x, clip) for head, x in heads.items()}

        def on_frames(x: Tensor, clip: Tensor) -> Tensor:
            """Upsample logits to the frames of the clip that `output_frames` selects."""
            if output_frames == "center":
                return to_image((center(x), center(clip)))
            return split((to_image((merge(x), merge(clip))), x))

        clip = keras.Input((None, *input_shape), name="frames")
        names = ("forward_flow", "backward_flow") if linking == "flow" else ()
        flows = [keras.Input((None, *input_shape[:2], 2), name=name) for name in names]
        inputs = dict(zip(("frames", *names), (clip, *flows), strict=True))
        terms = tuple(split((x, clip)) for x in unary_term(merge(clip), config))
        heads = field(*terms, clip, *flows)
        config |= {"backbone": as_config(config["backbone"])}
        super().__init__(inputs if flows else clip, heads, config)
        self._clip, self._terms, self._field = (clip, *flows), terms, field

    # Constants in other networks, arguments here.
    @property
    def clip_frames(self) -> int:  # type: ignore[override]
        """How many frames the network spans."""
        return self.frames

    @property
    def needs_flow(self) -> bool:  # type: ignore[override]
        """Whether the network takes the optical flow between its frames."""
        return self.linking == "flow"

    def context_kernels(self) -> np.ndarray | None:
        return context_kernels(self)

    def triple_penalty_sign(self, inputs: Any) -> int:
        """Return whether b12's penalty is larger (1) or smaller (-1) where a label is present.

        `context_kernels` weight b12's penalties: negate them where the sign is -1.

        Args:
            inputs: a batch of the network's inputs.

        Returns:
            1, -1, or 0 where it depends on the position.
        """
        return triple_penalty_sign(self, inputs)

    @classmethod
    def from_dpn(
        cls,
        dpn: DPN,
        frames: int = 3,
        context_window: int | tuple[int, int] | None = 7,
        **arguments: Any,
    ) -> Self:
        """Return a network for clips, initialised with a trained one for images.

        Args:
            dpn: a `DPN`.
            frames: K, as in the constructor.
            context_window: window of b13's filters; None keeps the other network's.
            **arguments: constructor arguments that replace those of `dpn`.

        Returns:
            `SpatialTemporalDPN` whose weights are those of `dpn`, see `start_from`.

        Example:

        >>> from keras_dpn.models import DPN
        >>> dpn = DPN(num_classes=3, width=0.125, backbone="large_fov")
        >>> SpatialTemporalDPN.from_dpn(dpn, linking="static").contexts["window"]
        7
        """
        config = {key: value for key, value in dpn.get_config().items() if key != "name"}
        if context_window is not None:
            config = merge_groups(config, {"contexts": {"window": context_window}})
        model = cls(**cls.updated_config(config, {"frames": frames, **arguments}))
        model.start_from(dpn)
        return model

    @renamed_argument("dpn", "other")
    def start_from(self, other: keras.Model) -> None:
        """Take over the weights of a trained network for images, or of one for clips.

        b13's filters of a network for images become those of the center frame, cropped or padded
        with zeros to this window; the filters of the other frames start at zero. Learned filters of
        b12 become those of the center frame, too; the others keep their initial values.

        Args:
            other: a `DPN` with the same backbone, classes, mixtures and pairwise part; or a
                `SpatialTemporalDPN` with the same windows and number of frames, too.

        Raises:
            ValueError: if a layer of that network doesn't fit.
        """
        super().start_from(other)

    def _weights_from(self, layers: Mapping[str, layers.Layer]) -> dict[str, list[np.ndarray]]:
        values = super()._weights_from(layers)
        if "b13" in values:
            kernel, bias = values["b13"]
            if kernel.shape[2] == max(2, self.num_classes):  # of one frame
                values["b13"] = [self._over_frames(kernel), bias]
        if "b12" in values and self.local_conv["kernel"] == "learned":
            values["b12"] = [self._filters_over_frames(value) for value in values["b12"]]
        return values

    def _filters_over_frames(self, values: np.ndarray) -> np.ndarray:
        """Return b12's filters for images as those of the center frame; other weights as given."""
        own = np.array(self.get_layer("b12").filters)
        if values.shape != (*own.shape[:2], own.shape[2] // self.frames):
            return values
        own[..., np.arange(values.shape[2]) + self.frames // 2 * values.shape[2]] = values
        return own

    def _over_frames(self, kernel: np.ndarray) -> np.ndarray:
        """Return b13's filters for images, `(n, n, L, L K)`, as filters for the center frame."""
        window = standardize_window(self.contexts["window"], 2)
        for axis, size in enumerate(window):
            kernel = _resized(kernel, axis, size)
        others = self.frames // 2 * kernel.shape[2]
        return np.pad(kernel, [(0, 0), (0, 0), (others, others), (0, 0)])

    @renamed_argument("stage", "heads")
    def split(self, heads: str | Sequence[str] = "final") -> tuple[keras.Model, keras.Model]:
        """Return this network as two models, so that a video needs each unary term only once.

        Args:
            heads: one of `head_names`, or several.

        Returns:
            A model from frames `(B, T, H, W, 3)` to the unary term `(B, T, h, w, L)` and the
            guidance image `(B, T, h, w, 3)` of each frame; and one from a list of these two, the
            frames and, if it links them, forward and backward flow, to the head's logits, or to a
            list of the logits of several heads.

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


def _dpn_defaults() -> dict[str, Any]:
    """Return the defaults of the arguments of `DPN`."""
    parameters = inspect.signature(DPN.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.name != "self"}


def _resized(kernel: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Crop an axis of a filter to another size, or pad it with zeros, around its centre."""
    missing = size - kernel.shape[axis]
    # The centre as of padding "same", see IdentityContexts.
    before = (size - 1) // 2 - (kernel.shape[axis] - 1) // 2
    if missing >= 0:
        padding = [(0, 0)] * kernel.ndim
        padding[axis] = before, missing - before
        return np.pad(kernel, padding)
    return np.take(kernel, range(-before, -before + size), axis=axis)
