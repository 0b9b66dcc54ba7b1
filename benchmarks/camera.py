"""Videos with known flow, made of one image: a camera pans, zooms and rotates over it.

    python -m benchmarks.camera IMAGE --out DIR --frames 100

writes the frames as DIR/000000.png...; with a file name that ends in .mp4, a video.
"""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tyro.conf import Positional

from keras_dpn.io.images import read_image
from keras_dpn.io.video import VideoWriter
from keras_dpn.viz import image_png
from training.data.clips.base import ClipDataset
from training.data.dataset import Dataset, Example
from training.utils.files import write_bytes
from training.utils.progress import progress

_ZOOM = 1.3  # the closest that the camera comes; never so far that a pixel takes in several
_TURN = np.radians(3)  # to either side
_FPS = 25.0


@dataclass(frozen=True)
class CameraClip:
    """A clip of T frames of h x w pixels with its exact flow.

    Args:
        frames: uint8 (T, h, w, 3) RGB.
        forward_flow: float32 (T-1, h, w, 2), (dx, dy) from frame t to t+1.
        backward_flow: float32 (T-1, h, w, 2), from frame t+1 to t.
        labels: uint8 (T, h, w), or None if the image has none.
    """

    frames: np.ndarray
    forward_flow: np.ndarray
    backward_flow: np.ndarray
    labels: np.ndarray | None


