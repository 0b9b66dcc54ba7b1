"""GlobalContext: the mean feature of the whole image at each of its positions."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_dpn import ops
from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.checks import check_channels_last
from keras_dpn.ops.global_context import check_shapes, output_dtype, standardize_grid
from keras_dpn.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class GlobalContext(ShapeFromSpec, keras.layers.Layer):
    """Mean feature of the whole image, or of each region of a grid, at every position of the map.

    The effective receptive field of a position is much smaller than the theoretical one. With the
    mean concatenated to the local feature, or with a separate classifier on the mean, the network
    sees the whole scene (ParseNet, ICLR 2016, sec. 3.1 and 3.2: pool6). As the two features differ
    in magnitude, apply `L2NormScale` to each of them first.

    Args:
        grid: number of regions along each side, integer >= 1, or several such numbers, whose means
            are concatenated: the paper tried `(1, 2, 4)`. Position (y, x) of a map H x W is in
            region `(floor(y grid / H), floor(x grid / W))`.
        unpool: whether to return the mean of its region at each position; otherwise the layer
            returns one mean per region, for a separate classifier (late fusion).

    Input shape:
        `(B, H, W, C)`, or a pair of it and a mask of its valid positions, `(B, H, W)` or
        `(B, H, W, 1)` of 0 and 1 or booleans: in a padded batch each image then has its own mean. A
        region without a valid position has mean 0. All sizes may be unknown.

    Output shape:
        `(B, H, W, C * grids)` with `unpool`, else `(B, grid, grid, C)`. Summed in float32.

    Raises:
        ValueError: for another rank, a `grid` below 1, several without `unpool`, `valid` of another
            size than the map, and channels first.

    Example:

    >>> features = keras.ops.ones((2, 12, 15, 8))
    >>> GlobalContext(grid=(1, 2))(features).shape
    (2, 12, 15, 16)
    >>> GlobalContext(unpool=False)(features).shape
    (2, 1, 1, 8)
    """

    def __init__(self, grid: int | Sequence[int] = 1, unpool: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_channels_last("GlobalContext")
        self._grids = standardize_grid(grid, unpool)
        self.grid = self._grids if isinstance(grid, (tuple, list)) else self._grids[0]
        self.unpool = unpool

    def call(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        x, valid = _pair(inputs)
        return ops.global_context(x, self.grid, valid, self.unpool)

    def compute_output_spec(self, inputs: Tensor | Sequence[Tensor]) -> keras.KerasTensor:
        x, valid = _pair(inputs)
        check_shapes(x.shape, None if valid is None else valid.shape)
        batch, *size, channels = x.shape
        if channels is not None:
            channels *= len(self._grids)
        size = size if self.unpool else self._grids * 2
        return keras.KerasTensor((batch, *size, channels), dtype=output_dtype(x.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "grid": self.grid, "unpool": self.unpool}


def _pair(inputs: Any) -> tuple[Tensor, Tensor | None]:
    x, valid = inputs if isinstance(inputs, (tuple, list)) else (inputs, None)
    return x, valid
