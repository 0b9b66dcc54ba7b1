"""Generated pictures in which only the far end of the picture tells some classes apart.

A wide landscape. At one end lies pale ground, which is snow, sand or ash, and at the other a pool,
which is water or ice: drawn by the same code with the same random colours and textures. What they
are says a small landmark at the opposite end of the picture: a fir, a palm or a volcano, a boat or
a sledge. A network whose units see less than the 240 pixels in between can only guess; one that
knows what else the picture shows need not.

    python -m training.data.context_scenes --out DIR --count 500

writes them as a data set of files, in the layout that `FolderDataset` reads.
"""

from pathlib import Path

import numpy as np

from keras_dpn.classes import Classes

from ..dataset import Example
from .scenes import Scene, ScenesDataset, write_scenes

CLASSES = Classes(
    names=(
        *("sky", "grass", "house", "snow", "sand", "ash", "water", "ice"),
        *("fir", "palm", "volcano", "boat", "sledge"),
    ),
    colors=(
        *((120, 180, 240), (90, 170, 60), (200, 150, 110)),
        *((235, 245, 255), (240, 210, 120), (110, 105, 105), (20, 90, 200), (130, 230, 240)),
        *((0, 90, 50), (150, 200, 0), (220, 50, 20), (150, 40, 130), (110, 70, 30)),
    ),
)
SKY, GRASS, HOUSE = range(3)

# What each landmark says about the other end of the picture.
GROUNDS = {"fir": "snow", "palm": "sand", "volcano": "ash"}
POOLS = {"boat": "water", "sledge": "ice"}

BASE_SIZE = (96, 384)
SIZES = {"train": 800, "val": 100, "test": 200}

# Shares of the picture's width, from its end: where landmarks stand, and where ground and pool lie.
LANDMARK_STRIP, SURFACE_STRIP = 40 / 384, 104 / 384

_COLORS = {
    "sky": (140, 178, 222),
    "grass": (100, 140, 78),
    "house": (182, 148, 120),
    "ground": (206, 202, 196),
    "pool": (128, 150, 172),
    "fir": (44, 84, 62),
    "palm": (150, 176, 52),
    "trunk": (128, 92, 60),
    "volcano": (92, 76, 80),
    "lava": (226, 84, 40),
    "hull": (156, 58, 92),
    "sail": (238, 234, 226),
    "sledge": (112, 62, 34),
}
_TEXTURE = np.zeros(256, "float32")
_TEXTURE[: len(CLASSES.names)] = 7, 18, 12, 10, 10, 10, 6, 6, 8, 8, 8, 8, 8


class ContextScenesDataset(ScenesDataset):
    """Splits of generated landscapes; each depends on (seed, split, index) alone.

    Crops and resizes would cut the landmarks away: train on whole pictures.

    Args:
        sizes: the number of pictures in each split.
        size: height and width, at least 48x192. Everything in the picture grows with them; 5/8 of
            the width lie between a landmark and what it is about.
        seed: any integer from 0.

    Raises:
        ValueError: on a picture too small, or a negative count or seed.

    Example:
    >>> scenes = ContextScenesDataset({"train": 1}, seed=1)
    >>> image, labels = scenes.read(scenes.splits["train"][0])
    >>> image.shape, labels.shape
    ((96, 384, 3), (96, 384))
    """

    name = "context_scenes"
    classes = CLASSES
    default_sizes = SIZES
    default_size = BASE_SIZE
    smallest = (48, 192)

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        return ContextScene(self.size, self.generator(example)).draw()


