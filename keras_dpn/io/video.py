"""Video files and folders of pictures as sequences of frames, and mp4 files to write."""

import math
import os
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet; read when a video is first opened

import cv2
import numpy as np

from keras_dpn.io import IMAGE_SUFFIXES
from keras_dpn.io.images import ImageError, read_image

DEFAULT_FPS = 25.0  # where a container names no rate, or a senseless one
SENSIBLE_FPS = (0.1, 480.0)

# VP9 plays in browsers, notebooks, editors and players. The other takes a thirtieth of the time at
# 360x960 (2 against 75 ms a frame), but plays in few of those; it serves where OpenCV lacks VP9.
CODECS = ("vp09", "mp4v")
QUEUE = 8  # frames that wait for the encoder

# At the end of a file OpenCV says no more than at a broken frame: it is the end after as many
# failures in a row. They take 5 us each there.
PATIENCE = 1000
# Matroska knows a length in seconds only, often that of the sound: so much less is no truncation.
ESTIMATED_COUNT = {".mkv", ".webm"}
ESTIMATE_SECONDS = 1.0

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are raised here


class VideoError(ValueError):
    """A video that can't be read; the message names the file."""


class VideoReader:
    """The frames of a video file, one after another, at a constant memory.

    It can be iterated over any number of times. A frame that can't be decoded is skipped and
    listed; frames that a decoder patched up, as most do with small errors, can't be told from
    sound ones.

    Args:
        path: a file in any container and codec that OpenCV's FFmpeg reads.

    Attributes:
        path: the file.
        fps: frames a second, `DEFAULT_FPS` where the file names no rate between 0.1 and 480.
        fps_known: whether the file names it.
        frame_count: as the container says; 0 if it doesn't.
        size: (height, width) of the first frame, upright; frames of another size count as broken.
        index: that of the frame which the iteration gave last, counting broken ones; -1 before.
        broken: indices of the frames that could not be decoded so far.
        truncated: whether the file ended before `frame_count`; known after the last frame.

    Raises:
        VideoError: where the file is missing, is no video, has an unknown codec, or not one frame
            can be decoded.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not self.path.is_file():
            raise VideoError(f"{path}: no such file.")
        capture = self._open()
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps_known = bool(SENSIBLE_FPS[0] <= fps <= SENSIBLE_FPS[1])
        self.fps = fps if self.fps_known else DEFAULT_FPS
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count = int(count) if 0 < count < 2**31 else 0
        capture.release()
        first = next((frame for _, frame in self._decoded()), None)
        if first is None:
            raise VideoError(f"{path}: not one frame in it can be decoded.")
        self.size: tuple[int, int] = first.shape[:2]
        self._reset()
        self._cursor: Iterator[tuple[int, cv2.VideoCapture]] | None = None
        self._last: tuple[int, np.ndarray | None] = (-1, None)  # what `read` stands at

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields uint8 RGB (H, W, 3) in order."""
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
        """The frame of an index: uint8 RGB (H, W, 3).

        Exact, whatever the codec: all frames before it are decoded. Going forwards costs only the
        frames between; going back starts anew.

        Raises:
            VideoError: naming file and frame, where there is none or it is broken.
        """
        if self._cursor is None or index < self._last[0]:
            self._cursor, self._last = self._grabbed(), (-1, None)
        while self._cursor is not None and self._last[0] < index:
            position, capture = next(self._cursor, (None, None))
            if capture is None:
                self._cursor = None
            else:
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
        # An absolute path, since FFmpeg takes what stands before a colon for a protocol.
        capture = cv2.VideoCapture(os.path.abspath(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise VideoError(
                f"{self.path}: can't be read as a video. It is none, its codec is unknown here, or "
                "it was cut off before its end, where mp4 files keep their index. Convert it with "
                "another program."
            )
        return capture

    def _grabbed(self) -> Iterator[tuple[int, cv2.VideoCapture]]:
        """The index of each frame that isn't broken, and the capture that stands at it."""
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


class PictureFolder:
    """The pictures of one folder as the frames of a film, in order of their names.

    Numbers in names count as numbers: 9.png comes before 10.png. Attributes and iteration are those
    of `VideoReader`; a picture that can't be read, or of another size, counts as a broken frame.

    Args:
        path: the folder; those in it are left out.

    Raises:
        VideoError: where there is no folder, or no picture in it can be read.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not self.path.is_dir():
            raise VideoError(f"{path}: no such folder.")
        files = (f for f in self.path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        self.files = sorted(files, key=natural_order)
        self.fps, self.fps_known = DEFAULT_FPS, False
        self.frame_count = len(self.files)
        first = next((p for p in map(_picture, self.files) if p is not None), None)
        if first is None:
            raise VideoError(f"{path}: expected pictures, found none that can be read.")
        self.size: tuple[int, int] = first.shape[:2]
        self.index, self.broken, self.truncated = -1, [], False

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields uint8 RGB (H, W, 3) in order."""
        self.broken = []
        for index, file in enumerate(self.files):
            self.index, frame = index, _picture(file)
            if frame is not None and frame.shape[:2] == self.size:
                yield frame
            else:
                self.broken.append(index)


class VideoWriter:
    """Writes frames to an mp4 file; a context manager.

    The file appears under its name when the context ends, also by an exception or Ctrl-C: with the
    frames written so far, playable. Until then it has a temporary name beside it. Frames are
    encoded in a thread of their own. Odd heights and widths are padded by one row or column at the
    bottom and right, a copy of the last one, since the codecs take colours for two by two pixels.

    Args:
        path: the file, NAME.mp4.
        fps: frames a second, above 0.
        size: (height, width) of every frame.

    Attributes:
        frames: how many frames have been encoded so far.

    Raises:
        ValueError: for another suffix, a rate or a size that is not above 0, frames of another
            size or type.
        OSError: where the file can't be written, at the latest when the context ends.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with VideoWriter(Path(folder) / "film.mp4", fps=25, size=(48, 64)) as film:
    ...         film.write(np.zeros((48, 64, 3), "uint8"))
    ...     VideoReader(Path(folder) / "film.mp4").size
    (48, 64)
    """

    def __init__(self, path: Path | str, fps: float, size: tuple[int, int]):
        path = Path(path)
        if path.suffix.lower() != ".mp4":
            raise ValueError(f"{path}: expected a name that ends in .mp4.")
        if not (math.isfinite(fps) and fps > 0 and min(size) > 0):
            raise ValueError(
                f"{path}: expected frames a second and a size above 0, received {fps} and {size}."
            )
        self.path, self.fps, self.size = path, fps, tuple(size)
        self.frames = 0
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = self._open()
        self._encoder = ThreadPoolExecutor(1, "video encoder")
        self._waiting: deque[Future] = deque()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 RGB (H, W, 3); it may be changed afterwards."""
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"{self.path}: expected frames of uint8 {(*self.size, 3)}, received {frame.dtype} "
                f"{frame.shape}."
            )
        height, width = self.size
        even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        bgr = cv2.cvtColor(even, cv2.COLOR_RGB2BGR)
        self._waiting.append(self._encoder.submit(self._encode, bgr))
        while len(self._waiting) > QUEUE:
            self._waiting.popleft().result()

    def close(self) -> None:
        """Finishes the file and gives it its name; without a frame there is no file."""
        self._encoder.shutdown()
        self._writer.release()
        # OpenCV does not say when it can't write, on a full disk for one.
        found = _frame_count(self._partial) if self.frames else 0
        if found != self.frames:
            self._partial.unlink(missing_ok=True)
            raise OSError(f"{self.path}: can't be written. Is the disk full?")
        if self.frames:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink(missing_ok=True)

    def _encode(self, bgr: np.ndarray) -> None:
        self._writer.write(bgr)
        self.frames += 1  # here, where Ctrl-C does not come between the two

    def _open(self) -> cv2.VideoWriter:
        height, width = (n + n % 2 for n in self.size)
        for codec in CODECS:
            writer = cv2.VideoWriter(
                os.path.abspath(self._partial),
                cv2.CAP_FFMPEG,
                cv2.VideoWriter_fourcc(*codec),
                self.fps,
                (width, height),
            )
            if writer.isOpened():
                return writer
        self._partial.unlink(missing_ok=True)
        raise OSError(
            f"{self.path}: can't be written as a video of {width}x{height} pixels; OpenCV found no "
            f"encoder for {' or '.join(CODECS)}, or the folder is not writable."
        )


def _retrieved(capture: cv2.VideoCapture) -> np.ndarray | None:
    good, frame = capture.retrieve()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if good else None


def _picture(file: Path) -> np.ndarray | None:
    try:
        return read_image(file)
    except ImageError:
        return None


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """A key that sorts names by the numbers in them, 2 before 10."""
    parts = re.split(r"(\d+)", path.stem)  # text and digits in turn
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def _frame_count(path: Path) -> int:
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else -1
    capture.release()
    return count