def pan_and_zoom(
    image: np.ndarray,
    frames: int,
    size: tuple[int, int] | None = None,
    labels: np.ndarray | None = None,
    speed: float = 4.0,
    seed: int = 0,
) -> CameraClip:
    """Return the clip of a camera that moves over an image on a smooth path, see `camera_path`.

    Args:
        image: uint8 (H, W, 3).
        frames: T, from 1 up.
        size: (h, w) of the frames; two thirds of the image by default.
        labels: uint8 (H, W) of the image, or None. Frames get the nearest labels.
        speed: of the pan, in pixels of the image per frame.
        seed: seed of the path.

    Raises:
        ValueError: as `camera_path`, and where the image is not uint8 RGB or the labels differ
            from it in size.

    Example:
    >>> clip = pan_and_zoom(np.zeros((60, 90, 3), "uint8"), frames=3)
    >>> clip.frames.shape, clip.forward_flow.shape
    ((3, 40, 60, 3), (2, 40, 60, 2))
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"`image`: expected uint8 (H, W, 3), received {image.dtype} {image.shape}."
        )
    if labels is not None and labels.shape != image.shape[:2]:
        raise ValueError(
            f"`labels`: expected the image's size {image.shape[:2]}, received {labels.shape}."
        )
    size = default_size(image) if size is None else size
    path = camera_path(image.shape[:2], frames, size, speed, seed)
    return CameraClip(
        np.stack([render_frame(image, matrix, size) for matrix in path]),
        _flows(path[:-1], path[1:], size),
        _flows(path[1:], path[:-1], size),
        None if labels is None else np.stack([render_frame(labels, m, size, True) for m in path]),
    )


class CameraClips(ClipDataset):
    """A clip by `pan_and_zoom` of every N-th image of a dataset; the flow is exact.

    Args:
        dataset: the dataset of the images and their labels.
        split: its split, the only one here.
        frames: frames of each clip.
        every: N, the distance in the split from one image to the next.
        speed: as in `pan_and_zoom`.

    Raises:
        ValueError: for an unknown split, and as `camera_path`.
    """

    def __init__(
        self, dataset: Dataset, split: str, frames: int = 12, every: int = 10, speed: float = 4.0
    ):
        self.name = f"{dataset.name}, moving camera"
        self.classes = dataset.classes
        self._dataset, self._frames, self._speed = dataset, frames, speed
        self._stills = dataset.examples(split)[::every]
        self.sequences = {
            split: tuple(
                tuple(Example(f"{still.name}/{t:06d}", index=t) for t in range(frames))
                for still in self._stills
            )
        }
        self.splits = {split: tuple(itertools.chain(*self.sequences[split]))}
        self._clip = functools.lru_cache(2)(self._make_clip)

    def read_frame(self, example: Example) -> np.ndarray:
        return self._clip(_still_name(example)).frames[example.index]

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        clip = self._clip(_still_name(example))
        return clip.frames[example.index], clip.labels[example.index]

    def flow(self, first: Example, second: Example) -> np.ndarray:
        clip = self._clip(_still_name(first))
        flows = clip.forward_flow if second.index > first.index else clip.backward_flow
        return flows[min(first.index, second.index)]

    def _make_clip(self, name: str) -> CameraClip:
        seed, still = next((i, s) for i, s in enumerate(self._stills) if s.name == name)
        image, labels = self._dataset.read(still)
        return pan_and_zoom(image, self._frames, labels=labels, speed=self._speed, seed=seed)


def _still_name(example: Example) -> str:
    return example.name.rsplit("/", 1)[0]


def default_size(image: np.ndarray) -> tuple[int, int]:
    """Return two thirds of an image's size, (h, w)."""
    return tuple(max(2 * length // 3, 1) for length in image.shape[:2])


def camera_path(
    still: tuple[int, int],
    frames: int,
    size: tuple[int, int],
    speed: float = 4.0,
    seed: int = 0,
) -> np.ndarray:
    """Return a smooth path over an image: pan, zoom (1 to 1.3), rotation (by up to 3 degrees).

    Each has its own period, so that the path hardly repeats itself. The camera never sees beyond
    the border of the image.

    Args:
        still: (H, W) of the image.
        frames: T, from 1 up.
        size: (h, w) of the frames.
        speed: of the pan in pixels of the image per frame, above 0: the root mean square where
            there is room.
        seed: seed of the path, an integer from 0.

    Returns:
        float64 (T, 2, 3): for each frame the matrix that maps (x, y, 1) of the frame to (x, y) of
        the image.

    Raises:
        ValueError: for a number below its range, and an image that is too small.
    """
    if frames < 1:
        raise ValueError(f"`frames`: expected 1 or more, received {frames}.")
    if min(size) < 1:
        raise ValueError(f"`size`: expected at least (1, 1), received {tuple(size)}.")
    if not speed > 0:
        raise ValueError(f"`speed`: expected a number above 0, received {speed}.")
    if seed < 0:
        raise ValueError(f"`seed`: expected 0 or more, received {seed}.")
    half = (np.array(size[::-1]) - 1) / 2  # x, y, as everything below
    middle = (np.array(still[::-1]) - 1) / 2
    room = middle - half * np.cos(_TURN) - half[::-1] * np.sin(_TURN)
    if room.min() < 0:
        raise ValueError(
            f"`size`: frames of {size[0]}x{size[1]} that turn do not fit into an image of "
            f"{still[0]}x{still[1]}; choose a smaller size."
        )
    rng = np.random.default_rng(seed)
    factors = np.array([1.0, 0.77, 0.43, 0.61]) * rng.uniform(0.9, 1.1, 4)
    # The root mean square of a cos(f t) a f is a f / sqrt(2). Where there is hardly room to pan,
    # zoom and turn must not swing wildly: hence the least amplitude.
    amplitude = np.maximum(np.hypot(*(room * factors[:2])), middle.max() / 4)
    frequency = speed * np.sqrt(2) / amplitude
    phases = np.outer(np.arange(frames), frequency * factors) + rng.uniform(0, 2 * np.pi, 4)
    swings = np.sin(phases)  # (T, 4): x, y, zoom, turn
    centre = middle + room * swings[:, :2]
    scale = _ZOOM ** (-0.5 - 0.5 * swings[:, 2])  # pixels of the image per pixel
    turn = _TURN * swings[:, 3]
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = np.moveaxis(linear, -1, 0)  # (T, 2, 2)
    return np.concatenate([linear, (centre - linear @ half)[..., None]], axis=-1)


def render_frame(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], nearest: bool = False
) -> np.ndarray:
    """Return one frame of a path: uint8 (h, w, 3), or (h, w) of a label map with `nearest`."""
    interpolation = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    flags = interpolation | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE  # where rounding reaches beyond the border
    return cv2.warpAffine(image, matrix, size[::-1], flags=flags, borderMode=border)


def matrix_flow(first: np.ndarray, second: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the exact flow between two frames of a path, float32 (h, w, 2), (dx, dy) in pixels."""
    y, x = np.indices(size, "float64")
    points = np.stack([x, y], axis=-1) @ first[:, :2].T + first[:, 2]  # of the image
    there = (points - second[:, 2]) @ np.linalg.inv(second[:, :2]).T
    return (there - np.stack([x, y], axis=-1)).astype("float32")


def _flows(first: np.ndarray, second: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    flows = np.empty((len(first), *size, 2), "float32")
    for flow, a, b in zip(flows, first, second, strict=True):
        flow[...] = matrix_flow(a, b, size)
    return flows


def main(
    image: Positional[Path], out: Path, frames: int = 100, speed: float = 4.0, seed: int = 0
) -> None:
    """Write the video of a camera that pans, zooms and rotates over an image.

    Args:
        image: the image; frames are two thirds of its size.
        out: a directory for the frames, or the name of a video that ends in .mp4.
        frames: number of frames.
        speed: of the pan, in pixels per frame.
        seed: seed of the path.
    """
    pixels = read_image(image)
    size = default_size(pixels)
    path = camera_path(pixels.shape[:2], frames, size, speed, seed)
    shots = (render_frame(pixels, matrix, size) for matrix in progress(path, "rendering", frames))
    if out.suffix.lower() == ".mp4":
        with VideoWriter(out, _FPS, size) as video:
            for shot in shots:
                video.write(shot)
    else:
        for number, shot in enumerate(shots):
            write_bytes(out / f"{number:06d}.png", image_png(shot))
    print(f"{out}: {frames} frames of {size[0]}x{size[1]}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
