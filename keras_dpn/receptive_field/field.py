"""The pixels that can change a unit: a rectangle of the image."""

from typing import NamedTuple

import numpy as np

Span = tuple[float, float]  # first and last index along an axis, possibly infinite

EVERYTHING: Span = (-np.inf, np.inf)


class Field(NamedTuple):
    """The pixels that can change a unit: a rectangle that may reach beyond the image.

    Attributes:
        rows: indices of the first and the last row; infinite if it is the whole image.
        columns: likewise.
        unlimited: the layers that make it the whole image, with the reasons.
    """

    rows: Span
    columns: Span
    unlimited: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[float, float]:
        """The height and width in pixels."""
        (top, bottom), (left, right) = self.rows, self.columns
        return bottom - top + 1, right - left + 1

    def box(self, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return top, left, bottom and right within an image; the last two are exclusive."""
        spans = zip((self.rows, self.columns), image_size, strict=True)
        (top, bottom), (left, right) = (
            (int(np.clip(first, 0, side)), int(np.clip(last + 1, 0, side)))
            for (first, last), side in spans
        )
        return top, left, bottom, right
