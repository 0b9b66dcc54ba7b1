"""How a network is applied to whole images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_dpn.inference.tiles import OVERLAP, check_overlap, check_tile


@dataclass(frozen=True, kw_only=True)
class InferenceSettings:
    """How a `Predictor` applies its networks to an image.

    Args:
        scales: factors for the image's height and width; the probabilities of all are averaged.
        horizontal_flip: average with the prediction on the horizontally flipped image.
        tile: side of the tiles in pixels into which larger images are cut, a multiple of 32 of at
            least twice the overlap; None for the whole image at once, whatever its size.
        overlap: pixels that neighbouring tiles share, a multiple of 32 from 32 up.
        memory_gib: instead of `tile`, GiB that one forward pass may take next to the weights, the
            image and the result; the largest tile that fits is chosen, see
            `tiles.side_for_memory`.

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

    def __post_init__(self) -> None:
        scales: tuple[Any, ...] = tuple(self.scales) if np.ndim(self.scales) else (self.scales,)
        if not scales or not all(np.isfinite(s) and s > 0 for s in scales):
            raise ValueError(
                "Invalid value for argument `scales`: expected one or more factors above 0 such as "
                f"(0.75, 1.0, 1.25), received {scales}."
            )
        object.__setattr__(self, "scales", scales)
        check_overlap(self.overlap)
        if self.tile is not None:
            check_tile(self.tile, self.overlap)
        if self.tile is not None and self.memory_gib is not None:
            raise ValueError(
                "Invalid values for arguments `tile` and `memory_gib`: expected at most one of "
                f"them, as the memory chooses the tile; received {self.tile} and {self.memory_gib}."
            )
        if self.memory_gib is not None and not 0 < self.memory_gib < float("inf"):
            raise ValueError(
                "Invalid value for argument `memory_gib`: expected a finite number above 0, "
                f"received {self.memory_gib}."
            )

    @property
    def is_plain(self) -> bool:
        """Whether an image is seen once, whole, as it is."""
        return self.scales == (1.0,) and not self.horizontal_flip and self.tile is None