class ContextScene(Scene):
    """One landscape while it is drawn.

    Args:
        size: height and width.
        rng: the source of all that is random.
        landmarks: one of GROUNDS and one of POOLS, instead of random ones. All that is not at the
            landmarks' places comes out the same with any.
    """

    colors = _COLORS
    texture = _TEXTURE

    def __init__(
        self,
        size: tuple[int, int],
        rng: np.random.Generator,
        landmarks: tuple[str, str] | None = None,
    ):
        super().__init__(size, rng)
        drawn = tuple(str(rng.choice(list(kinds))) for kinds in (GROUNDS, POOLS))
        self.landmarks = landmarks or drawn
        self.mirrored = rng.random() < 0.5  # the ground lies on the right

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws from back to front and photographs the result."""
        horizon = self.height * self.rng.uniform(0.4, 0.5)
        self._rectangle(0, 0, self.height, self.width, SKY, "sky")
        self._rectangle(horizon, 0, self.height, self.width, GRASS, "grass")
        for _ in range(self.rng.integers(1, 4)):
            self._house(horizon)
        ground, pool = self.landmarks
        self._ground(horizon, _label(GROUNDS[ground]))
        self._pool(horizon, _label(POOLS[pool]))
        self._landmark(horizon, ground, right=not self.mirrored)
        self._landmark(horizon, pool, right=self.mirrored)
        return self._photograph(), self.labels

    # Things.

    def _house(self, horizon: float) -> None:
        h, w = self._length(20, 34), self._length(24, 50)
        middle = (SURFACE_STRIP * self.width, (1 - SURFACE_STRIP) * self.width)
        bottom = horizon + self._length(2, 6)
        left = self.rng.uniform(middle[0], max(middle[1] - w, middle[0]))
        self._rectangle(bottom - h, left, bottom, left + w, HOUSE, "house")

    def _ground(self, horizon: float, label: int) -> None:
        """From the horizon down to the picture's lower edge."""
        w = SURFACE_STRIP * self.width * self.rng.uniform(0.6, 1)
        left = self.width - w if self.mirrored else 0
        self._rectangle(horizon + self._length(0, 8), left, self.height, left + w, label, "ground")

    def _pool(self, horizon: float, label: int) -> None:
        strip = SURFACE_STRIP * self.width
        half_w = strip * self.rng.uniform(0.28, 0.44)
        half_h = (self.height - horizon) * self.rng.uniform(0.22, 0.38)
        y = self.rng.uniform(horizon + half_h, self.height - half_h)
        x = self.rng.uniform(half_w, strip - half_w)
        x = x if self.mirrored else self.width - 1 - x
        inside = ((self.y - y) / half_h) ** 2 + ((self.x - x) / half_w) ** 2 <= 1
        self._fill(inside, label, "pool")

    def _landmark(self, horizon: float, name: str, right: bool) -> None:
        strip = LANDMARK_STRIP * self.width
        h, w = self._length(26, 34), min(self._length(22, 28), strip)
        x = self.rng.uniform(w / 2, strip - w / 2)
        x = self.width - 1 - x if right else x
        base = horizon + self._length(0, 3)
        # A generator of its own, so that no landmark changes what else is drawn.
        shared, self.rng = self.rng, np.random.default_rng(self.rng.integers(2**32))
        getattr(self, f"_{name}")(base, x, h, w)
        self.rng = shared

    # Landmarks: h x w, standing on the row `base` with their middle at the column x.

    def _fir(self, base: float, x: float, h: float, w: float) -> None:
        self._triangle(base, x, h, w, _label("fir"), "fir")

    def _palm(self, base: float, x: float, h: float, w: float) -> None:
        half, radius = 2.5 * self.unit, 0.45 * w
        self._rectangle(base - h + radius, x - half, base, x + half, _label("palm"), "trunk")
        self._ellipse(base - h + radius, x, radius, _label("palm"), "palm")

    def _volcano(self, base: float, x: float, h: float, w: float) -> None:
        self._triangle(base, x, h, w, _label("volcano"), "volcano")
        self._ellipse(base - 0.75 * h, x, 0.22 * w, _label("volcano"), "lava")

    def _boat(self, base: float, x: float, h: float, w: float) -> None:
        self._triangle(base - 0.3 * h, x, 0.7 * h, 0.8 * w, _label("boat"), "sail")
        self._rectangle(base - 0.3 * h, x - w / 2, base, x + w / 2, _label("boat"), "hull")

    def _sledge(self, base: float, x: float, h: float, w: float) -> None:
        self._rectangle(base - 0.35 * h, x - w / 2, base, x + w / 2, _label("sledge"), "sledge")
        back = x + w / 2 - 0.3 * w
        self._rectangle(base - 0.7 * h, back, base, x + w / 2, _label("sledge"), "sledge")

    # Painting.

    def _triangle(self, base: float, x: float, h: float, w: float, label: int, color: str) -> None:
        """Upright, h x w, on the row `base`."""
        down = self.y - (base - h)  # from its top
        inside = (down >= 0) & (self.y < base) & (np.abs(self.x - x) <= down * w / (2 * h))
        self._fill(inside, label, color)

    def _fill(self, inside: np.ndarray, label: int, color: str) -> None:
        self.labels[inside] = label
        self.image[inside] = self._color(color)


def _label(name: str) -> int:
    return CLASSES.names.index(name)


def main(out: Path, count: int = 500, seed: int = 0) -> None:
    """Writes a data set of landscapes in the folder layout.

    Args:
        out: the directory to write; made where there is none.
        count: number of training pictures; val and test get a quarter as many each.
        seed: which pictures; the same seed gives the same files.
    """
    write_scenes(ContextScenesDataset, out, count, seed)
