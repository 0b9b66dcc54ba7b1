"""MeanFieldCRF: a fully connected conditional random field as a layer."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_dpn.graph import is_compiled_by_xla
from keras_dpn.layers.mean_field_arguments import (
    Kernel,
    bandwidths_of,
    check_probability,
    check_pruning,
    standardize_compatibility,
    standardize_kernels,
    standardize_learnable,
)
from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.checks import (
    check_channels_last,
    check_one_of,
    check_positive_int,
    holds_shapes,
    may_equal,
    size_advice,
    standardize_window,
)
from keras_dpn.ops.gaussian_kernels import (
    FILTERS,
    NORMALIZATIONS,
    gaussian_kernel,
    normalized,
)
from keras_dpn.ops.label_pruning import prune_labels, restore_labels
from keras_dpn.ops.matmul import matmul
from keras_dpn.ops.mean_field import mean_field_update
from keras_dpn.ops.permutohedral import MAX_DIMENSION
from keras_dpn.ops.two_labels import one_class, two_labels
from keras_dpn.typing import Shape, Tensor

# Logits are clipped to this range: the difference of two infinite ones is NaN.
_MAX_LOGIT = 1e30
_MAX_FEATURE = 1e15


@keras.saving.register_keras_serializable(package="keras_dpn")
class MeanFieldCRF(ShapeFromSpec, keras.layers.Layer):
    """Fully connected CRF: refines a segmentation along the edges of an image.

    Labels of all pairs of points interact through Gaussian kernels (Krähenbühl and Koltun 2011;
    DeepLab v1, sec. 4), K of them between positions p and values I of a guidance image, for example
    colours, and one between positions alone:

        k(i, j) = w1 exp(-|p_i - p_j|^2 / 2 sa^2 - |I_i - I_j|^2 / 2 sb^2)
                + w2 exp(-|p_i - p_j|^2 / 2 sg^2)

    Mean-field updates compute the marginals; each update filters the probabilities of all labels
    with the kernels. It works on batches, any number of classes, images, volumes (D, H, W) and
    sequences (T), of sizes that may be unknown; trains, and exports to standard TensorFlow
    operations. All arithmetic is in float32, whatever the dtype policy.

    Args:
        num_iterations: mean-field updates, integer >= 1.
        bilateral: `(w1, sa, sb)`, or a list of several such tuples; None for none. w1 >= 0; sa in
            points, one number or one per spatial axis; sb in the unit of the guidance image, one
            number or one per channel.
        spatial: `(w2, sg)`, as above; None for none.
        compatibility: "potts": all pairs of different labels have the same cost. "matrix": a
            matrix (L, L), the cost of label u (column) next to v (row), initialised as Potts'
            model. "matrix_per_kernel": one such matrix for each kernel. Or the initial values of a
            matrix.
        filter: "permutohedral", all pairs by the permutohedral lattice, for up to 6 spatial axes
            and channels; "window", exact kernels within `window`; "exact", all pairs, for small
            images.
        normalization: of the kernels by their sums n_i: "symmetric", `k / sqrt(n_i n_j)`, as
            pydensecrf's default; "row", `k / n_i`; or "none".
        trainable_weights_of: which of "weights" (w1, w2), "compatibility" (unless "potts") and
            "bandwidths" (sa, sb, sg; with the filters "window" and "exact") training changes.
        inference_iterations: replaces `num_iterations` outside of training.
        window: points, integer >= 1 or one per axis; needed for the filter "window".
        min_probability: smallest unary probability of a label, from 0 (leave the logits as they
            are) to below 1/L. Networks are often too confident for a CRF to correct them.
        prune_below: probability, from 0 (all labels) to below 1/L. Outside of training, labels
            whose unary probability is below it at every point of an image get no messages: each
            update filters only the others, in proportionally less time. The error is of the order
            of the threshold's square, see `ops.pruning_error_bound`. Needs Potts' model and a
            filter other than "window". Only on TensorFlow; functions that XLA compiles, and JAX,
            have static shapes and filter all labels.

    Input shape:
        A pair (logits, guide): `(B, *S, L)` and `(B, *S, C)` of one to three spatial axes S. With
        the default sb the guidance image is RGB, 0-255, uint8 or float. Logits of one class, whose
        sigmoid is its probability, are refined as those of two labels.

    Output shape:
        `(B, *S, L)`, float32: logits whose softmax are the refined marginals.

    Raises:
        ValueError: for values out of these ranges, channels first, logits and guide of different
            sizes, more dimensions than a lattice can have.

    Example:

    >>> logits, image = keras.ops.ones((2, 8, 6, 4)), keras.ops.ones((2, 8, 6, 3))
    >>> MeanFieldCRF()((logits, image)).shape
    (2, 8, 6, 4)
    """

    def __init__(
        self,
        num_iterations: int = 10,
        bilateral: Kernel | Sequence[Kernel] | None = (4.0, 121.0, 5.0),
        spatial: Kernel | None = (3.0, 3.0),
        compatibility: str | Sequence[Sequence[float]] | np.ndarray = "potts",
        filter: Literal["permutohedral", "window", "exact"] = "permutohedral",
        normalization: Literal["symmetric", "row", "none"] = "symmetric",
        trainable_weights_of: Sequence[str] = (),
        inference_iterations: int | None = None,
        window: int | Sequence[int] | None = None,
        min_probability: float = 0.0,
        prune_below: float = 0.0,
        **kwargs: Any,
    ) -> None:
        # Colours of 0..255 and weights near 0 lose their digits in half precision.
        super().__init__(autocast=False, **kwargs)
        check_channels_last(type(self).__name__)
        self.num_iterations = check_positive_int("num_iterations", num_iterations)
        self.inference_iterations = inference_iterations
        if inference_iterations is not None:
            check_positive_int("inference_iterations", inference_iterations)
        self.bilateral = bilateral
        self.spatial = spatial
        self._kernels = standardize_kernels(bilateral, spatial)
        self.compatibility = standardize_compatibility(compatibility)
        self.filter = check_one_of("filter", filter, FILTERS)
        self.normalization = check_one_of("normalization", normalization, NORMALIZATIONS)
        self.trainable_weights_of = standardize_learnable(
            trainable_weights_of, filter, self.compatibility
        )
        self.window = window
        self.min_probability = check_probability("min_probability", min_probability)
        self.prune_below = check_pruning(prune_below, filter, self.compatibility)
        if (filter == "window") != (window is not None):
            raise ValueError(
                "Invalid value for argument `window`: expected a size with filter='window', and "
                f"None without, received {window!r} with filter={filter!r}."
            )

    def build(self, input_shape: Sequence[Shape]) -> None:
        if len(input_shape) != 2 or not holds_shapes(input_shape):
            raise ValueError(
                "MeanFieldCRF expects a pair (logits, guide) as input, received one tensor of "
                f"shape {tuple(input_shape)}."
            )
        logits_shape, guide_shape = (tuple(shape) for shape in input_shape)
        _check_shapes(logits_shape, guide_shape)
        axes, labels = len(logits_shape) - 2, max(2, logits_shape[-1])
        if self.filter == "window":
            standardize_window(self.window, axes)
        for name in ("min_probability", "prune_below"):
            if getattr(self, name) * labels >= 1:
                raise ValueError(
                    f"Invalid value for argument `{name}`: expected a number below 1 / {labels}, "
                    f"received {getattr(self, name)!r}."
                )
        self._bandwidths = [
            self._add_bandwidths(k, kernel, axes, guide_shape[-1])
            for k, kernel in enumerate(self._kernels)
        ]
        weights = [kernel[0] for kernel in self._kernels]
        self.kernel_weights = self._add("kernel_weights", weights, "weights")
        if self.compatibility != "potts":
            self.compatibilities = self._add(
                "compatibility", self._first_compatibility(labels), "compatibility"
            )
        self.built = True

    def _add(self, name: str, values: ArrayLike, group: str) -> keras.Variable:
        values = np.asarray(values, "float32")
        return self.add_weight(
            name=name,
            shape=values.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(values, dtype),
            dtype="float32",
            autocast=False,
            trainable=group in self.trainable_weights_of,
        )

    def _add_bandwidths(
        self, k: int, kernel: Sequence[Any], axes: int, channels: int
    ) -> np.ndarray | keras.Variable:
        """Add the standard deviations of a kernel's positions and guidance values.

        Trainable ones are stored as logarithms, so that they stay positive.
        """
        parts = [bandwidths_of("sa", sigma, axes) for sigma in kernel[1:2]]
        parts += [bandwidths_of("sb", sigma, channels) for sigma in kernel[2:]]
        values = np.concatenate(parts)
        if self.filter == "permutohedral" and len(values) > MAX_DIMENSION:
            raise ValueError(
                "Invalid value for argument `filter`: the permutohedral lattice has at most "
                f"{MAX_DIMENSION} dimensions, received {axes} spatial axes and {channels} "
                "guide channels. Use filter='window', or fewer channels."
            )
        if "bandwidths" not in self.trainable_weights_of:
            return values
        return self._add(f"log_bandwidths_{k}", np.log(values), "bandwidths")

    def _first_compatibility(self, labels: int) -> ArrayLike:
        if isinstance(self.compatibility, str):
            first = -np.eye(labels)
            per_kernel = self.compatibility == "matrix_per_kernel"
            return np.stack([first] * len(self._kernels)) if per_kernel else first
        if np.shape(self.compatibility) != (labels, labels):
            raise ValueError(
                f"Invalid value for argument `compatibility`: expected a matrix ({labels}, "
                f"{labels}) for logits of {labels} labels, received shape "
                f"{np.shape(self.compatibility)}."
            )
        return self.compatibility

    def call(self, inputs: Sequence[Tensor], training: bool | None = None) -> Tensor:
        logits, guide = (ops.cast(x, "float32") for x in inputs)
        _check_shapes(logits.shape, guide.shape)
        logits, is_one_class = two_labels(logits), logits.shape[-1] == 1
        unary = self._unary(logits)
        if self.prune_below and not training and _has_dynamic_shapes():
            logits = _for_each_image(self._pruned, unary, guide)
        else:
            kernels = self._message_passing(logits, guide)
            logits = self._updated(unary, lambda q: self._costs(q, kernels), training)
        return one_class(logits) if is_one_class else logits

    def _updated(
        self, unary: Tensor, costs: Callable[[Tensor], Tensor], training: bool | None
    ) -> Tensor:
        logits = unary
        for _ in range(self._iterations(training)):
            logits = mean_field_update(unary, logits, costs)
        return logits

    def _pruned(self, unary: Tensor, guide: Tensor) -> Tensor:
        """Return the logits of one image, without the messages of labels that it hardly has."""
        kernels = self._message_passing(unary, guide)
        kept, rest = prune_labels(unary, self.prune_below)
        none = ops.zeros_like(rest)
        logits = self._updated(
            ops.concatenate([ops.take(unary, kept, axis=-1), rest], axis=-1),
            lambda q: ops.concatenate([self._costs(q[..., :-1], kernels), none], axis=-1),
            training=False,
        )
        return restore_labels(logits[..., :-1], unary, kept)

    def _iterations(self, training: bool | None) -> int:
        if training or self.inference_iterations is None:
            return self.num_iterations
        return self.inference_iterations

    def _unary(self, logits: Tensor) -> Tensor:
        logits = ops.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)
        if not self.min_probability:
            return ops.log_softmax(logits, axis=-1)
        probabilities = ops.softmax(logits, axis=-1)
        return ops.log(ops.maximum(probabilities, self.min_probability))

    def _message_passing(self, logits: Tensor, guide: Tensor) -> list[Any]:
        """Return the normalised kernels, multiplied by their weights unless these are trainable.

        They include Potts' model: up to a constant for all labels, the cost of a label is minus
        its probability around a point.
        """
        ones = ops.ones_like(logits[..., :1])
        positions = _positions(ones)
        sign = -1.0 if self.compatibility == "potts" else 1.0
        kernels = []
        for weight, kernel, bandwidths in zip(
            self._fixed_weights(), self._kernels, self._bandwidths, strict=True
        ):
            points = [positions] if len(kernel) == 2 else [positions, guide]
            features = ops.concatenate(points, axis=-1) / self._standard_deviations(bandwidths)
            features = ops.clip(features, -_MAX_FEATURE, _MAX_FEATURE)
            gaussian = gaussian_kernel(features, self.filter, self.window)
            kernels.append(normalized(gaussian, ones, self.normalization, sign * weight))
        return kernels

    def _fixed_weights(self) -> list[Any]:
        if "weights" in self.trainable_weights_of:
            return [1.0] * len(self._kernels)
        return ops.unstack(ops.convert_to_tensor(self.kernel_weights))

    def _standard_deviations(self, bandwidths: Tensor) -> Tensor:
        bandwidths = ops.convert_to_tensor(bandwidths, "float32")
        return ops.exp(bandwidths) if "bandwidths" in self.trainable_weights_of else bandwidths

    def _costs(self, marginals: Tensor, kernels: Sequence[Any]) -> Tensor:
        messages = [kernel.filter(marginals) for kernel in kernels]
        if "weights" in self.trainable_weights_of:
            weights = ops.unstack(ops.convert_to_tensor(self.kernel_weights))
            messages = [w * message for w, message in zip(weights, messages, strict=True)]
        if self.compatibility == "matrix_per_kernel":
            matrices = ops.unstack(ops.convert_to_tensor(self.compatibilities))
            messages = [matmul(*pair) for pair in zip(messages, matrices, strict=True)]
        costs = functools.reduce(ops.add, messages)
        if self.compatibility in ("potts", "matrix_per_kernel"):
            return costs
        return matmul(costs, ops.convert_to_tensor(self.compatibilities))

    def compute_output_spec(
        self, inputs: Sequence[Tensor], training: bool | None = None
    ) -> keras.KerasTensor:
        _check_shapes(inputs[0].shape, inputs[1].shape)
        return keras.KerasTensor(inputs[0].shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        names = (
            "num_iterations",
            "bilateral",
            "spatial",
            "compatibility",
            "filter",
            "normalization",
            "trainable_weights_of",
            "inference_iterations",
            "window",
            "min_probability",
            "prune_below",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _has_dynamic_shapes() -> bool:
    """Return whether tensors may have as many channels as their values say."""
    return keras.backend.backend() == "tensorflow" and not is_compiled_by_xla()


def _for_each_image(function: Callable[..., Tensor], unary: Tensor, guide: Tensor) -> Tensor:
    """Return a function's values of a batch's images, one after the other, on TensorFlow."""
    if unary.shape[0] in (0, 1):
        return function(unary, guide) if unary.shape[0] else unary
    import tensorflow as tf

    def of_each() -> Tensor:
        return tf.map_fn(
            lambda image: function(image[0][None], image[1][None])[0],
            (unary, guide),
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec(unary.shape[1:], "float32"),
        )

    # Results of no image can't be stacked.
    return tf.cond(tf.shape(unary)[0] > 0, of_each, lambda: unary)


def _check_shapes(logits: Shape, guide: Shape) -> None:
    if len(logits) not in (3, 4, 5) or len(logits) != len(guide):
        raise ValueError(
            "MeanFieldCRF expects logits (B, *S, L) and a guide (B, *S, C) with one to three "
            f"spatial axes S, received shapes {tuple(logits)} and {tuple(guide)}."
        )
    if None in (logits[-1], guide[-1]) or 0 in (*logits[1:], guide[-1]):
        raise ValueError(
            "MeanFieldCRF expects known numbers of labels and guide channels, and at least one "
            f"point, received shapes {tuple(logits)} and {tuple(guide)}."
        )
    if not may_equal(logits[:-1], guide[:-1]):
        raise ValueError(
            "MeanFieldCRF expects logits and guide of the same batch and spatial sizes, received "
            f"shapes {tuple(logits)} and {tuple(guide)}. {size_advice(logits, guide)}"
        )


def _positions(ones: Tensor) -> Tensor:
    """Return the position of each point, in points, (B, *S, axes), the last axis first: x, y.

    Other implementations have this order; the error of the lattice depends on it.
    """
    coordinates = [ops.cumsum(ones, axis=axis) - 1 for axis in range(len(ones.shape) - 2, 0, -1)]
    return ops.concatenate(coordinates, axis=-1)
