"""The generated scenes in motion: clips with exact flow, occlusions, and noise in every frame.

The camera pans over a house, posts with lamps and ponds; cars, balls and balloons cross the image
at their own pace, occlude each other and what is behind them, leave and return. The confusable
classes and the relations that distinguish them are those of `scenes`. Noise is drawn again for each
frame, so that the predictions of a network for single frames flicker.

    keras-dpn generate moving-scenes --out DIR --num-images 40

writes them as files, in the layout that `ClipFolder` reads.
"""

import functools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..clips.base import ClipDataset
from ..dataset import Example
from .canvas import BASE_SIZE, EDGE_BLUR, check_arguments, length_unit
from .scenes import BALL, BALLOON, CLASSES, GRASS, POND, SKY, Scene

SIZES = {"train": 150, "val": 30, "test": 60}

# Pixels per frame in an image of `BASE_SIZE`: the camera's pan and tilt, its shake, the objects'
# motion across the image, and up or down.
_PAN, _TILT, _SHAKE = (1.0, 2.5), 0.5, 0.5
_SPEED, _DRIFT = (4.0, 10.0), 0.7

# Standard deviations in intensity levels, drawn again for each frame: brightness, sensor noise, and
# blotches of a few pixels as from lossy compression, which no smoothing within a frame removes.
_FLICKER, _NOISE, _BLOTCHES, _BLOTCH_SIZE = 6.0, 14.0, 10.0, 2.5

_TRANSPARENT = 255  # the label of a layer's transparent pixels


class MovingScenesDataset(ClipDataset):
    """Splits of generated clips; each frame depends on (seed, split, sequence, frame) alone.

    Every frame has labels, so that every frame is an example of its split.

    Args:
        sizes: the number of sequences in each split.
        size: height and width, at least 48x64. Everything in the image grows with them, its
            motion too.
        seed: any integer from 0.
        frames: the number of frames in each sequence, from 1 up.
        noise: factor from 0 up on the noise of each frame; 0 gives clean frames.

    Raises:
        ValueError: on an image too small, or a number below its range.

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
    ) -> None:
        sizes = SIZES if sizes is None else sizes
        check_arguments(sizes, size, seed)
        if frames < 1:
            raise ValueError(f"`frames`: expected 1 or more, received {frames}.")
        if not noise >= 0:
            raise ValueError(f"`noise`: expected 0 or more, received {noise}.")
        self.size = (size[0], size[1])
        self.seed = seed
        self.frames = frames
        self.noise = noise
        self.sequences = {
            split: tuple(_examples(split, number, frames) for number in range(count))
            for split, count in sizes.items()
        }
        self.splits = {split: sum(clips, ()) for split, clips in self.sequences.items()}

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        video, frame = self._find_video(example)
        return self.read_frame(example), video.view(frame)[1]

    def read_frame(self, example: Example) -> np.ndarray:
        video, frame = self._find_video(example)
        image = video.image(frame)
        if self.noise:
            rng = np.random.default_rng([*self._entropy(example), frame + 1])
            image = image + self.noise * _noise(image.shape, length_unit(self.size), rng)
        return np.clip(np.rint(image), 0, 255).astype("uint8")

    def flow(self, first: Example, second: Example) -> np.ndarray:
        """Return the exact flow between any two frames of a sequence, also back in time.

        Returns:
            float32 (H, W, 2), (dx, dy) in pixels: the motion of the visible surface.

        Raises:
            ValueError: if the frames are not of one sequence.
        """
        if _position(first)[0] != _position(second)[0]:
            raise ValueError(
                f"Expected two frames of one sequence, received {first.name!r} and {second.name!r}."
            )
        video, frame = self._find_video(first)
        return video.flow(frame, _position(second)[1])

    def _find_video(self, example: Example) -> tuple["_Video", int]:
        """Return the video of a frame, and the frame's index in it."""
        return _draw_video(self.size, self.frames, self._entropy(example)), _position(example)[1]

    def _entropy(self, example: Example) -> tuple[int, int, int]:
        split, _, number = _position(example)[0].rpartition("_")
        return self.seed, zlib.crc32(split.encode()), int(number)


