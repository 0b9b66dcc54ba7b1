"""Base of the generated datasets: a canvas, and splits whose images depend only on a seed."""

import zlib
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from scipy import ndimage

from ..dataset import Dataset, Example

# All lengths are in pixels of an image of this size and grow with it.
BASE_SIZE = (96, 128)
SMALLEST = (48, 64)
GAP = 3.0  # of background around each object

# Standard deviations of an object's colour from the mean colour of its type: of the brightness, and
# of each channel.
_GREY_SPREAD, _COLOR_SPREAD = 10.0, 6.0

# Standard deviations in intensity levels, and sizes in pixels.
_TEXTURE_SIZE, EDGE_BLUR, _NOISE = 1.5, 0.8, 12.0


def check_arguments(
    sizes: Mapping[str, int],
    size: tuple[int, int],
    seed: int,
    smallest: tuple[int, int] = SMALLEST,
) -> None:
    """Raise ValueError for arguments that are invalid for all generated datasets."""
    if min(sizes.values(), default=0) < 0:
        raise ValueError(f"`sizes`: expected counts from 0 up, received {dict(sizes)}.")
    if size[0] < smallest[0] or size[1] < smallest[1]:
        raise ValueError(f"`size`: expected at least {smallest}, received {tuple(size)}.")
    if seed < 0:
        raise ValueError(f"`seed`: expected 0 or more, received {seed}.")


def length_unit(size: tuple[int, int], base_size: tuple[int, int] = BASE_SIZE) -> float:
    """Return how many pixels of an image of this size correspond to one of the base size."""
    return min(size[0] / base_size[0], size[1] / base_size[1])


class Canvas:
    """An image being drawn: flat colours and labels, and which boxes are occupied.

    Args:
        size: height and width.
        rng: the source of all randomness; the order of drawing determines the image.

    Attributes:
        colors: mean colours of objects by name.
        texture: the strength of each label's texture, (256,).
        base_size: size of an image whose pixels are the unit of lengths.
    """

    colors: ClassVar[Mapping[str, tuple[int, int, int]]]
    texture: ClassVar[np.ndarray]
    base_size: ClassVar[tuple[int, int]] = BASE_SIZE

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        self.rng = rng
        self.height, self.width = size
        self.unit = length_unit(size, self.base_size)
        self.image = np.empty((*size, 3), "float32")
        self.labels = np.empty(size, "uint8")
        self.y, self.x = np.ogrid[: self.height, : self.width]
        self.occupied: list[tuple[float, float, float, float]] = []  # top, left, bottom, right

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw the image; return it, uint8 (H, W, 3), and its labels, uint8 (H, W)."""
        raise NotImplementedError

    # === Layout ===

    def length(self, low: float, high: float) -> float:
        """Draw a length in pixels from a range in units."""
        return self.unit * self.rng.uniform(low, high)

    def find_box(
        self, h: float, w: float, rows: tuple[float, float], columns: tuple[float, float]
    ) -> tuple[float, float] | None:
        """Occupy a free box of h x w; return its corner (top, left), or None after 20 attempts."""
        gap = GAP * self.unit
        top, bottom = rows[0] + gap, rows[1] - gap - h
        left, right = columns[0] + gap, columns[1] - gap - w
        if top > bottom or left > right:
            return None
        for _ in range(20):
            y, x = self.rng.uniform(top, bottom), self.rng.uniform(left, right)
            if self._is_free(y, x, y + h, x + w):
                self.occupied.append((y, x, y + h, x + w))
                return y, x
        return None

    def _is_free(self, top: float, left: float, bottom: float, right: float) -> bool:
        gap = GAP * self.unit
        return not any(
            top < box[2] + gap
            and bottom > box[0] - gap
            and left < box[3] + gap
            and right > box[1] - gap
            for box in self.occupied
        )

    # === Drawing ===

    def rectangle(
        self, top: float, left: float, bottom: float, right: float, label: int, color: str
    ) -> None:
        """Fill a rectangle."""
        rows = slice(max(round(top), 0), round(bottom))
        columns = slice(max(round(left), 0), round(right))
        self.fill((rows, columns), label, color)

    def disc(self, y: float, x: float, radius: float, label: int, color: str) -> None:
        """Fill a disc."""
        self.fill((self.y - y) ** 2 + (self.x - x) ** 2 <= radius**2, label, color)

    def fill(self, region: np.ndarray | tuple[slice, slice], label: int, color: str) -> None:
        """Fill a region of the image, a mask or slices, with a label and a colour."""
        self.labels[region] = label
        self.image[region] = self.draw_color(color)

    def draw_color(self, name: str) -> np.ndarray:
        """Draw an object's colour."""
        grey = self.rng.normal(0, _GREY_SPREAD)
        return np.array(self.colors[name]) + grey + self.rng.normal(0, _COLOR_SPREAD, 3)

    # === Rendering ===

    def render(self) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), with texture, uneven light, lens blur and noise."""
        spots = self.draw_texture()
        slope = self.rng.uniform(-15, 15)
        light = slope * (self.x / self.width - 0.5) + self.rng.uniform(-12, 12)
        image = self.image + (spots + light)[..., None]
        blur = EDGE_BLUR * self.unit
        image = ndimage.gaussian_filter(image, (blur, blur, 0))
        image += _NOISE * self.rng.standard_normal(image.shape, "float32")
        return np.clip(np.rint(image), 0, 255).astype("uint8")

    def draw_texture(self) -> np.ndarray:
        """Draw the texture of the labels so far, (H, W), to be added to all channels."""
        # Two fields are drawn and one is used, so that a seed's images don't change.
        noise = self.rng.standard_normal((2, *self.labels.shape), "float32")
        spots = ndimage.gaussian_filter(noise[0], _TEXTURE_SIZE * self.unit)
        return spots * (self.texture[self.labels] / spots.std())


class GeneratedDataset(Dataset):
    """Splits of generated images; each depends on (seed, split, index) alone.

    Args:
        sizes: the number of images in each split.
        size: height and width. Everything in the image grows with them.
        seed: any integer from 0.

    Attributes:
        canvas: class that draws an image.
        default_sizes: default sizes of the splits.
        default_size: default size of the images.
        smallest: smallest size of an image.

    Raises:
        ValueError: on an image too small, or a negative count or seed.
    """

    canvas: ClassVar[type[Canvas]]
    default_sizes: ClassVar[Mapping[str, int]]
    default_size: ClassVar[tuple[int, int]] = BASE_SIZE
    smallest: ClassVar[tuple[int, int]] = SMALLEST

    def __init__(
        self,
        sizes: Mapping[str, int] | None = None,
        size: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        sizes = self.default_sizes if sizes is None else sizes
        size = self.default_size if size is None else size
        check_arguments(sizes, size, seed, self.smallest)
        self.size = (size[0], size[1])
        self.seed = seed
        self.splits = {split: _list_examples(split, count) for split, count in sizes.items()}

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        return self.canvas(self.size, self.generator(example)).draw()

    def generator(self, example: Example) -> np.random.Generator:
        """Return the source of all randomness in an example."""
        split = example.name.rsplit("_", 1)[0]
        return np.random.default_rng([self.seed, zlib.crc32(split.encode()), example.index])


def _list_examples(split: str, count: int) -> tuple[Example, ...]:
    return tuple(Example(f"{split}_{index:05d}", index=index) for index in range(count))
