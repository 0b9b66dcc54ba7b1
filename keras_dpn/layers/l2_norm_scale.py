"""L2NormScale: L2 normalisation followed by a learned scale per channel."""

import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_dpn import ops
from keras_dpn.ops.l2_norm_scale import check_axis, standardize_axes
from keras_dpn.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class L2NormScale(keras.layers.Layer):
    """Scale each position's feature vector to unit length, then each channel by a learned factor.

    Features of different layers differ in magnitude, and the larger ones dominate where they are
    concatenated; this layer brings them to the same scale first (ParseNet, ICLR 2016, sec. 3.3):
    `y_c = scale_c x_c / sqrt(sum_c x_c^2 + epsilon)`.

    Args:
        init_scale: initial value of all scales, a finite number; 10 trains, 1 hardly does
            (ParseNet, sec. 4). `adapt` takes it from data.
        axis: the channels' axis, or several axes that the vectors span; there is one scale for each
            component.
        epsilon: added to the sum of squares, so that a zero vector stays zero; its gradient there
            is that of the output divided by `sqrt(epsilon)`.
        scale_regularizer: Keras regularizer of the scales.
        scale_constraint: Keras constraint of the scales, for example "non_neg".

    Input shape:
        Any; the sizes of `axis` must be known.

    Output shape:
        As the input. Sums are computed in float32, and no gradient overflows float16.

    Raises:
        ValueError: if `init_scale` or `epsilon` is out of its range, or `axis` does not name
            distinct axes of the input of known size.

    Example:

    >>> L2NormScale(init_scale=10.0)(keras.ops.array([[3.0, 4.0]]))
    [[6. 8.]]
    """

    def __init__(
        self,
        init_scale: float = 10.0,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-10,
        scale_regularizer: Any = None,
        scale_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not _is_finite(init_scale):
            raise ValueError(
                f"Invalid value for argument `init_scale`: expected a finite number, received "
                f"{init_scale!r}."
            )
        if not _is_finite(epsilon) or epsilon < np.finfo("float32").tiny:
            raise ValueError(
                f"Invalid value for argument `epsilon`: expected a positive number of float32, "
                f"received {epsilon!r}."
            )
        axes = check_axis(axis)
        self.init_scale = init_scale
        self.axis = axes if isinstance(axis, (tuple, list)) else axes[0]
        self.epsilon = epsilon
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)
        self.scale_constraint = keras.constraints.get(scale_constraint)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        self.scale = self.add_weight(
            shape=[input_shape[n] for n in standardize_axes(self.axis, input_shape)],
            initializer=keras.initializers.Constant(self.init_scale),
            regularizer=self.scale_regularizer,
            constraint=self.scale_constraint,
            autocast=False,  # its gradient is a sum over all positions
            name="scale",
        )
        self.built = True

    def adapt(self, data: Tensor | Iterable[Tensor]) -> None:
        """Set all scales to the mean length of the vectors of some data.

        The layer's outputs are then as long as its inputs, on average.

        Args:
            data: a batch of the layer's inputs, or several: a `tf.data.Dataset`, a generator.

        Raises:
            ValueError: without data, and where all vectors are zero or one isn't finite.

        Example:

        >>> layer = L2NormScale()
        >>> layer.adapt(np.array([[3.0, 4.0], [0.0, 1.0]]))
        >>> layer.scale.numpy()
        array([3., 3.], dtype=float32)
        """
        total, count = 0.0, 0
        for batch in [data] if hasattr(data, "shape") else data:
            x = np.asarray(keras.ops.convert_to_numpy(batch), "float64")
            if not self.built:
                self.build(x.shape)
            lengths = np.sqrt(np.square(x).sum(axis=standardize_axes(self.axis, x.shape)))
            total, count = total + float(lengths.sum()), count + lengths.size
        scale = total / count if count else 0.0
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(
                "Invalid value for argument `data`: expected finite vectors that are not all zero, "
                f"received {count} of the mean length {scale:g}."
            )
        self.scale.assign(np.full(self.scale.shape, scale))

    def call(self, x: Tensor) -> Tensor:
        x = keras.ops.cast(x, self.compute_dtype)
        return ops.l2_norm_scale(x, self.scale, self.axis, self.epsilon)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "init_scale": self.init_scale,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer),
            "scale_constraint": keras.constraints.serialize(self.scale_constraint),
        }


def _is_finite(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)