@dataclass(frozen=True)
class _Layer:
    """An object as a layer: its pixels, and the position of the first one in each frame.

    Args:
        pixels: float32 (h, w, 4), the colours times the opacity, and the opacity, 0 or 1.
        labels: uint8 (h, w), `_TRANSPARENT` where the opacity is 0.
        path: (T, 2), y and x in pixels, as fractions too.
    """

    pixels: np.ndarray
    labels: np.ndarray
    path: np.ndarray


@dataclass(frozen=True)
class _Video:
    """A sequence: layers from back to front, and the light (H, W) that falls on them."""

    layers: tuple[_Layer, ...]
    light: np.ndarray

    def image(self, frame: int) -> np.ndarray:
        """Return a frame without noise, float32 (H, W, 3), not clipped."""
        image = np.zeros((*self.light.shape, 3), "float32")
        for layer in self.layers:
            corner = np.floor(layer.path[frame])
            pixels = _shift(layer.pixels, layer.path[frame] - corner)
            outer, inner = _overlap(corner, pixels.shape, image.shape)
            image[outer] *= 1 - pixels[inner][..., 3:]
            image[outer] += pixels[inner][..., :3]
        blur = EDGE_BLUR * length_unit(self.light.shape)
        return ndimage.gaussian_filter(image + self.light[..., None], (blur, blur, 0))

    def view(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the index of the visible layer at each pixel, and its label: uint8 (H, W) each."""
        front = np.zeros(self.light.shape, "uint8")
        labels = np.zeros(self.light.shape, "uint8")
        for number, layer in enumerate(self.layers):
            corner = np.rint(layer.path[frame])
            outer, inner = _overlap(corner, layer.labels.shape, labels.shape)
            visible = layer.labels[inner] != _TRANSPARENT
            front[outer][visible] = number
            labels[outer][visible] = layer.labels[inner][visible]
        return front, labels

    def flow(self, first: int, second: int) -> np.ndarray:
        """Return the motion of each visible layer from one frame to another: (H, W, 2)."""
        steps = [layer.path[second] - layer.path[first] for layer in self.layers]
        front, _ = self.view(first)
        return np.array(steps, "float32")[front][..., ::-1].copy()  # (dy, dx) to (dx, dy)


class _World(Scene):
    """A sequence being drawn: a scene as wide as the camera's pan requires."""

    def __init__(self, size: tuple[int, int], frames: int, rng: np.random.Generator) -> None:
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

    def draw_video(self) -> _Video:
        """Draw the layers, from back to front."""
        horizon = self.margin[0] + self.size[0] * self.rng.uniform(0.45, 0.58)
        sky = (0, horizon - 9 * self.unit)
        road = (horizon - 9 * self.unit, horizon + 24 * self.unit)
        lawn = (
            horizon + 19 * self.unit,
            self.height,
        )  # in front of the road, so that no ball looks like a tyre
        ground = self._static(lambda: self._ground(horizon))
        buildings = self._static(lambda: self._buildings(horizon))
        balloons = self._moving(self.rng.integers(2, 4), lambda: self._balloon(sky))
        cars = self._moving(self.rng.integers(1, 3), lambda: self.draw_car(road))
        balls = self._moving(self.rng.integers(2, 5), lambda: self._ball(lawn))
        slope, offset = self.rng.uniform(-15, 15), self.rng.uniform(-12, 12)
        light = offset + slope * np.linspace(-0.5, 0.5, self.size[1], dtype="float32")
        layers = (ground, *balloons, buildings, *cars, *balls)
        return _Video(layers, np.broadcast_to(light, self.size))

    # === Objects ===

    def _ground(self, horizon: float) -> None:
        self.rectangle(0, 0, self.height, self.width, SKY, "sky")
        self.rectangle(horizon, 0, self.height, self.width, GRASS, "grass")

    def _buildings(self, horizon: float) -> None:
        self.draw_house(horizon)
        for _ in range(self.rng.integers(1, 3)):
            self.draw_lamp(horizon)
        for _ in range(self.rng.integers(2, 4)):
            self.draw_pane((horizon, self.height), (0, self.width), POND)

    def _balloon(self, sky: tuple[float, float]) -> None:
        self.draw_disc(sky, BALLOON, "bright")

    def _ball(self, lawn: tuple[float, float]) -> None:
        self.draw_disc(lawn, BALL, "dark")

    # === Layers ===

    def _static(self, draw: Callable[[], None]) -> _Layer:
        corner, pixels, labels = self._cut(draw)
        return _Layer(pixels, labels, corner - self.margin + self.pan + self.shake)

    def _moving(self, count: int | np.integer[Any], draw: Callable[[], None]) -> list[_Layer]:
        """Draw objects that may occlude each other and what is behind them."""
        layers = []
        for _ in range(count):
            self.occupied.clear()
            corner, pixels, labels = self._cut(draw)
            path = self._crossing(corner[0] - self.margin[0], labels.shape[1])
            layers.append(_Layer(pixels, labels, path))
        return layers

    def _crossing(self, top: float, width: int) -> np.ndarray:
        """Return a path across the image, (T, 2), which re-enters on the other side."""
        speed = self.length(*_SPEED) * self.rng.choice([-1, 1])
        # So far out that an object isn't visible in the frames before and after it changes sides.
        hidden = width + (_SPEED[1] + 4 * _SHAKE) * self.unit
        period = self.size[1] + 2 * hidden - width
        x = (self.rng.uniform(0, period) + speed * self.time) % period - hidden
        y = top + self.length(-_DRIFT, _DRIFT) * self.time + self.pan[:, :1]
        return np.concatenate([y, x], axis=1) + self.shake

    def _cut(self, draw: Callable[[], None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the corner, pixels and labels of what a function draws on an empty canvas."""
        self.image[...] = 0
        self.labels[...] = _TRANSPARENT
        draw()
        opacity = (self.labels != _TRANSPARENT)[..., None]
        colors = (self.image + self.draw_texture()[..., None]) * opacity
        pixels = np.concatenate([colors, opacity], axis=-1, dtype="float32")
        (box,) = ndimage.find_objects(opacity[..., 0].astype("uint8"))
        corner = np.array([axis.start for axis in box])
        return corner, pixels[box].copy(), self.labels[box].copy()


@functools.lru_cache(maxsize=64)  # a clip's frames and flows need the same video
def _draw_video(size: tuple[int, int], frames: int, entropy: tuple[int, int, int]) -> _Video:
    return _World(size, frames, np.random.default_rng(entropy)).draw_video()


def _noise(shape: tuple[int, int, int], unit: float, rng: np.random.Generator) -> np.ndarray:
    """Draw flicker, sensor noise and blotches, (H, W, 3)."""
    blotches = rng.standard_normal(shape, "float32")
    blotches = ndimage.gaussian_filter(blotches, (_BLOTCH_SIZE * unit, _BLOTCH_SIZE * unit, 0))
    blotches *= _BLOTCHES / blotches.std()
    return blotches + _NOISE * rng.standard_normal(shape, "float32") + rng.normal(0, _FLICKER)


def _shift(pixels: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Move (h, w, C) down and right by a fraction of a pixel each: (h + 1, w + 1, C)."""
    for axis, weight in enumerate(fraction.astype("float32")):
        padding = [(int(axis == other), int(axis == other)) for other in range(3)]
        padded = np.pad(pixels, padding)
        before, after = np.split(padded, [1], axis)[1], np.split(padded, [-1], axis)[0]
        pixels = (1 - weight) * before + weight * after
    return pixels


def _overlap(
    corner: np.ndarray, box: tuple[int, ...], image: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the part of the image that a box at a corner covers, and that part of the box."""
    outer, inner = [], []
    for start, length, size in zip(corner.astype(int), box[:2], image[:2], strict=True):
        low, high = max(start, 0), max(min(start + length, size), 0)
        outer.append(slice(low, high))
        inner.append(slice(low - start, max(high - start, 0)))
    return tuple(outer), tuple(inner)


def _examples(split: str, sequence: int, frames: int) -> tuple[Example, ...]:
    first = sequence * frames
    return tuple(
        Example(f"{split}_{sequence:05d}/{frame:06d}", index=first + frame)
        for frame in range(frames)
    )


def _position(example: Example) -> tuple[str, int]:
    """Return the name of the sequence, and the index of the frame in it."""
    sequence, frame = example.name.split("/")
    return sequence, int(frame)
