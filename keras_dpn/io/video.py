"""Video files and folders of images as sequences of frames; `VideoWriter` writes mp4 files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_dpn.deprecation import warn_renamed
from keras_dpn.io.formats import is_image, list_visible
from keras_dpn.io.images import ImageError, read_image
from keras_dpn.io.video_reader import DEFAULT_FPS, Sameness, VideoReader
from keras_dpn.io.video_stream import VideoError
from keras_dpn.io.video_writer import VideoWriter

__all__ = ["ImageSequence", "VideoError", "VideoReader", "VideoWriter", "natural_order"]


class ImageSequence:
    """The images of one folder as the frames of a video, in order of their names.

    Numbers in names count as numbers: 9.png comes before 10.png. Attributes and iteration are those
    of `VideoReader`; an image that can't be read, or of another size, counts as a broken frame.

    Args:
        path: the folder; folders in it, and hidden files, are ignored.

    Raises:
        VideoError: if there is no folder, or no image in it can be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise VideoError(f"{path}: no such folder.")
        self.files = sorted(filter(is_image, list_visible(self.path)), key=natural_order)
        self.fps, self.fps_known = DEFAULT_FPS, False
        self.frame_count = len(self.files)
        first = next((p for p in map(_read, self.files) if p is not None), None)
        if first is None:
            raise VideoError(f"{path}: expected images, received none that can be read.")
        self.size: tuple[int, int] = first.shape[:2]
        self.index: int = -1
        self.time = 0.0
        self.broken: list[int] = []
        self.truncated = self.is_static = False

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield uint8 RGB (H, W, 3) in order."""
        self.broken, self.is_static = [], False
        same = Sameness()
        for index, file in enumerate(self.files):
            self.index, frame = index, _read(file)
            if frame is not None and frame.shape[:2] == self.size:
                self.time, self.is_static = index / self.fps, same.holds_with(frame)
                yield frame
            else:
                self.broken.append(index)


def _read(file: Path) -> np.ndarray | None:
    try:
        return read_image(file)
    except ImageError:
        return None


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Return a key that sorts names by the numbers in them, 2 before 10."""
    parts = re.split(r"(\d+)", path.stem)  # text and digits in turn
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def __getattr__(name: str) -> Any:
    if name == "PictureFolder":
        warn_renamed("keras_dpn.io.video.PictureFolder", "keras_dpn.io.video.ImageSequence")
        return ImageSequence
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
