"""L2NormScale: unit length, then a learnt scale a channel."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_dpn")
class L2NormScale(keras.layers.Layer):
    """Scale each position's feature vector to unit length, then each channel by a learnt factor.

    Features of different layers differ in magnitude, and the larger ones drown the others where
    they are joined; with this layer before the join they add up (ParseNet, ICLR 2016, sec. 3.3):
    `y_c = scale_c x_c / sqrt(sum_c x_c^2 + epsilon)`.

    Args:
        init_scale: initial value of all scales; 10 trains, 1 hardly does (ParseNet, sec. 4).
        axis: the channels' axis.
        epsilon: added to the sum of squares, so that a zero vector stays zero.

    Input shape:
        Any rank of at least 2; the size of `axis` must be known.

    Output shape:
        As the input. Sums are computed in float32.

    Raises:
        ValueError: if `axis` is not one of the input's or its size is unknown.

    Example:

    >>> L2NormScale(init_scale=10.0)(keras.ops.array([[3.0, 4.0]]))
    [[6. 8.]]
    """

    def __init__(self, init_scale=10.0, axis=-1, epsilon=1e-10, **kwargs):
        super().__init__(**kwargs)
        if not epsilon > 0:
            raise ValueError(
                f"Invalid value for argument `epsilon`: expected a positive number, "
                f"received {epsilon}."
            )
        self.init_scale = init_scale
        self.axis = axis
        self.epsilon = epsilon
        self.supports_masking = True

    def build(self, input_shape):
        rank = len(input_shape)
        if not -rank <= self.axis < rank or input_shape[self.axis] is None:
            raise ValueError(
                f"Invalid value for argument `axis`: expected an axis of known size of an input "
                f"of shape {tuple(input_shape)}, received {self.axis}."
            )
        self.scale = self.add_weight(
            shape=(input_shape[self.axis],),
            initializer=keras.initializers.Constant(self.init_scale),
            name="scale",
        )
        self.built = True

    def call(self, x):
        wide = ops.cast(x, "float32")  # squares of float16 overflow above 255
        squares = ops.sum(ops.square(wide), axis=self.axis, keepdims=True)
        shape = [1] * len(x.shape)
        shape[self.axis] = -1
        scale = ops.cast(ops.reshape(self.scale, shape), "float32")
        return ops.cast(wide * ops.rsqrt(squares + self.epsilon) * scale, x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "init_scale": self.init_scale,
            "axis": self.axis,
            "epsilon": self.epsilon,
        }
