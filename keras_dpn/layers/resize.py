"""Resize: bilinear resizing as a layer."""

import keras
from keras import ops

from keras_dpn.ops.checks import check_channels_last, check_positive_int
from keras_dpn.ops.resize import resize


@keras.saving.register_keras_serializable(package="keras_dpn")
class Resize(keras.layers.Layer):
    """Bilinear resizing to a fixed size, by a factor, or to the size of another tensor.

    Unlike `keras.layers.Resizing` and `UpSampling2D` it trains and exports where the sizes are
    unknown. Exactly one of `size` and `factor` may be given; without either the layer takes a
    pair `(x, reference)` and gives `x` the reference's height and width.

    Args:
        size: `(height, width)` of the output.
        factor: the output's size in terms of the input's, an integer >= 1. With a reference as
            well, the enlarged input is cut to the reference's size: right for feature maps of a
            stride, whose last row and column may look beyond the image.
        align_corners: see `keras_dpn.ops.resize`.

    Input shape:
        `(B, H, W, C)`, or a pair of it and a reference `(B, height, width, any)`.

    Output shape:
        `(B, height, width, C)`, float32.

    Raises:
        ValueError: for other ranks, sizes below 1, or both of `size` and `factor`.

    Example:

    >>> Resize(factor=2)(keras.ops.ones((1, 3, 4, 5))).shape
    (1, 6, 8, 5)
    """

    def __init__(self, size=None, factor=None, align_corners=False, **kwargs):
        super().__init__(**kwargs)
        if size is not None and factor is not None:
            raise ValueError(
                "Invalid values for arguments `size` and `factor`: expected at most one of them, "
                f"received {size} and {factor}."
            )
        if size is not None:
            size = tuple(check_positive_int("size", n) for n in size)
        if factor is not None:
            factor = check_positive_int("factor", factor)
        check_channels_last("Resize")
        self.size = size
        self.factor = factor
        self.align_corners = align_corners

    def call(self, inputs):
        x, reference = inputs if isinstance(inputs, (tuple, list)) else (inputs, None)
        limit = None if reference is None else ops.shape(reference)[1:3]
        if self.factor is None:
            return resize(x, self._target(limit), self.align_corners)
        enlarged = tuple(n * self.factor for n in ops.shape(x)[1:3])
        out = resize(x, enlarged, self.align_corners)
        return out if limit is None else out[:, : limit[0], : limit[1]]

    def _target(self, limit):
        if self.size is None and limit is None:
            raise ValueError(
                "Resize without `size` and `factor` expects a pair (x, reference) as input, "
                "received one tensor."
            )
        return self.size or limit

    def compute_output_spec(self, inputs):
        shapes = [tuple(x.shape) for x in inputs] if isinstance(inputs, (tuple, list)) else None
        x = tuple(inputs.shape) if shapes is None else shapes[0]
        if len(x) != 4:
            raise ValueError(f"Resize expects an input of shape (B, H, W, C), received {x}.")
        if shapes is not None:
            target = shapes[1][1:3]
        elif self.factor is not None:
            target = tuple(None if n is None else n * self.factor for n in x[1:3])
        else:
            target = self._target(None)
        return keras.KerasTensor((x[0], *target, x[3]), dtype="float32")

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "factor": self.factor,
            "align_corners": self.align_corners,
        }
