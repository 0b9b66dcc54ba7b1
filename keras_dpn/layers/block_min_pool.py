"""BlockMinPool: minimum over each block of channels."""

from typing import Any

import keras

from keras_dpn import ops
from keras_dpn.ops.block_min_pool import check_divides
from keras_dpn.ops.checks import check_positive_int
from keras_dpn.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class BlockMinPool(keras.layers.Layer):
    """Minimum over blocks of `block_size` neighbouring channels.

    Group b14 of the Deep Parsing Network (ICCV 2015, Table 1b): of a label's K
    penalties it keeps the smallest, so that each pixel uses the label context that fits it best.

    Args:
        block_size: K, integer >= 1, a divisor of the input's channels.

    Input shape:
        `(..., L * K)`; the K channels of a label are adjacent.

    Output shape:
        `(..., L)`.

    Raises:
        ValueError: if `block_size` is not a positive divisor of the channels.

    Example:

    >>> BlockMinPool(2)(keras.ops.array([[3.0, 1.0, 5.0, 4.0]]))
    [[1. 4.]]
    """

    def __init__(self, block_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block_size = check_positive_int("block_size", block_size)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        check_divides(self.block_size, input_shape[-1])
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        return ops.block_min_pool(keras.ops.cast(x, self.compute_dtype), self.block_size)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_divides(self.block_size, input_shape[-1])
        return (*input_shape[:-1], input_shape[-1] // self.block_size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}
