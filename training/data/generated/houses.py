"""Generated images in which only the order of two parts distinguishes their classes.

Houses on a meadow, each a roof and a wall with an open storey between them, through which one sees
the meadow. Both have the house's colour, the same texture and sizes drawn in the same way, and each
is alone on grass as far as a network with a small receptive field sees: its units can only guess.
The upper part of a house is always the roof; nothing else distinguishes them. Symmetric context
doesn't help: around either part is the whole house and grass.

    keras-dpn generate houses --out DIR --num-images 500

writes them as a dataset of files, in the layout that `FolderDataset` reads.
"""

import numpy as np

from keras_dpn.classes import Classes

from .canvas import Canvas, GeneratedDataset

SKY, GRASS, TREE, ROOF, WALL = range(5)

CLASSES = Classes(
    names=("sky", "grass", "tree", "roof", "wall"),
    colors=((120, 180, 240), (90, 170, 60), (20, 90, 50), (210, 60, 50), (240, 200, 120)),
)

BASE_SIZE = (176, 192)
SIZES = {"train": 400, "val": 50, "test": 200}

SIGHT = (0.25, 0.1)
"""The extent up or down and to the sides in which a relation covers a whole house and no other one.

As fractions of the image's shorter side.
"""

# Lengths in pixels of an image of BASE_SIZE. The open storey and the clear space around a house are
# more than half the receptive field of a unit after two blocks of VGG16.
_PART, _WIDTH, _OPEN = (9, 12), (18, 27), 12
_CROWN, _TRUNK = (7.5, 12), (6, 10)

_COLORS = {
    "sky": (140, 178, 222),
    "grass": (100, 140, 78),
    "crown": (40, 80, 58),
    "trunk": (116, 88, 66),
    "house": (182, 140, 116),
}
_TEXTURE = np.zeros(256, "float32")
_TEXTURE[: len(CLASSES.names)] = 7, 18, 14, 10, 10


class HousesScene(Canvas):
    """An image being drawn.

    Args:
        size: height and width.
        rng: the source of all randomness.
        parts: labels of the upper and of the lower part of all houses.
    """

    colors = _COLORS
    texture = _TEXTURE
    base_size = BASE_SIZE

    def __init__(
        self,
        size: tuple[int, int],
        rng: np.random.Generator,
        parts: tuple[int, int] = (ROOF, WALL),
    ) -> None:
        super().__init__(size, rng)
        self.parts = parts

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw from back to front."""
        horizon = self.height * self.rng.uniform(0.04, 0.08)
        self.rectangle(0, 0, self.height, self.width, SKY, "sky")
        self.rectangle(horizon, 0, self.height, self.width, GRASS, "grass")
        # Each house has its own columns, and so have all trees together.
        third, space = self.width / 3, _OPEN * self.unit
        *houses, trees = third * self.rng.permutation(3)
        distance = SIGHT[0] * min(self.height, self.width)
        for left in houses:
            self.draw_house((horizon + distance, self.height - distance), (left, left + third))
        for _ in range(self.rng.integers(3, 7)):
            self.draw_tree((horizon, self.height), (trees + space, trees + third - space))
        return self.render(), self.labels

    def draw_house(self, rows: tuple[float, float], columns: tuple[float, float]) -> None:
        """Draw two parts, one above the other, and leave grass around them."""
        heights = [self.length(*_PART) for _ in self.parts]
        widths = [self.length(*_WIDTH) for _ in self.parts]
        space = _OPEN * self.unit
        corner = self.find_box(sum(heights) + 3 * space, max(widths) + 2 * space, rows, columns)
        if corner is None:
            return
        top, middle = corner[0] + space, corner[1] + space + max(widths) / 2
        color = self.draw_color("house")
        for label, h, w in zip(self.parts, heights, widths, strict=True):
            inside = (self.y >= top) & (self.y < top + h) & (np.abs(self.x - middle) <= w / 2)
            self.labels[inside], self.image[inside] = label, color
            top += h + space

    def draw_tree(self, rows: tuple[float, float], columns: tuple[float, float]) -> None:
        """Draw a tree."""
        radius, trunk = self.length(*_CROWN), self.length(*_TRUNK)
        corner = self.find_box(2 * radius + trunk, 2 * radius, rows, columns)
        if corner is None:
            return
        y, x, half = corner[0] + radius, corner[1] + radius, 2 * self.unit
        self.rectangle(y, x - half, y + radius + trunk, x + half, TREE, "trunk")
        self.disc(y, x, radius, TREE, "crown")


class HousesDataset(GeneratedDataset):
    """Splits of generated images of two houses; each depends on (seed, split, index) alone.

    Args:
        sizes: the number of images in each split.
        size: height and width, at least 48x64. Everything in the image grows with them.
        seed: any integer from 0.

    Raises:
        ValueError: on an image too small, or a negative count or seed.

    Example:
    >>> houses = HousesDataset({"train": 1}, seed=1)
    >>> image, labels = houses.read(houses.splits["train"][0])
    >>> image.shape, labels.shape
    ((176, 192, 3), (176, 192))
    """

    name = "houses"
    classes = CLASSES
    canvas = HousesScene
    default_sizes = SIZES
    default_size = BASE_SIZE
