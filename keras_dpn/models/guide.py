"""The colours that the triple penalty compares, on the grid of the random field."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dpn.ops.cell_means import cell_means
from keras_dpn.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class Guide(layers.Layer):
    """The guidance image whose colours b12 compares, in `color_unit` and averaged over cells.

    Args:
        stride: positions per axis of a cell.
        color_unit: what the image is divided by.
        channels: indices of the channels to compare; None for all.
    """

    def __init__(
        self,
        stride: int,
        color_unit: float,
        channels: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.stride = stride
        self.color_unit = color_unit
        self.channels = channels

    def call(self, image: Tensor) -> Tensor:
        if self.channels is not None:
            image = ops.take(image, list(self.channels), axis=-1)
        return cell_means(ops.cast(image, "float32") / self.color_unit, self.stride)

    def compute_output_spec(self, image: Tensor) -> keras.KerasTensor:
        batch, *size, channels = image.shape
        channels = channels if self.channels is None else len(self.channels)
        size = (None if n is None else -(-n // self.stride) for n in size)
        return keras.KerasTensor((batch, *size, channels), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("stride", "color_unit", "channels")}
        return {**super().get_config(), **own}


def check_guide_channels(guide_channels: Any, channels: int) -> None:
    """Raise ValueError unless `guide_channels` is None or some of an image's channels."""
    if guide_channels is None:
        return
    is_list = isinstance(guide_channels, (tuple, list)) and len(guide_channels) > 0
    if (
        not is_list
        or not set(guide_channels) <= set(range(channels))
        or len(set(guide_channels)) < len(guide_channels)
    ):
        raise ValueError(
            "Invalid value for argument `guide_channels`: expected None or different indices of "
            f"the image's {channels} channels, counted from 0, received {guide_channels!r}."
        )
