"""Generated images with classes that only their surroundings distinguish.

A scene has a house, a car, posts and objects on grass under a sky. Three pairs of confusable
classes are drawn by the same code with the same random colours, sizes and textures: a tyre is a
ball under a car, a lamp is a balloon on a post, a window is a pond in a wall. `RELATIONS` lists
the surroundings that distinguish them.

    keras-dpn generate scenes --out DIR --num-images 500

writes them as a dataset of files, in the layout that `FolderDataset` reads.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from keras_dpn.classes import Classes

from .canvas import GAP, Canvas, GeneratedDataset

SKY, GRASS, HOUSE, CAR, POST, TYRE, BALL, LAMP, BALLOON, WINDOW, POND = range(11)

CLASSES = Classes(
    names=(
        *("sky", "grass", "house", "car", "post"),
        *("tyre", "ball", "lamp", "balloon", "window", "pond"),
    ),
    colors=(
        (120, 180, 240),
        (90, 170, 60),
        (200, 150, 110),
        (220, 40, 50),
        (110, 90, 80),
        (30, 30, 40),
        (230, 120, 20),
        (250, 240, 90),
        (240, 110, 200),
        (20, 60, 140),
        (40, 210, 200),
    ),
)

# Pairs of classes that look the same.
CONFUSABLE = (("tyre", "ball"), ("lamp", "balloon"), ("window", "pond"))


@dataclass(frozen=True)
class Relation:
    """`neighbour` is in `direction` of `label`: ("lamp", "below", "post"), a post below a lamp.

    Args:
        label: name of a class.
        direction: as seen from the label; "around" is all four.
        neighbour: name of another class.
    """

    label: str
    direction: Literal["above", "below", "left", "right", "around"]
    neighbour: str


# The relations that distinguish the classes of each pair: one has them and the other doesn't.
RELATIONS = (
    Relation("tyre", "above", "car"),
    Relation("ball", "above", "grass"),
    Relation("lamp", "below", "post"),
    Relation("balloon", "below", "sky"),
    Relation("window", "around", "house"),
    Relation("pond", "around", "grass"),
)

SIZES = {"train": 800, "val": 100, "test": 200}

# Lengths in pixels of an image of the base size.
_DISC = (4.0, 7.0)  # radius
_PANE = (8.0, 13.0)  # side

# Mean colours, so similar that single noisy pixels are often ambiguous.
_COLORS = {
    "sky": (140, 178, 222),
    "grass": (100, 140, 78),
    "house": (182, 148, 120),
    "car": (178, 72, 70),
    "post": (116, 98, 86),
    "dark": (62, 60, 66),
    "bright": (236, 216, 150),
    "pane": (122, 148, 172),
}

# Standard deviations in intensity levels of each class's texture, spots of a few pixels. Confusable
# classes have the same.
_TEXTURE = np.zeros(256, "float32")
_TEXTURE[[SKY, GRASS, HOUSE, CAR, POST]] = 7, 18, 12, 9, 10
_TEXTURE[[TYRE, BALL, LAMP, BALLOON, WINDOW, POND]] = 12, 12, 10, 10, 12, 12


class Scene(Canvas):
    """A scene being drawn."""

    colors = _COLORS
    texture = _TEXTURE

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw from back to front, large objects first."""
        horizon = self.height * self.rng.uniform(0.45, 0.58)
        sky, lawn = (0, horizon - 9 * self.unit), (horizon, self.height)
        self.rectangle(0, 0, self.height, self.width, SKY, "sky")
        self.rectangle(horizon, 0, self.height, self.width, GRASS, "grass")
        self.draw_house(horizon)
        for _ in range(self.rng.integers(1, 3)):
            self.draw_lamp(horizon)
        self.draw_car(lawn)
        for _ in range(self.rng.integers(2, 4)):
            self.draw_pane(lawn, (0, self.width), POND)
        for _ in range(self.rng.integers(1, 4)):
            self.draw_disc(lawn, BALL, "dark")
        for _ in range(self.rng.integers(1, 3)):
            self.draw_disc(sky, BALLOON, "bright")
        return self.render(), self.labels

    # === Objects ===

    def draw_house(self, horizon: float) -> None:
        """Draw a house with windows and occupy its box."""
        h, w = self.length(32, 42), self.length(46, 58)
        bottom = horizon + self.length(2, 5)
        left = self.rng.uniform(0, self.width - w)
        self.rectangle(bottom - h, left, bottom, left + w, HOUSE, "house")
        for _ in range(self.rng.integers(2, 5)):
            self.draw_pane((bottom - h, bottom), (left, left + w), WINDOW)
        self.occupied.append((bottom - h, left, bottom, left + w))

    def draw_car(self, lawn: tuple[float, float]) -> None:
        """Draw a car with two tyres."""
        h, w, radius = self.length(10, 14), self.length(36, 46), self.length(*_DISC)
        corner = self.find_box(h + radius, w, lawn, (0, self.width))
        if corner is None:
            return
        top, left = corner
        self.rectangle(top, left, top + h, left + w, CAR, "car")
        for x in (left + 1.6 * radius, left + w - 1.6 * radius):
            self.disc(top + h, x, radius, TYRE, "dark")

    def draw_lamp(self, horizon: float) -> None:
        """Draw a lamp on a post."""
        radius, half, gap = self.length(*_DISC), self.length(2, 3), GAP * self.unit
        top = self.rng.uniform(gap, horizon - 12 * self.unit - 2 * radius)
        foot = horizon + self.length(3, 12)
        # One pixel of tolerance: floats that should be equal may not be.
        rows = (top - gap, foot + gap + 1)
        corner = self.find_box(foot - top, 2 * radius, rows, (0, self.width))
        if corner is None:
            return
        y, x = corner[0] + radius, corner[1] + radius
        self.rectangle(y, x - half, foot, x + half, POST, "post")
        self.disc(y, x, radius, LAMP, "bright")

    def draw_pane(
        self, rows: tuple[float, float], columns: tuple[float, float], label: int
    ) -> None:
        """Draw a window or a pond."""
        h, w = self.length(*_PANE), self.length(*_PANE)
        corner = self.find_box(h, w, rows, columns)
        if corner is not None:
            self.rectangle(*corner, corner[0] + h, corner[1] + w, label, "pane")

    def draw_disc(self, rows: tuple[float, float], label: int, color: str) -> None:
        """Draw a ball or a balloon."""
        radius = self.length(*_DISC)
        corner = self.find_box(2 * radius, 2 * radius, rows, (0, self.width))
        if corner is not None:
            self.disc(corner[0] + radius, corner[1] + radius, radius, label, color)


class ScenesDataset(GeneratedDataset):
    """Splits of generated scenes; each depends on (seed, split, index) alone.

    Args:
        sizes: the number of images in each split.
        size: height and width, at least 48x64. Everything in the image grows with them.
        seed: any integer from 0.

    Raises:
        ValueError: on an image too small, or a negative count or seed.

    Example:
    >>> scenes = ScenesDataset({"train": 2}, seed=1)
    >>> image, labels = scenes.read(scenes.splits["train"][0])
    >>> image.shape, labels.shape
    ((96, 128, 3), (96, 128))
    """

    name = "scenes"
    classes = CLASSES
    canvas = Scene
    default_sizes = SIZES
