"""DeepParsingField: the random field of the Deep Parsing Network as a layer."""

import functools
import operator
from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers, ops

from keras_dpn.layers.block_min_pool import BlockMinPool
from keras_dpn.layers.local_conv import LocalConv1D, LocalConv2D, LocalConv3D
from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.cell_means import cell_means
from keras_dpn.ops.checks import (
    check_channels_last,
    check_number,
    check_one_of,
    check_positive_int,
    check_positive_number,
    holds_shapes,
    may_equal,
    size_advice,
    standardize_window,
)
from keras_dpn.ops.matmul import without_autocast
from keras_dpn.ops.mean_field import parsing_field_logits
from keras_dpn.ops.resize import resize
from keras_dpn.ops.two_labels import one_class, two_labels
from keras_dpn.typing import Shape, Tensor

# By the number of spatial axes.
_LOCAL_CONVS = {1: LocalConv1D, 2: LocalConv2D, 3: LocalConv3D}
_CONVS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}


@keras.saving.register_keras_serializable(package="keras_dpn")
class DeepParsingField(ShapeFromSpec, layers.Layer):
    """Random field of the Deep Parsing Network: refines the logits of any network.

    One mean-field update combines each position's logits with the labels and colours around it
    (ICCV 2015, eq. 9; groups b12 to b15 of Table 1b):

        o15(i, u) = softmax_u( ln o11(i, u) - o14(i, u) )

    with o11 the softmax of the logits, o12 their triple penalty (`LocalConv2D`, b12), o13 the label
    contexts (b13: K filters for each label) and o14 the smallest of the K (`BlockMinPool`, b14).
    Before training b13 passes b12's penalties on, as the network's own does: the layer trains from
    there, in one go or after the layers below it, as in the paper. All arithmetic is in float32,
    whatever the dtype policy.

    Args:
        window: of b12, in positions of the grid; an integer, or one per axis.
        context_window: of b13's filters, likewise.
        mixtures: K, filters for each label.
        num_iterations: mean-field updates, which share their weights.
        stride: positions per axis of one cell of the field's grid; an integer, or one per axis. At
            more than 1 the field works on means of the logits and colours over cells, in a fraction
            of the time and memory; it is upsampled bilinearly, the logits keep their resolution.
        pairwise: "contexts", or "triple" for `softmax(ln o11 - o12)`, without b13 and b14.
        kernel: of b12, "squared_distance" or "gaussian"; see `LocalConv2D`, also for the next four.
        gate: whether b12 multiplies the sum over the window with the label's own probability.
        color_weight: initial weight of b12's distance between colours.
        position_weight: initial weight of b12's distance between positions, in cells.
        scale: initial factor of b12's penalty.
        noise: standard deviation of b13's initial filters around the identity.
        color_unit: the unit in which b12 compares colours, in the unit of the image.
        return_heads: whether to return the logits after each part, as `DPN.head_model` does.

    Input shape:
        A pair (logits, image): `(B, *S, L)` and `(B, *S, C)` of one to three spatial axes S. The
        logits may be of one class, whose sigmoid is its probability: they are refined as those of
        two labels. The image has any number of channels; with the default `color_unit` it is RGB,
        0-255, uint8 or float.

    Output shape:
        `(B, *S, L)`, float32 logits. With `return_heads` a dictionary of them: "unary", the input;
        "triple", after b12; "contexts", after the first update with b13; "final".

    Raises:
        ValueError: for values out of these ranges, channels first, logits and image of different
            sizes.

    Example:

    >>> logits, image = keras.ops.ones((2, 8, 6, 4)), keras.ops.ones((2, 8, 6, 3))
    >>> DeepParsingField(window=5, context_window=3)((logits, image)).shape
    (2, 8, 6, 4)
    """

    def __init__(
        self,
        window: int | Sequence[int] = 50,
        context_window: int | Sequence[int] = 9,
        mixtures: int = 5,
        num_iterations: int = 1,
        stride: int | Sequence[int] = 1,
        pairwise: Literal["contexts", "triple"] = "contexts",
        kernel: Literal["squared_distance", "gaussian"] = "squared_distance",
        gate: bool = True,
        color_weight: float = 1.0,
        position_weight: float = 0.0,
        scale: float = 1.0,
        noise: float = 0.01,
        color_unit: float = 32.0,
        return_heads: bool = False,
        **kwargs: Any,
    ) -> None:
        # Colours of 0..255 lose their digits in half precision before `call` could save them.
        super().__init__(autocast=False, **kwargs)
        check_channels_last(type(self).__name__)
        self.window = window
        self.context_window = context_window
        self.mixtures = check_positive_int("mixtures", mixtures)
        self.num_iterations = check_positive_int("num_iterations", num_iterations)
        self.stride = stride
        for name in ("window", "context_window", "stride"):
            size = getattr(self, name)
            standardize_window(size, len(size) if isinstance(size, (tuple, list)) else 1, name)
        self.pairwise = check_one_of("pairwise", pairwise, ("triple", "contexts"))
        self.kernel = check_one_of("kernel", kernel, ("squared_distance", "gaussian"))
        self.gate = gate
        self.color_weight = check_number("color_weight", color_weight)
        self.position_weight = check_number("position_weight", position_weight)
        self.scale = check_number("scale", scale)
        self.noise = check_number("noise", noise, minimum=0)
        self.color_unit = check_positive_number("color_unit", color_unit)
        self.return_heads = return_heads

    def build(self, input_shape: Sequence[Shape]) -> None:
        logits_shape, _ = input_shape = _check_shapes(input_shape)
        axes, labels = len(logits_shape) - 2, max(2, logits_shape[-1])
        self._strides = standardize_window(self.stride, axes, "stride")
        self.b12 = _LOCAL_CONVS[axes](
            standardize_window(self.window, axes),
            kernel=self.kernel,
            gate=self.gate,
            color_weight=self.color_weight,
            position_weight=self.position_weight,
            scale=self.scale,
            dtype="float32",
            name="b12",
        )
        channels = (labels, input_shape[1][-1])
        grid = [(logits_shape[0], *([None] * axes), n) for n in channels]
        self.b12.build(grid)
        if self.pairwise == "contexts":
            window = standardize_window(self.context_window, axes, "context_window")
            self.b13 = contexts_layer(labels, window, self.mixtures, self.noise)
            self.b13.build(grid[0])
            self.b14 = BlockMinPool(self.mixtures, dtype="float32", name="b14")
        self.built = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor | dict[str, Tensor]:
        _check_shapes([tuple(x.shape) for x in inputs])
        logits, image = (ops.cast(x, "float32") for x in inputs)
        logits, is_one_class = two_labels(logits), logits.shape[-1] == 1
        guide = cell_means(image / self.color_unit, self._strides)
        heads = parsing_field_logits(
            unary := cell_means(logits, self._strides),
            triple=lambda marginals: self.b12((marginals, guide)),
            contexts=self._contexts if self.pairwise == "contexts" else None,
            num_iterations=self.num_iterations,
        )
        names = heads if self.return_heads else ("final",)
        if max(self._strides) > 1:
            heads = {name: self._refined(logits, heads[name] - unary) for name in names}
        if is_one_class:
            heads = {name: one_class(heads[name]) for name in names}
        return heads if self.return_heads else heads["final"]

    def _contexts(self, o12: Tensor) -> Tensor:
        with without_autocast(o12):
            return self.b14(self.b13(o12))

    def _refined(self, logits: Tensor, change: Tensor) -> Tensor:
        """Add a change of the logits on the field's grid to those of the image's positions."""
        sizes = ops.shape(logits)[1:-1]
        for axis, factor in enumerate(self._strides, start=1):
            change = _upsample(change, axis, factor)
        return logits + change[(slice(None), *(slice(0, n) for n in sizes))]

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> Any:
        names = ["unary", "triple", "contexts", "final"]
        if self.pairwise == "triple":
            names.remove("contexts")
        shape = inputs[0].shape
        heads = {name: keras.KerasTensor(shape, dtype="float32") for name in names}
        return heads if self.return_heads else heads["final"]

    def get_config(self) -> dict[str, Any]:
        names = (
            *("window", "context_window", "mixtures", "num_iterations", "stride", "pairwise"),
            *("kernel", "gate", "color_weight", "position_weight", "scale", "noise"),
            *("color_unit", "return_heads"),
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _check_shapes(input_shape: Any) -> list[Shape]:
    """Return the shapes of logits and image; raise ValueError unless they fit each other."""
    if len(input_shape) != 2 or not holds_shapes(input_shape):
        raise ValueError(
            "DeepParsingField expects a pair (logits, image) as input, received one tensor of "
            f"shape {tuple(input_shape)}."
        )
    logits, image = (tuple(shape) for shape in input_shape)
    if len(logits) not in (3, 4, 5) or not may_equal(logits[:-1], image[:-1]):
        raise ValueError(
            "DeepParsingField expects logits (B, *S, L) and an image (B, *S, C) of the same one to "
            f"three spatial sizes S, received shapes {logits} and {image}. "
            f"{size_advice(logits, image)}"
        )
    if None in (logits[-1], image[-1]):
        raise ValueError(
            "DeepParsingField expects known numbers of labels and image channels, received shapes "
            f"{logits} and {image}."
        )
    return [logits, image]


def _upsample(x: Tensor, axis: int, factor: int) -> Tensor:
    """Upsample one axis bilinearly."""
    if factor == 1:
        return x
    shape = list(ops.shape(x))
    size = shape[axis]
    # As an image whose height is this axis, and whose width are the axes after it.
    width = functools.reduce(operator.mul, shape[axis + 1 : -1], 1)
    x = resize(ops.reshape(x, (-1, size, width, shape[-1])), (size * factor, width))
    shape[axis] = size * factor
    return ops.reshape(x, shape)


def contexts_layer(
    labels: int, window: Sequence[int], mixtures: int, noise: float, frames: int = 1
) -> layers.Layer:
    """Return b13, the label contexts: a convolution that starts as the identity plus noise.

    Args:
        labels: L.
        window: of the filters, one size per spatial axis.
        mixtures: K, filters for each label.
        noise: standard deviation of the initial filters around the identity.
        frames: N, if the inputs are the penalties of N frames, `(B, *S, N L)`.

    Returns:
        `keras.layers.Conv1D`, `Conv2D` or `Conv3D` from penalties to `(B, *S, L K)`, the K of a
        label next to each other.
    """
    return _CONVS[len(window)](
        labels * mixtures,
        tuple(window),
        padding="same",
        kernel_initializer=IdentityContexts(mixtures, noise, frames),
        dtype="float32",
        name="b13",
    )


@keras.saving.register_keras_serializable(package="keras_dpn")
class IdentityContexts(keras.initializers.Initializer):
    """Initialise b13's filters as the identity of each label's penalty, plus noise.

    The noise distinguishes a label's K filters. Adding b13 to a trained b12 then leaves the
    network's output unchanged but for the noise (b14 of K equal channels is that channel).
    """

    def __init__(self, mixtures: int, noise: float = 0.01, frames: int = 1) -> None:
        self.mixtures = mixtures
        self.noise = noise
        self.frames = frames  # concatenated; the middle frame's labels are passed on

    def __call__(self, shape: Shape, dtype: str | None = None) -> Tensor:
        *window, channels, _ = shape
        labels, middle = channels // self.frames, self.frames // 2
        # Not `repeat`, which fails on PyTorch's device "meta" (Keras 3.15.1).
        identity = ops.tile(ops.eye(labels, dtype=dtype)[..., None], (1, 1, self.mixtures))
        identity = ops.reshape(identity, (labels, labels * self.mixtures))
        # Convolutions with padding "same" have the centre of an even window one further forward
        # than the other windows here.
        centre = [((n - 1) // 2, n // 2) for n in window]
        others = (middle * labels, (self.frames - 1 - middle) * labels)
        identity = ops.reshape(identity, (*[1] * len(window), *identity.shape))
        identity = ops.pad(identity, [*centre, others, (0, 0)])
        return identity + keras.random.normal(shape, stddev=self.noise, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"mixtures": self.mixtures, "noise": self.noise, "frames": self.frames}
