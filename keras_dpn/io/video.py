"""Video files and folders of images as sequences of frames; `VideoWriter` writes mp4 files."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_dpn.deprecation import warn_renamed
from keras_dpn.io import IMAGE_SUFFIXES
from keras_dpn.io.images import ImageError, read_image
from keras_dpn.io.opencv import cv2
from keras_dpn.io.video_writer import VideoWriter

__all__ = ["ImageSequence", "VideoError", "VideoReader", "VideoWriter", "natural_order"]

DEFAULT_FPS = 25.0  # if a container names no rate, or an implausible one
SENSIBLE_FPS = (0.1, 480.0)

# OpenCV doesn't tell the end of a file from a broken frame: N failures in a row are the end. They
# take 5 us each there.
PATIENCE = 1000
# Matroska knows a length in seconds only, often that of the sound: up to N less is no truncation.
ESTIMATED_COUNT = {".mkv", ".webm"}
ESTIMATE_SECONDS = 1.0


class VideoError(ValueError):
    """A video that can't be read; the message names the file."""


class VideoReader:
    """The frames of a video file, one after another, in constant memory.

    It can be iterated over any number of times. A frame that can't be decoded is skipped and
    listed; frames that a decoder repaired, as most do with small errors, can't be told from intact
    ones.

    Args:
        path: a file in any container and codec that OpenCV's FFmpeg reads.
        max_pixels: the most pixels that the file may declare for a frame; None: any number.
        max_seconds: the longest time that the file may declare; None: any.

    Attributes:
        path: the file.
        fps: frames per second, `DEFAULT_FPS` if the file names no rate between 0.1 and 480.
        fps_known: whether the file names it.
        frame_count: as the container says; 0 if it doesn't.
        size: (height, width) of the first frame, upright; frames of another size count as broken.
        index: of the frame that the iteration yielded last, counting broken ones; -1 before.
        broken: indices of the frames that could not be decoded so far.
        truncated: whether the file ended before `frame_count`; known after the last frame.

    Raises:
        VideoError: if the file is missing, is no video, has an unknown codec, or no frame can be
            decoded; and before one is decoded, if it exceeds a limit.
    """

    index: int

    def __init__(
        self,
        path: Path | str,
        *,
        max_pixels: int | None = None,
        max_seconds: float | None = None,
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise VideoError(f"{path}: no such file.")
        capture = self._open()
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps_known = bool(SENSIBLE_FPS[0] <= fps <= SENSIBLE_FPS[1])
        self.fps = fps if self.fps_known else DEFAULT_FPS
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count = int(count) if 0 < count < 2**31 else 0
        height = capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
        capture.release()
        if max_pixels is not None and height * width > max_pixels:
            raise VideoError(
                f"{path}: frames of {width:.0f} x {height:.0f} pixels are too large; at most "
                f"{max_pixels / 1e6:g} million pixels are allowed."
            )
        seconds = self.frame_count / self.fps
        if max_seconds is not None and seconds > max_seconds:
            raise VideoError(
                f"{path}: {seconds:.0f} seconds are too many; at most {max_seconds:g} are allowed."
            )
        first = next((frame for _, frame in self._decoded()), None)
        if first is None:
            raise VideoError(f"{path}: no frame in it can be decoded.")
        self.size: tuple[int, int] = first.shape[:2]
        self._reset()
        self._cursor: Iterator[tuple[int, cv2.VideoCapture]] | None = None
        self._last: tuple[int, np.ndarray | None] = (-1, None)  # what `read` returned last

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield uint8 RGB (H, W, 3) in order."""
        self._reset()
        for index, frame in self._decoded():
            self.broken += range(self.index + 1, index)
            self.index = index
            if frame.shape[:2] == self.size:
                yield frame
            else:
                self.broken.append(index)
        estimated = self.path.suffix.lower() in ESTIMATED_COUNT
        slack = math.ceil(ESTIMATE_SECONDS * self.fps) if estimated else 0
        self.truncated = self.index + 1 < self.frame_count - slack

    def read(self, index: int) -> np.ndarray:
        """Return the frame of an index: uint8 RGB (H, W, 3).

        Exact for every codec: all frames before it are decoded. A step forwards costs only the
        frames in between; a step back decodes from the start.

        Raises:
            VideoError: naming file and frame, if it doesn't exist or is broken.
        """
        if self._cursor is None or index < self._last[0]:
            self._cursor, self._last = self._grabbed(), (-1, None)
        while self._cursor is not None and self._last[0] < index:
            step = next(self._cursor, None)
            if step is None:
                self._cursor = None
            else:
                position, capture = step
                self._last = position, _retrieved(capture) if position >= index else None
        position, frame = self._last
        if position != index or frame is None or frame.shape[:2] != self.size:
            raise VideoError(f"{self.path}: frame {index} can't be decoded, or there is none.")
        return frame

    def _reset(self) -> None:
        self.index = -1
        self.broken: list[int] = []
        self.truncated = False

    def _open(self) -> cv2.VideoCapture:
        # An absolute path, since FFmpeg takes what precedes a colon for a protocol.
        capture = cv2.VideoCapture(os.path.abspath(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise VideoError(
                f"{self.path}: can't be read as a video. It is none, its codec is unknown to "
                "OpenCV, or it was truncated before its end, where mp4 files keep their index. "
                "Convert it with another program."
            )
        return capture

    def _grabbed(self) -> Iterator[tuple[int, cv2.VideoCapture]]:
        """Yield the index of each frame that isn't broken, and the capture positioned at it."""
        capture = self._open()
        try:
            index = failures = 0
            while failures <= PATIENCE:
                if capture.grab():
                    index += failures
                    yield index, capture
                    index, failures = index + 1, 0
                else:
                    failures += 1
        finally:
            capture.release()

    def _decoded(self) -> Iterator[tuple[int, np.ndarray]]:
        for index, capture in self._grabbed():
            frame = _retrieved(capture)
            if frame is not None:
                yield index, frame


class ImageSequence:
    """The images of one folder as the frames of a video, in order of their names.

    Numbers in names count as numbers: 9.png comes before 10.png. Attributes and iteration are those
    of `VideoReader`; an image that can't be read, or of another size, counts as a broken frame.

    Args:
        path: the folder; folders in it are ignored.

    Raises:
        VideoError: if there is no folder, or no image in it can be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise VideoError(f"{path}: no such folder.")
        files = (f for f in self.path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        self.files = sorted(files, key=natural_order)
        self.fps, self.fps_known = DEFAULT_FPS, False
        self.frame_count = len(self.files)
        first = next((p for p in map(_read, self.files) if p is not None), None)
        if first is None:
            raise VideoError(f"{path}: expected images, found none that can be read.")
        self.size: tuple[int, int] = first.shape[:2]
        self.index: int = -1
        self.broken: list[int] = []
        self.truncated = False

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield uint8 RGB (H, W, 3) in order."""
        self.broken = []
        for index, file in enumerate(self.files):
            self.index, frame = index, _read(file)
            if frame is not None and frame.shape[:2] == self.size:
                yield frame
            else:
                self.broken.append(index)


def _retrieved(capture: cv2.VideoCapture) -> np.ndarray | None:
    good, frame = capture.retrieve()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if good else None


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
