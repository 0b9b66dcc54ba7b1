"""Generated images in which only the far end of the image tells some classes apart.

A wide landscape. At one end is pale ground, which is snow, sand or ash, and at the other a pool,
which is water or ice: drawn by the same code with the same random colours and textures. A small
landmark at the opposite end of the image determines the class: a fir, a palm or a volcano, a boat
or a sledge. A network whose units see less than the 240 pixels in between can only guess; global
context resolves it.

    keras-dpn generate context-scenes --out DIR --num-images 500

writes them as a dataset of files, in the layout that `FolderDataset` reads.
"""

import numpy as np

from keras_dpn.classes import Classes

from .canvas import Canvas, GeneratedDataset

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

# The class that each landmark determines at the other end of the image.
GROUNDS = {"fir": "snow", "palm": "sand", "volcano": "ash"}
POOLS = {"boat": "water", "sledge": "ice"}

BASE_SIZE = (96, 384)
SIZES = {"train": 800, "val": 100, "test": 200}

# Fractions of the image's width, from its end: where landmarks are, and where ground and pool are.
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


class ContextScene(Canvas):
    """A landscape being drawn.

    Args:
        size: height and width.
        rng: the source of all randomness.
        landmarks: one of GROUNDS and one of POOLS, instead of random ones. They change only their
            own pixels.
    """

    colors = _COLORS
    texture = _TEXTURE

    def __init__(
        self,
        size: tuple[int, int],
        rng: np.random.Generator,
        landmarks: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(size, rng)
        drawn = tuple(str(rng.choice(list(kinds))) for kinds in (GROUNDS, POOLS))
        self.landmarks = landmarks or drawn
        self.is_flipped = rng.random() < 0.5  # the ground is on the right

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw from back to front."""
        horizon = self.height * self.rng.uniform(0.4, 0.5)
        self.rectangle(0, 0, self.height, self.width, SKY, "sky")
        self.rectangle(horizon, 0, self.height, self.width, GRASS, "grass")
        for _ in range(self.rng.integers(1, 4)):
            self.draw_house(horizon)
        ground, pool = self.landmarks
        self.draw_ground(horizon, _label(GROUNDS[ground]))
        self.draw_pool(horizon, _label(POOLS[pool]))
        self.draw_landmark(horizon, ground, right=not self.is_flipped)
        self.draw_landmark(horizon, pool, right=self.is_flipped)
        return self.render(), self.labels

    # === Objects ===

    def draw_house(self, horizon: float) -> None:
        """Draw a house between the two ends."""
        h, w = self.length(20, 34), self.length(24, 50)
        middle = (SURFACE_STRIP * self.width, (1 - SURFACE_STRIP) * self.width)
        bottom = horizon + self.length(2, 6)
        left = self.rng.uniform(middle[0], max(middle[1] - w, middle[0]))
        self.rectangle(bottom - h, left, bottom, left + w, HOUSE, "house")

    def draw_ground(self, horizon: float, label: int) -> None:
        """Draw ground from the horizon down to the image's lower edge."""
        w = SURFACE_STRIP * self.width * self.rng.uniform(0.6, 1)
        left = self.width - w if self.is_flipped else 0
        self.rectangle(horizon + self.length(0, 8), left, self.height, left + w, label, "ground")

    def draw_pool(self, horizon: float, label: int) -> None:
        """Draw an elliptic pool at the other end."""
        strip = SURFACE_STRIP * self.width
        half_w = strip * self.rng.uniform(0.28, 0.44)
        half_h = (self.height - horizon) * self.rng.uniform(0.22, 0.38)
        y = self.rng.uniform(horizon + half_h, self.height - half_h)
        x = self.rng.uniform(half_w, strip - half_w)
        x = x if self.is_flipped else self.width - 1 - x
        inside = ((self.y - y) / half_h) ** 2 + ((self.x - x) / half_w) ** 2 <= 1
        self.fill(inside, label, "pool")

    def draw_landmark(self, horizon: float, name: str, right: bool) -> None:
        """Draw a landmark at one end."""
        strip = LANDMARK_STRIP * self.width
        h, w = self.length(26, 34), min(self.length(22, 28), strip)
        x = self.rng.uniform(w / 2, strip - w / 2)
        x = self.width - 1 - x if right else x
        base = horizon + self.length(0, 3)
        # A separate generator, so that a landmark doesn't change other objects.
        shared, self.rng = self.rng, np.random.default_rng(self.rng.integers(2**32))
        getattr(self, f"_{name}")(base, x, h, w)
        self.rng = shared

    # === Landmarks: h x w, on the row `base`, centred at the column x ===

    def _fir(self, base: float, x: float, h: float, w: float) -> None:
        self._triangle(base, x, h, w, _label("fir"), "fir")

    def _palm(self, base: float, x: float, h: float, w: float) -> None:
        half, radius = 2.5 * self.unit, 0.45 * w
        self.rectangle(base - h + radius, x - half, base, x + half, _label("palm"), "trunk")
        self.disc(base - h + radius, x, radius, _label("palm"), "palm")

    def _volcano(self, base: float, x: float, h: float, w: float) -> None:
        self._triangle(base, x, h, w, _label("volcano"), "volcano")
        self.disc(base - 0.75 * h, x, 0.22 * w, _label("volcano"), "lava")

    def _boat(self, base: float, x: float, h: float, w: float) -> None:
        self._triangle(base - 0.3 * h, x, 0.7 * h, 0.8 * w, _label("boat"), "sail")
        self.rectangle(base - 0.3 * h, x - w / 2, base, x + w / 2, _label("boat"), "hull")

    def _sledge(self, base: float, x: float, h: float, w: float) -> None:
        self.rectangle(base - 0.35 * h, x - w / 2, base, x + w / 2, _label("sledge"), "sledge")
        back = x + w / 2 - 0.3 * w
        self.rectangle(base - 0.7 * h, back, base, x + w / 2, _label("sledge"), "sledge")

    def _triangle(self, base: float, x: float, h: float, w: float, label: int, color: str) -> None:
        """Fill an upright triangle."""
        down = self.y - (base - h)  # from its top
        inside = (down >= 0) & (self.y < base) & (np.abs(self.x - x) <= down * w / (2 * h))
        self.fill(inside, label, color)


def _label(name: str) -> int:
    return CLASSES.names.index(name)


class ContextScenesDataset(GeneratedDataset):
    """Splits of generated landscapes; each depends on (seed, split, index) alone.

    Crops and random scales would remove the landmarks: train on whole images.

    Args:
        sizes: the number of images in each split.
        size: height and width, at least 48x192. Everything in the image grows with them; 5/8 of
            the width are between a landmark and the region that it determines.
        seed: any integer from 0.

    Raises:
        ValueError: on an image too small, or a negative count or seed.

    Example:
    >>> scenes = ContextScenesDataset({"train": 1}, seed=1)
    >>> image, labels = scenes.read(scenes.splits["train"][0])
    >>> image.shape, labels.shape
    ((96, 384, 3), (96, 384))
    """

    name = "context_scenes"
    classes = CLASSES
    canvas = ContextScene
    default_sizes = SIZES
    default_size = BASE_SIZE
    smallest = (48, 192)
