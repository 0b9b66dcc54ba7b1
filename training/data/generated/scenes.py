"""Generated pictures with classes that only their surroundings tell apart.

A scene has a house, a car, posts and things on grass under a sky. Three pairs of twins are drawn
by the same code with the same random colours, sizes and textures: a tyre is a ball under a car, a
lamp is a balloon on a post, a window is a pond in a wall. `RELATIONS` lists what gives them away.

    python -m training.data.scenes --out DIR --count 500

writes them as a data set of files, in the layout that `FolderDataset` reads.
"""

import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from keras_dpn.classes import Classes

from ...utils.progress import progress
from ..dataset import Dataset, Example

SKY, GRASS, HOUSE, CAR, POST, TYRE, BALL, LAMP, BALLOON, WINDOW, POND = range(11)

CLASSES = Classes(
    names=(
        "sky",
        "grass",
        "house",
        "car",
        "post",
        "tyre",
        "ball",
        "lamp",
        "balloon",
        "window",
        "pond",
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

# Pairs that look the same.
TWINS = (("tyre", "ball"), ("lamp", "balloon"), ("window", "pond"))


@dataclass(frozen=True)
class Relation:
    """`neighbour` lies in `direction` of `label`: ("lamp", "below", "post"), below a lamp a post.

    Args:
        label: name of a class.
        direction: seen from the label; "around" is all four.
        neighbour: name of another class.
    """

    label: str
    direction: Literal["above", "below", "left", "right", "around"]
    neighbour: str


# What tells each twin from the other: the one has it and the other has not.
RELATIONS = (
    Relation("tyre", "above", "car"),
    Relation("ball", "above", "grass"),
    Relation("lamp", "below", "post"),
    Relation("balloon", "below", "sky"),
    Relation("window", "around", "house"),
    Relation("pond", "around", "grass"),
)

SIZES = {"train": 800, "val": 100, "test": 200}

# All lengths below are in pixels of a picture of this size and grow with it.
BASE_SIZE = (96, 128)
SMALLEST = (48, 64)
_DISC = (4.0, 7.0)  # radius
_PANE = (8.0, 13.0)  # side
_GAP = 3.0  # of background around each thing

# Mean colours, and how far a thing's own colour lies from it (one draw for the grey, one for each
# channel): near enough to each other that single noisy pixels are often ambiguous.
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
_GREY_SPREAD, _COLOR_SPREAD = 10.0, 6.0

# Standard deviations in 0..255: texture (spots of a few pixels) by class, and sensor noise. Twins
# have the same texture.
_TEXTURE = np.zeros(256, "float32")
_TEXTURE[[SKY, GRASS, HOUSE, CAR, POST]] = 7, 18, 12, 9, 10
_TEXTURE[[TYRE, BALL, LAMP, BALLOON, WINDOW, POND]] = 12, 12, 10, 10, 12, 12
_TEXTURE_SIZE, EDGE_BLUR, _NOISE = 1.5, 0.8, 12.0


class ScenesDataset(Dataset):
    """Splits of generated scenes; each depends on (seed, split, index) alone.

    Args:
        sizes: the number of pictures in each split.
        size: height and width, at least 48x64. Everything in the picture grows with them.
        seed: any integer from 0.

    Raises:
        ValueError: on a picture too small, or a negative count or seed.

    Example:
    >>> scenes = ScenesDataset({"train": 2}, seed=1)
    >>> image, labels = scenes.read(scenes.splits["train"][0])
    >>> image.shape, labels.shape
    ((96, 128, 3), (96, 128))
    """

    name = "scenes"
    classes = CLASSES
    # A kind of pictures of its own has its own of these, and its own `read`.
    default_sizes: Mapping[str, int] = SIZES
    default_size = BASE_SIZE
    smallest = SMALLEST

    def __init__(
        self,
        sizes: Mapping[str, int] | None = None,
        size: tuple[int, int] | None = None,
        seed: int = 0,
    ):
        sizes = self.default_sizes if sizes is None else sizes
        size = self.default_size if size is None else size
        check_arguments(sizes, size, seed, self.smallest)
        self.size = tuple(size)
        self.seed = seed
        self.splits = {split: _examples(split, count) for split, count in sizes.items()}

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        return Scene(self.size, self.generator(example)).draw()

    def generator(self, example: Example) -> np.random.Generator:
        """The source of all that is random in an example."""
        split = example.name.rsplit("_", 1)[0]
        return np.random.default_rng([self.seed, zlib.crc32(split.encode()), example.index])


def check_arguments(
    sizes: Mapping[str, int],
    size: tuple[int, int],
    seed: int,
    smallest: tuple[int, int] = SMALLEST,
) -> None:
    """Raises ValueError on arguments that no data set of scenes can have."""
    if min(sizes.values(), default=0) < 0:
        raise ValueError(f"`sizes`: expected counts from 0 up, received {dict(sizes)}.")
    if size[0] < smallest[0] or size[1] < smallest[1]:
        raise ValueError(f"`size`: expected at least {smallest}, received {tuple(size)}.")
    if seed < 0:
        raise ValueError(f"`seed`: expected 0 or more, received {seed}.")


def length_unit(size: tuple[int, int]) -> float:
    """How many pixels of a picture of this size are one of `BASE_SIZE`."""
    return min(size[0] / BASE_SIZE[0], size[1] / BASE_SIZE[1])


class Scene:
    """One picture while it is drawn: flat colours and labels, and which boxes are taken.

    Attributes:
        colors: the mean colour of what is drawn, by name.
        texture: the strength of each label's texture, (256,).
    """

    colors = _COLORS
    texture = _TEXTURE

    def __init__(self, size: tuple[int, int], rng: np.random.Generator):
        self.rng = rng
        self.height, self.width = size
        self.unit = length_unit(size)
        self.image = np.empty((*size, 3), "float32")
        self.labels = np.empty(size, "uint8")
        self.y, self.x = np.ogrid[: self.height, : self.width]
        self.taken: list[tuple[float, float, float, float]] = []  # top, left, bottom, right

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws from back to front, large things first, and photographs the result."""
        horizon = self.height * self.rng.uniform(0.45, 0.58)
        sky, lawn = (0, horizon - 9 * self.unit), (horizon, self.height)
        self._rectangle(0, 0, self.height, self.width, SKY, "sky")
        self._rectangle(horizon, 0, self.height, self.width, GRASS, "grass")
        self._house(horizon)
        for _ in range(self.rng.integers(1, 3)):
            self._lamp(horizon)
        self._car(lawn)
        for _ in range(self.rng.integers(2, 4)):
            self._pane(lawn, (0, self.width), POND)
        for _ in range(self.rng.integers(1, 4)):
            self._disc(lawn, BALL, "dark")
        for _ in range(self.rng.integers(1, 3)):
            self._disc(sky, BALLOON, "bright")
        return self._photograph(), self.labels

    # Things.

    def _house(self, horizon: float) -> None:
        h, w = self._length(32, 42), self._length(46, 58)
        bottom = horizon + self._length(2, 5)
        left = self.rng.uniform(0, self.width - w)
        self._rectangle(bottom - h, left, bottom, left + w, HOUSE, "house")
        for _ in range(self.rng.integers(2, 5)):
            self._pane((bottom - h, bottom), (left, left + w), WINDOW)
        self.taken.append((bottom - h, left, bottom, left + w))

    def _car(self, lawn: tuple[float, float]) -> None:
        h, w, radius = self._length(10, 14), self._length(36, 46), self._length(*_DISC)
        place = self._place(h + radius, w, lawn, (0, self.width))
        if place is None:
            return
        top, left = place
        self._rectangle(top, left, top + h, left + w, CAR, "car")
        for x in (left + 1.6 * radius, left + w - 1.6 * radius):
            self._ellipse(top + h, x, radius, TYRE, "dark")

    def _lamp(self, horizon: float) -> None:
        radius, half, gap = self._length(*_DISC), self._length(2, 3), _GAP * self.unit
        top = self.rng.uniform(gap, horizon - 12 * self.unit - 2 * radius)
        foot = horizon + self._length(3, 12)
        # One pixel of play: floats that should be equal may not be.
        rows = (top - gap, foot + gap + 1)
        place = self._place(foot - top, 2 * radius, rows, (0, self.width))
        if place is None:
            return
        y, x = place[0] + radius, place[1] + radius
        self._rectangle(y, x - half, foot, x + half, POST, "post")
        self._ellipse(y, x, radius, LAMP, "bright")

    def _pane(self, rows: tuple[float, float], columns: tuple[float, float], label: int) -> None:
        h, w = self._length(*_PANE), self._length(*_PANE)
        place = self._place(h, w, rows, columns)
        if place is not None:
            self._rectangle(*place, place[0] + h, place[1] + w, label, "pane")

    def _disc(self, rows: tuple[float, float], label: int, color: str) -> None:
        radius = self._length(*_DISC)
        place = self._place(2 * radius, 2 * radius, rows, (0, self.width))
        if place is not None:
            self._ellipse(place[0] + radius, place[1] + radius, radius, label, color)

    # Finding room.

    def _length(self, low: float, high: float) -> float:
        return self.unit * self.rng.uniform(low, high)

    def _place(
        self, h: float, w: float, rows: tuple[float, float], columns: tuple[float, float]
    ) -> tuple[float, float] | None:
        """A free corner (top, left) for a box of h x w, or None where 20 tries found none."""
        gap = _GAP * self.unit
        top, bottom = rows[0] + gap, rows[1] - gap - h
        left, right = columns[0] + gap, columns[1] - gap - w
        if top > bottom or left > right:
            return None
        for _ in range(20):
            y, x = self.rng.uniform(top, bottom), self.rng.uniform(left, right)
            if self._free(y, x, y + h, x + w):
                self.taken.append((y, x, y + h, x + w))
                return y, x
        return None

    def _free(self, top: float, left: float, bottom: float, right: float) -> bool:
        gap = _GAP * self.unit
        return not any(
            top < box[2] + gap
            and bottom > box[0] - gap
            and left < box[3] + gap
            and right > box[1] - gap
            for box in self.taken
        )

    # Painting.

    def _rectangle(
        self, top: float, left: float, bottom: float, right: float, label: int, color: str
    ) -> None:
        rows = slice(max(round(top), 0), round(bottom))
        columns = slice(max(round(left), 0), round(right))
        self.labels[rows, columns] = label
        self.image[rows, columns] = self._color(color)

    def _ellipse(self, y: float, x: float, radius: float, label: int, color: str) -> None:
        inside = (self.y - y) ** 2 + (self.x - x) ** 2 <= radius**2
        self.labels[inside] = label
        self.image[inside] = self._color(color)

    def _color(self, name: str) -> np.ndarray:
        grey = self.rng.normal(0, _GREY_SPREAD)
        return np.array(self.colors[name]) + grey + self.rng.normal(0, _COLOR_SPREAD, 3)

    def _photograph(self) -> np.ndarray:
        """Texture, uneven light, a soft lens and a noisy sensor."""
        spots = self._spots()
        slope = self.rng.uniform(-15, 15)
        light = slope * (self.x / self.width - 0.5) + self.rng.uniform(-12, 12)
        image = self.image + (spots + light)[..., None]
        blur = EDGE_BLUR * self.unit
        image = ndimage.gaussian_filter(image, (blur, blur, 0))
        image += _NOISE * self.rng.standard_normal(image.shape, "float32")
        return np.clip(np.rint(image), 0, 255).astype("uint8")

    def _spots(self) -> np.ndarray:
        """The texture of what has been drawn, (H, W), to be added to all channels."""
        noise = self.rng.standard_normal((2, *self.labels.shape), "float32")
        spots = ndimage.gaussian_filter(noise[0], _TEXTURE_SIZE * self.unit)
        return spots * (self.texture[self.labels] / spots.std())


def _examples(split: str, count: int) -> tuple[Example, ...]:
    return tuple(Example(f"{split}_{index:05d}", index=index) for index in range(count))


def write_folder(dataset: Dataset, out: Path) -> None:
    """Writes a data set as files, in the layout that `FolderDataset` reads.

    Args:
        dataset: any data set whose examples have different names.
        out: a directory, made where there is none. Label maps are palette PNGs, so that a
            picture viewer shows the classes' colours.
    """
    for split, examples in dataset.splits.items():
        for example in progress(examples, split, len(examples)):
            pixels, labels = dataset.read(example)
            write_picture(out / "images" / f"{example.name}.png", pixels)
            write_label_map(out / "labels" / f"{example.name}.png", labels, dataset.classes)
        write_list(out, split, [example.name for example in examples])
    write_classes(out, dataset.classes)


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Writes uint8 (H, W, 3) RGB as PNG."""
    _write(path, _png(Image.fromarray(pixels)))


def write_label_map(path: Path, labels: np.ndarray, classes: Classes) -> None:
    """Writes uint8 (H, W) as a palette PNG in the classes' colours."""
    palette = np.zeros((256, 3), "uint8")
    palette[: classes.num_classes] = classes.colors
    label_map = Image.fromarray(labels)
    label_map.putpalette(palette.tobytes())
    _write(path, _png(label_map))


def write_list(out: Path, split: str, names: Sequence[str]) -> None:
    """Writes `splits/<split>.txt` of a data set of files, a name on each line."""
    _write(out / "splits" / f"{split}.txt", "".join(f"{name}\n" for name in names).encode())


def write_classes(out: Path, classes: Classes) -> None:
    """Writes `classes.json` of a data set of files."""
    _write(out / "classes.json", json.dumps(classes.to_json(), indent=2).encode())


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def main(out: Path, count: int = 500, seed: int = 0) -> None:
    """Writes a data set of scenes, as an example of the folder layout.

    Args:
        out: the directory to write; made where there is none.
        count: number of training pictures; val and test get a quarter as many each.
        seed: which pictures; the same seed gives the same files.
    """
    write_scenes(ScenesDataset, out, count, seed)


def write_scenes(kind: type[ScenesDataset], out: Path, count: int, seed: int) -> None:
    """Writes a generated data set of so many training pictures; see `main`."""
    if count < 1:
        raise ValueError(f"Invalid value for argument `count`: expected 1 or more, got {count}.")
    rest = -(-count // 4)
    dataset = kind({"train": count, "val": rest, "test": rest}, seed=seed)
    write_folder(dataset, out)
    print(f"{out}: {count} training, {rest} validation and {rest} test pictures")
