"""The generated scenes set in motion: clips with exact flow, occlusions, and noise in every frame.

The camera pans over a house, posts with lamps and ponds; cars, balls and balloons cross the
picture at their own pace, cover each other and what stands behind them, leave and come back. The
pairs of twins and what tells them apart are those of `training.data.scenes`. Noise is drawn anew
for each frame, so that a network which sees one frame alone flickers.

    python -m training.data.moving_scenes --out DIR --count 40

writes them as files, in the layout that `ClipFolder` reads.
"""

import functools
import itertools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from ...utils.progress import progress
from ..clips.base import ClipDataset
from ..clips.flow import write_flo
from ..dataset import Example
from .scenes import (
    BALL,
    BALLOON,
    BASE_SIZE,
    CLASSES,
    EDGE_BLUR,
    GRASS,
    POND,
    SKY,
    Scene,
    check_arguments,
    length_unit,
    write_classes,
    write_label_map,
    write_list,
    write_picture,
)

SIZES = {"train": 150, "val": 30, "test": 60}

# Pixels a frame in a picture of `BASE_SIZE`: the camera's pan and tilt, its shake, the things' way
# across the picture, and up or down. Nothing moves as the world does, by less than a pixel.
_PAN, _TILT, _SHAKE = (1.0, 2.5), 0.5, 0.5
_SPEED, _DRIFT = (4.0, 10.0), 0.7

# Standard deviations in 0..255, drawn anew for each frame: brightness, sensor noise, and blotches
# of a few pixels, as lossy compression leaves them, which no smoothing within a frame removes.
_FLICKER, _NOISE, _BLOTCHES, _BLOTCH_SIZE = 6.0, 14.0, 10.0, 2.5

_NOTHING = 255  # the label where a layer is transparent


class MovingScenesDataset(ClipDataset):
    """Splits of generated clips; each frame depends on (seed, split, sequence, frame) alone.

    Every frame has labels, so that every frame is an example of its split.

    Args:
        sizes: the number of sequences in each split.
        size: height and width, at least 48x64. Everything in the picture grows with them, its
            motion too.
        seed: any integer from 0.
        frames: the number of frames in each sequence, from 1 up.
        noise: factor from 0 up on what is drawn anew for each frame; 0 gives clean frames.

    Raises:
        ValueError: on a picture too small, or a number below its range.

    Example:
    >>> scenes = MovingScenesDataset({"train": 1}, frames=3)
    >>> first, second, _ = scenes.sequences["train"][0]
    >>> scenes.read_frame(first).shape, scenes.flow(first, second).shape
    ((96, 128, 3), (96, 128, 2))
    """

    name = "moving_scenes"
    classes = CLASSES

    def __init__(
        self,
        sizes: Mapping[str, int] | None = None,
        size: tuple[int, int] = BASE_SIZE,
        seed: int = 0,
        frames: int = 6,
        noise: float = 1.0,
    ):
        sizes = SIZES if sizes is None else sizes
        check_arguments(sizes, size, seed)
        if frames < 1:
            raise ValueError(f"`frames`: expected 1 or more, received {frames}.")
        if not noise >= 0:
            raise ValueError(f"`noise`: expected 0 or more, received {noise}.")
        self.size = tuple(size)
        self.seed = seed
        self.frames = frames
        self.noise = noise
        self.sequences = {
            split: tuple(_examples(split, number, frames) for number in range(count))
            for split, count in sizes.items()
        }
        self.splits = {split: sum(clips, ()) for split, clips in self.sequences.items()}

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        film, frame = self._film_of(example)
        return self.read_frame(example), film.view(frame)[1]

    def read_frame(self, example: Example) -> np.ndarray:
        film, frame = self._film_of(example)
        image = film.picture(frame)
        if self.noise:
            rng = np.random.default_rng([*self._entropy(example), frame + 1])
            image = image + self.noise * _noise(image.shape, length_unit(self.size), rng)
        return np.clip(np.rint(image), 0, 255).astype("uint8")

    def flow(self, first: Example, second: Example) -> np.ndarray:
        """The exact flow between any two frames of a sequence, also back in time.

        Returns:
            float32 (H, W, 2), (dx, dy) in pixels: how far what is in front there has moved.

        Raises:
            ValueError: where the frames are not of one sequence.
        """
        if _place(first)[0] != _place(second)[0]:
            raise ValueError(
                f"Expected two frames of one sequence, received {first.name!r} and {second.name!r}."
            )
        film, frame = self._film_of(first)
        return film.flow(frame, _place(second)[1])

    def _film_of(self, example: Example) -> tuple["_Film", int]:
        """The example's film and its number in that."""
        return _film(self.size, self.frames, self._entropy(example)), _place(example)[1]

    def _entropy(self, example: Example) -> tuple[int, int, int]:
        split, _, number = _place(example)[0].rpartition("_")
        return self.seed, zlib.crc32(split.encode()), int(number)


