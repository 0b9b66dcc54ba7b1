"""Resize: bilinear resizing as a layer."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.checks import check_channels_last, check_positive_int
from keras_dpn.ops.resize import check_size, resize
from keras_dpn.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class Resize(ShapeFromSpec, keras.layers.Layer):
    """Resize bilinearly to a fixed size, by a factor, or to the size of another tensor.

    Unlike `keras.layers.Resizing` and `UpSampling2D`, it trains and exports with unknown sizes.
    At most one of `size` and `factor` may be given; without either the layer takes a pair
    `(x, reference)` and resizes `x` to the height and width of the reference.

    Args:
        size: `(height, width)` of the output.
        factor: the output's size divided by the input's, an integer >= 1. With a reference as
            well, the upsampled input is cropped to the reference's size, as feature maps of a
            stride need it, whose last row and column may extend beyond the image.
        align_corners: see `keras_dpn.ops.resize`.

    Input shape:
        `(B, H, W, C)`, or a pair of it and a reference `(B, height, width, any)`.

    Output shape:
        `(B, height, width, C)`, float32.

    Raises:
        ValueError: for other ranks, sizes below 1, both of `size` and `factor`, a pair with
            `size`, one tensor without either, or a reference larger than the upsampled input.

    Example:

    >>> Resize(factor=2)(keras.ops.ones((1, 3, 4, 5))).shape
    (1, 6, 8, 5)
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        factor: int | None = None,
        align_corners: bool = False,
        **kwargs: Any,
    ) -> None:
        # Logits of 32 bits would lose digits in half precision before `call` could save them.
        super().__init__(autocast=False, **kwargs)
        if size is not None and factor is not None:
            raise ValueError(
                "Invalid values for arguments `size` and `factor`: expected at most one of them, "
                f"received {size} and {factor}."
            )
        if size is not None:
            size = check_size(size)
        if factor is not None:
            factor = check_positive_int("factor", factor)
        check_channels_last("Resize")
        self.size = size
        self.factor = factor
        self.align_corners = align_corners

    def call(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        x, reference = _pair(inputs)
        self._check(x, reference)
        limit: Any = None if reference is None else ops.shape(reference)[1:3]
        if self.factor is None:
            return resize(x, self.size or limit, self.align_corners)
        upsampled = tuple(n * self.factor for n in ops.shape(x)[1:3])
        out = resize(x, upsampled, self.align_corners)
        return out if limit is None else out[:, : limit[0], : limit[1]]

    def compute_output_spec(self, inputs: Tensor | Sequence[Tensor]) -> keras.KerasTensor:
        x, reference = _pair(inputs)
        self._check(x, reference)
        size = self.size or (self._upsampled(x) if reference is None else reference.shape[1:3])
        return keras.KerasTensor((x.shape[0], *size, x.shape[3]), dtype="float32")

    def _check(self, x: Tensor, reference: Tensor | None) -> None:
        if len(x.shape) != 4:
            raise ValueError(
                f"Resize expects an input of shape (B, H, W, C), received {tuple(x.shape)}."
            )
        if reference is None and self.size is None and self.factor is None:
            raise ValueError(
                "Resize without `size` and `factor` expects a pair (x, reference) as input, "
                "received one tensor."
            )
        if reference is not None and self.size is not None:
            raise ValueError("Resize with `size` expects one tensor as input, received a pair.")
        if reference is not None and self.factor is not None:
            upsampled, limit = self._upsampled(x), tuple(reference.shape[1:3])
            if any(n and m and n < m for n, m in zip(upsampled, limit, strict=True)):
                raise ValueError(
                    f"Resize expects an input that `factor` {self.factor} makes at least as large "
                    f"as the reference: upsampled it has size {upsampled}, the reference {limit}."
                )

    def _upsampled(self, x: Tensor) -> Shape:
        return tuple(None if n is None else n * self.factor for n in x.shape[1:3])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "factor": self.factor,
            "align_corners": self.align_corners,
        }


def _pair(inputs: Any) -> tuple[Tensor, Tensor | None]:
    x, reference = inputs if isinstance(inputs, (tuple, list)) else (inputs, None)
    return x, reference
