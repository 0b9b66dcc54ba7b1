"""Write frames to mp4 files."""

import math
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from keras_dpn.files import atomic_file
from keras_dpn.io.opencv import cv2

# Browsers, notebooks, editors and players support VP9. MPEG-4 is thirty times as fast at 360x960
# (2 instead of 75 ms per frame), but few of them support it; it is the fallback for OpenCV without
# VP9.
CODECS = ("vp09", "mp4v")
QUEUE = 8  # frames that wait for the encoder


class _NoFramesError(Exception):
    """A video that was closed before its first frame."""


class VideoWriter:
    """Writes frames to an mp4 file; a context manager.

    The file appears under its name when the context ends, also through an exception or Ctrl-C, with
    the frames written so far. Until then it has a temporary name in the same directory.
    A thread encodes the frames. Odd heights and widths are padded at the bottom and right with a
    copy of the last row or column, since the codecs subsample colours by two.

    Args:
        path: the file, NAME.mp4.
        fps: frames per second, above 0.
        size: (height, width) of every frame.

    Attributes:
        frames: how many frames have been encoded so far.

    Raises:
        ValueError: for another suffix, a rate or a size that is not above 0, frames of another
            size or type.
        OSError: if the file can't be written, at the latest when the context ends.

    Example:
    >>> import tempfile
    >>> from keras_dpn.io.video import VideoReader
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with VideoWriter(Path(folder) / "a.mp4", fps=25, size=(48, 64)) as video:
    ...         video.write(np.zeros((48, 64, 3), "uint8"))
    ...     VideoReader(Path(folder) / "a.mp4").size
    (48, 64)
    """

    def __init__(self, path: Path | str, fps: float, size: tuple[int, int]) -> None:
        path = Path(path)
        if path.suffix.lower() != ".mp4":
            raise ValueError(f"{path}: expected a name that ends in .mp4.")
        if not (math.isfinite(fps) and fps > 0 and min(size) > 0):
            raise ValueError(
                f"{path}: expected frames per second and a size above 0, received {fps} and {size}."
            )
        self.path, self.fps, self.size = path, fps, tuple(size)
        self.frames = 0
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_file(path))
            self._writer = self._open()
            self._file = stack.pop_all()  # renames or removes the temporary file when it exits
        self._encoder = ThreadPoolExecutor(1, "video encoder")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 RGB (H, W, 3); it may be changed afterwards."""
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
        """Finish the file and give it its name; without a frame there is no file."""
        self._encoder.shutdown()
        self._writer.release()
        with suppress(_NoFramesError), self._file:
            if not self.frames:
                raise _NoFramesError
            # OpenCV doesn't report that it can't write, for instance to a full disk.
            if _frame_count(self._temporary) != self.frames:
                raise OSError(f"{self.path}: can't be written. Is the disk full?")

    def _encode(self, bgr: np.ndarray) -> None:
        self._writer.write(bgr)
        self.frames += 1  # in this thread, where Ctrl-C can't come between the two

    def _open(self) -> cv2.VideoWriter:
        height, width = (n + n % 2 for n in self.size)
        for codec in CODECS:
            writer = cv2.VideoWriter(
                os.path.abspath(self._temporary),
                cv2.CAP_FFMPEG,
                cv2.VideoWriter.fourcc(*codec),
                self.fps,
                (width, height),
            )
            if writer.isOpened():
                return writer
        raise OSError(
            f"{self.path}: can't be written as a video of {width}x{height} pixels; OpenCV found no "
            f"encoder for {' or '.join(CODECS)}, or the folder is not writable."
        )


def _frame_count(path: Path) -> int:
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else -1
    capture.release()
    return count