@dataclass(frozen=True)
class _Layer:
    """A thing, cut out: its pixels, and where their first one lies in each frame.

    Args:
        pixels: float32 (h, w, 4), the colours times the opacity, and the opacity, 0 or 1.
        labels: uint8 (h, w), `_NOTHING` where it is transparent.
        path: (T, 2), y and x in pixels, not whole numbers.
    """

    pixels: np.ndarray
    labels: np.ndarray
    path: np.ndarray


@dataclass(frozen=True)
class _Film:
    """A sequence: layers from back to front, and the light (H, W) that falls on them."""

    layers: tuple[_Layer, ...]
    light: np.ndarray

    def picture(self, frame: int) -> np.ndarray:
        """The frame as a lens without noise shows it, float32 (H, W, 3), not clipped."""
        image = np.zeros((*self.light.shape, 3), "float32")
        for layer in self.layers:
            corner = np.floor(layer.path[frame])
            pixels = _shifted(layer.pixels, layer.path[frame] - corner)
            here, there = _overlap(corner, pixels.shape, image.shape)
            image[here] *= 1 - pixels[there][..., 3:]
            image[here] += pixels[there][..., :3]
        blur = EDGE_BLUR * length_unit(self.light.shape)
        return ndimage.gaussian_filter(image + self.light[..., None], (blur, blur, 0))

    def view(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Which layer is in front at each pixel, and its label: uint8 (H, W) each."""
        front = np.zeros(self.light.shape, "uint8")
        labels = np.zeros(self.light.shape, "uint8")
        for number, layer in enumerate(self.layers):
            corner = np.rint(layer.path[frame])
            here, there = _overlap(corner, layer.labels.shape, labels.shape)
            visible = layer.labels[there] != _NOTHING
            front[here][visible] = number
            labels[here][visible] = layer.labels[there][visible]
        return front, labels

    def flow(self, first: int, second: int) -> np.ndarray:
        """How far the layer in front in one frame is from there in another: (H, W, 2)."""
        steps = [layer.path[second] - layer.path[first] for layer in self.layers]
        front, _ = self.view(first)
        return np.array(steps, "float32")[front][..., ::-1].copy()  # (dy, dx) to (dx, dy)


class _World(Scene):
    """What a sequence shows, while it is drawn: a scene as wide as the camera's pan needs."""

    def __init__(self, size: tuple[int, int], frames: int, rng: np.random.Generator):
        unit = length_unit(size)
        time = np.arange(frames)[:, None] - (frames - 1) / 2  # (T, 1), 0 in the middle
        reach = np.array([_TILT, _PAN[1]]) * time[-1] + _SHAKE
        self.margin = np.ceil(unit * reach).astype(int) + 1
        super().__init__(tuple(size + 2 * self.margin), rng)
        self.unit = unit
        self.size = size
        self.time = time
        velocity = [rng.uniform(-_TILT, _TILT), rng.uniform(*_PAN) * rng.choice([-1, 1])]
        self.shake = unit * rng.uniform(-_SHAKE, _SHAKE, (frames, 2))
        self.pan = unit * np.array(velocity) * time  # (T, 2)

    def film(self) -> _Film:
        """Draws the layers, from back to front in the film."""
        horizon = self.margin[0] + self.size[0] * self.rng.uniform(0.45, 0.58)
        sky = (0, horizon - 9 * self.unit)
        road = (horizon - 9 * self.unit, horizon + 24 * self.unit)
        lawn = (horizon + 19 * self.unit, self.height)  # in front of the road: no ball is a tyre
        ground = self._standing(lambda: self._ground(horizon))
        buildings = self._standing(lambda: self._buildings(horizon))
        balloons = self._moving(self.rng.integers(2, 4), lambda: self._balloon(sky))
        cars = self._moving(self.rng.integers(1, 3), lambda: self._car(road))
        balls = self._moving(self.rng.integers(2, 5), lambda: self._ball(lawn))
        slope, light = self.rng.uniform(-15, 15), self.rng.uniform(-12, 12)
        light = light + slope * np.linspace(-0.5, 0.5, self.size[1], dtype="float32")
        layers = (ground, *balloons, buildings, *cars, *balls)
        return _Film(layers, np.broadcast_to(light, self.size))

    # Things.

    def _ground(self, horizon: float) -> None:
        self._rectangle(0, 0, self.height, self.width, SKY, "sky")
        self._rectangle(horizon, 0, self.height, self.width, GRASS, "grass")

    def _buildings(self, horizon: float) -> None:
        self._house(horizon)
        for _ in range(self.rng.integers(1, 3)):
            self._lamp(horizon)
        for _ in range(self.rng.integers(2, 4)):
            self._pane((horizon, self.height), (0, self.width), POND)

    def _balloon(self, sky: tuple[float, float]) -> None:
        self._disc(sky, BALLOON, "bright")

    def _ball(self, lawn: tuple[float, float]) -> None:
        self._disc(lawn, BALL, "dark")

    # Layers.

    def _standing(self, draw: Callable[[], None]) -> _Layer:
        corner, pixels, labels = self._cut(draw)
        return _Layer(pixels, labels, corner - self.margin + self.pan + self.shake)

    def _moving(self, count: int, draw: Callable[[], None]) -> list[_Layer]:
        """Things that may cover each other and whatever stands there."""
        layers = []
        for _ in range(count):
            self.taken.clear()
            corner, pixels, labels = self._cut(draw)
            path = self._crossing(corner[0] - self.margin[0], labels.shape[1])
            layers.append(_Layer(pixels, labels, path))
        return layers

    def _crossing(self, top: float, width: int) -> np.ndarray:
        """A way across the picture, (T, 2); who has left it comes back on the other side."""
        speed = self._length(*_SPEED) * self.rng.choice([-1, 1])
        # So far out that nothing is seen in the frame before or after it changes sides.
        hidden = width + (_SPEED[1] + 4 * _SHAKE) * self.unit
        period = self.size[1] + 2 * hidden - width
        x = (self.rng.uniform(0, period) + speed * self.time) % period - hidden
        y = top + self._length(-_DRIFT, _DRIFT) * self.time + self.pan[:, :1]
        return np.concatenate([y, x], axis=1) + self.shake

    def _cut(self, draw: Callable[[], None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `draw` draws, on a canvas of its own: its corner, its pixels and labels."""
        self.image[...] = 0
        self.labels[...] = _NOTHING
        draw()
        opacity = (self.labels != _NOTHING)[..., None]
        colors = (self.image + self._spots()[..., None]) * opacity
        pixels = np.concatenate([colors, opacity], axis=-1, dtype="float32")
        (box,) = ndimage.find_objects(opacity[..., 0].astype("uint8"))
        corner = np.array([axis.start for axis in box])
        return corner, pixels[box].copy(), self.labels[box].copy()


@functools.lru_cache(maxsize=64)  # a clip's frames and flows want the same film
def _film(size: tuple[int, int], frames: int, entropy: tuple[int, int, int]) -> _Film:
    return _World(size, frames, np.random.default_rng(entropy)).film()


def _noise(shape: tuple[int, int, int], unit: float, rng: np.random.Generator) -> np.ndarray:
    """Flicker, sensor noise and blotches, (H, W, 3)."""
    blotches = rng.standard_normal(shape, "float32")
    blotches = ndimage.gaussian_filter(blotches, (_BLOTCH_SIZE * unit, _BLOTCH_SIZE * unit, 0))
    blotches *= _BLOTCHES / blotches.std()
    return blotches + _NOISE * rng.standard_normal(shape, "float32") + rng.normal(0, _FLICKER)


def _shifted(pixels: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Moves (h, w, C) down and right by less than a pixel each: (h + 1, w + 1, C)."""
    for axis, share in enumerate(fraction.astype("float32")):
        padding = [(int(axis == other), int(axis == other)) for other in range(3)]
        padded = np.pad(pixels, padding)
        before, after = np.split(padded, [1], axis)[1], np.split(padded, [-1], axis)[0]
        pixels = (1 - share) * before + share * after
    return pixels


def _overlap(
    corner: np.ndarray, inner: tuple[int, ...], outer: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a box at a corner lies in the picture, and which part of the box that is."""
    here, there = [], []
    for start, length, size in zip(corner.astype(int), inner[:2], outer[:2], strict=True):
        low, high = max(start, 0), max(min(start + length, size), 0)
        here.append(slice(low, high))
        there.append(slice(low - start, max(high - start, 0)))
    return tuple(here), tuple(there)


def _examples(split: str, sequence: int, frames: int) -> tuple[Example, ...]:
    first = sequence * frames
    return tuple(
        Example(f"{split}_{sequence:05d}/{frame:06d}", index=first + frame)
        for frame in range(frames)
    )


def _place(example: Example) -> tuple[str, int]:
    """The sequence's name, and which of its frames the example is."""
    sequence, frame = example.name.split("/")
    return sequence, int(frame)


def write_clips(dataset: ClipDataset, out: Path) -> None:
    """Writes a data set of clips as files, in the layout that `ClipFolder` reads.

    Args:
        dataset: every frame has labels.
        out: a directory, made where there is none.
    """
    for split, sequences in dataset.sequences.items():
        for sequence in progress(sequences, split, len(sequences)):
            for example in sequence:
                pixels, labels = dataset.read(example)
                write_picture(out / "clips" / f"{example.name}.png", pixels)
                write_label_map(out / "labels" / f"{example.name}.png", labels, dataset.classes)
            for first, second in itertools.pairwise(sequence):
                link = out / "flow" / first.name
                write_flo(Path(f"{link}_forward.flo"), dataset.flow(first, second))
                write_flo(Path(f"{link}_backward.flo"), dataset.flow(second, first))
        write_list(out, split, [sequence[0].name.split("/")[0] for sequence in sequences])
    write_classes(out, dataset.classes)


def main(out: Path, count: int = 40, seed: int = 0) -> None:
    """Writes a folder of clips with labels and exact flow, as an example of the layout.

    Args:
        out: the directory to write; made where there is none.
        count: number of training sequences; val and test get a quarter as many each.
        seed: which sequences; the same seed gives the same files.
    """
    if count < 1:
        raise ValueError(f"Invalid value for argument `count`: expected 1 or more, got {count}.")
    rest = -(-count // 4)
    dataset = MovingScenesDataset({"train": count, "val": rest, "test": rest}, seed=seed)
    write_clips(dataset, out)
    print(f"{out}: {count} training, {rest} validation and {rest} test sequences")
