"""Generated pictures in which only what stands above what tells two classes apart.

Houses on a meadow, each a roof and a wall with an open storey between them, through which one sees
the meadow. Both have the house's colour, the same texture and sizes drawn in the same way, and each
is alone on grass as far as a network with a short sight can see: its units can only guess. Of a
house's two parts the upper is the roof, never the other way round; that is all there is to know.
What lies around, without where, does not tell: it is the whole house and grass, seen from either.

    python -m training.data.houses --out DIR --count 500

writes them as a data set of files, in the layout that `FolderDataset` reads.
"""

from pathlib import Path

import numpy as np

from keras_dpn.classes import Classes

from ..dataset import Example
from .scenes import Scene, ScenesDataset, write_scenes

SKY, GRASS, TREE, ROOF, WALL = range(5)

CLASSES = Classes(
    names=("sky", "grass", "tree", "roof", "wall"),
    colors=((120, 180, 240), (90, 170, 60), (20, 90, 50), (210, 60, 50), (240, 200, 120)),
)

BASE_SIZE = (176, 192)
SIZES = {"train": 400, "val": 50, "test": 200}

SIGHT = (0.25, 0.1)
"""How far up or down and to the sides one sees a house from end to end but nothing behind it.

In units of the picture's shorter side.
"""

# Lengths in pixels of a picture of BASE_SIZE. The open storey and what is clear around a house are
# more than half of what a unit sees after two blocks of VGG16.
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


class HousesDataset(ScenesDataset):
    """Splits of generated pictures of two houses; each depends on (seed, split, index) alone.

    Args:
        sizes: the number of pictures in each split.
        size: height and width, at least 48x64. Everything in the picture grows with them.
        seed: any integer from 0.

    Raises:
        ValueError: on a picture too small, or a negative count or seed.

    Example:
    >>> houses = HousesDataset({"train": 1}, seed=1)
    >>> image, labels = houses.read(houses.splits["train"][0])
    >>> image.shape, labels.shape
    ((176, 192, 3), (176, 192))
    """

    name = "houses"
    classes = CLASSES
    default_sizes = SIZES
    default_size = BASE_SIZE

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        return HousesScene(self.size, self.generator(example)).draw()


class HousesScene(Scene):
    """One picture while it is drawn.

    Args:
        size: height and width.
        rng: the source of all that is random.
        parts: labels of the upper and of the lower part of all houses.
    """

    colors = _COLORS
    texture = _TEXTURE

    def __init__(
        self,
        size: tuple[int, int],
        rng: np.random.Generator,
        parts: tuple[int, int] = (ROOF, WALL),
    ):
        super().__init__(size, rng)
        self.unit = min(n / base for n, base in zip(size, BASE_SIZE, strict=True))
        self.parts = parts

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws from back to front and photographs the result."""
        horizon = self.height * self.rng.uniform(0.04, 0.08)
        self._rectangle(0, 0, self.height, self.width, SKY, "sky")
        self._rectangle(horizon, 0, self.height, self.width, GRASS, "grass")
        # Each house and all trees have columns of their own.
        third, space = self.width / 3, _OPEN * self.unit
        *houses, trees = third * self.rng.permutation(3)
        distance = SIGHT[0] * min(self.height, self.width)
        for left in houses:
            self._house((horizon + distance, self.height - distance), (left, left + third))
        for _ in range(self.rng.integers(3, 7)):
            self._tree((horizon, self.height), (trees + space, trees + third - space))
        return self._photograph(), self.labels

    def _house(self, rows: tuple[float, float], columns: tuple[float, float]) -> None:
        """Two parts below each other and grass around them."""
        heights = [self._length(*_PART) for _ in self.parts]
        widths = [self._length(*_WIDTH) for _ in self.parts]
        space = _OPEN * self.unit
        place = self._place(sum(heights) + 3 * space, max(widths) + 2 * space, rows, columns)
        if place is None:
            return
        top, middle = place[0] + space, place[1] + space + max(widths) / 2
        color = self._color("house")
        for label, h, w in zip(self.parts, heights, widths, strict=True):
            inside = (self.y >= top) & (self.y < top + h) & (np.abs(self.x - middle) <= w / 2)
            self.labels[inside], self.image[inside] = label, color
            top += h + space

    def _tree(self, rows: tuple[float, float], columns: tuple[float, float]) -> None:
        radius, trunk = self._length(*_CROWN), self._length(*_TRUNK)
        place = self._place(2 * radius + trunk, 2 * radius, rows, columns)
        if place is None:
            return
        y, x, half = place[0] + radius, place[1] + radius, 2 * self.unit
        self._rectangle(y, x - half, y + radius + trunk, x + half, TREE, "trunk")
        self._ellipse(y, x, radius, TREE, "crown")


def main(out: Path, count: int = 500, seed: int = 0) -> None:
    """Writes a data set of houses in the folder layout.

    Args:
        out: the directory to write; made where there is none.
        count: number of training pictures; val and test get a quarter as many each.
        seed: which pictures; the same seed gives the same files.
    """
    write_scenes(HousesDataset, out, count, seed)
