"""Settings for the inference on whole images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from keras_dpn.inference.tiles import OVERLAP, check_overlap, check_tile
from keras_dpn.limits import MAX_PIXELS
from keras_dpn.ops.checks import check_positive_int


@dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """Settings of a `Predictor`.

    Args:
        scales: factors for the image's height and width; the probabilities are averaged.
        horizontal_flip: average with the prediction on the horizontally flipped image.
        tile: side in pixels of the tiles that larger images are divided into, a multiple of 32 of
            at least twice the overlap; None for whole images of any size.
        overlap: pixels that neighbouring tiles share, a multiple of 32 from 32 up.
        memory_gib: instead of `tile`, the memory of one forward pass in GiB, without the weights,
            the image and the result; the predictor uses the largest tile that fits, see
            `tiles.side_for_memory`.
        max_pixels: largest number of pixels of an image; sides below 64 count as 64, since
            networks pad narrow images.

    Raises:
        ValueError: for values out of these ranges, and if both `tile` and `memory_gib` are given.

    Example:

    >>> InferenceSettings(scales=(0.75, 1.0, 1.25), horizontal_flip=True).tile is None
    True
    """

    scales: Sequence[float] = (1.0,)
    horizontal_flip: bool = False
    tile: int | None = None
    overlap: int = OVERLAP
    memory_gib: float | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        scales: tuple[Any, ...] = tuple(self.scales) if np.ndim(self.scales) else (self.scales,)
        if not scales or not all(map(_is_factor, scales)):
            raise ValueError(
                "Invalid value for argument `scales`: expected one or more factors above 0 such as "
                f"(0.75, 1.0, 1.25), received {scales}."
            )
        object.__setattr__(self, "scales", scales)
        check_overlap(self.overlap)
        check_positive_int("max_pixels", self.max_pixels)
        if self.tile is not None:
            check_tile(self.tile, self.overlap)
        if self.tile is not None and self.memory_gib is not None:
            raise ValueError(
                "Invalid values for arguments `tile` and `memory_gib`: expected at most one of "
                f"them; received {self.tile} and {self.memory_gib}."
            )
        if self.memory_gib is not None and not 0 < self.memory_gib < float("inf"):
            raise ValueError(
                "Invalid value for argument `memory_gib`: expected a finite number above 0, "
                f"received {self.memory_gib}."
            )

    @property
    def is_plain(self) -> bool:
        """Whether an image takes a single forward pass at its own size."""
        return self.scales == (1.0,) and not self.horizontal_flip and self.tile is None


def _is_factor(value: Any) -> bool:
    return isinstance(value, Real) and 0 < float(value) < math.inf
