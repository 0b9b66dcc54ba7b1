"""The frames of a video file, one after another."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from keras_dpn.io.video_frames import RGBConverter
from keras_dpn.io.video_stream import ADVICE, VideoError, VideoStream
from keras_dpn.limits import fits

DEFAULT_FPS = 25.0  # if a container names no rate, or an implausible one
# A step back by more than N seconds, or one forward by more in formats for broadcasting, is no
# pause: the timestamps start anew.
JUMP_BACK, JUMP_FORWARD = 1.0, 10.0


class VideoReader:
    """The frames of a video file, one after another, in constant memory.

    Frames are what the program ffmpeg makes of the file, upright. The reader can be iterated over
    any number of times. A frame that can't be decoded is skipped and listed; frames that the
    decoder repaired, as most do for small errors, can't be distinguished from intact ones.

    Args:
        path: a file in any container and codec that FFmpeg reads.
        max_pixels: the most pixels of a frame; None: any number.
        max_seconds: the longest duration that the file may declare; None: any.

    Attributes:
        path: the file.
        fps: frames per second, the mean of a variable rate, `DEFAULT_FPS` if the file names no
            rate between 0.1 and 480.
        fps_known: whether the file names it.
        frame_count: as the container says; counted without decoding if it doesn't.
        size: (height, width) of the first frame, upright; frames of another size count as broken.
        index: of the frame that the iteration yielded last, counting broken ones; -1 before.
        time: of that frame, in seconds from the first one.
        broken: indices of the frames that could not be decoded so far.
        truncated: whether the file ended before the frames that it declares; known after the last
            frame.
        is_static: whether there were at least two frames so far and all of them are identical.

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
        self._max_pixels = max_pixels
        stream = self._stream()
        _check_limits(stream, max_pixels, max_seconds)
        self.fps_known = stream.fps is not None
        self.fps = stream.fps or DEFAULT_FPS
        frames = stream.decode()
        _, first = next(frames, (0, None))
        frames.close()
        if first is None:
            limit = "" if max_pixels is None else f" of at most {max_pixels / 1e6:g} million pixels"
            raise VideoError(
                f"{path}: no frame{limit} in it can be decoded (codec {stream.codec}). {ADVICE}"
            )
        _check_size(self.path, (first.height, first.width), max_pixels)
        self.size: tuple[int, int] = RGBConverter()(first).shape[:2]
        self._reset()
        self._cursor: Iterator[tuple[int, VideoFrame]] | None = None
        self._last: tuple[int, np.ndarray | None] = (-1, None)  # what `read` returned last
        self._convert = RGBConverter()

    @cached_property
    def frame_count(self) -> int:
        return self._stream().count()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield uint8 RGB (H, W, 3) in order."""
        self._reset()
        stream, convert = self._stream(), RGBConverter()
        clock = _Clock(self.fps, stream.time_base if self.fps_known else None, stream.has_jumps)
        same = Sameness()
        for index, frame in stream.decode():
            self.broken += range(self.index + 1, index)
            self.index = index
            image = convert(frame)
            if image.shape[:2] == self.size:
                self.time = clock.time(index, frame.pts)
                self.is_static = same.holds_with(image)
                yield image
            else:
                self.broken.append(index)
        self.broken += range(self.index + 1, stream.found)
        self.truncated = stream.is_truncated

    def read(self, index: int) -> np.ndarray:
        """Return one frame by its index: uint8 RGB (H, W, 3).

        It is exact for every codec, as all frames before it are decoded. Seeking forward decodes
        only the frames in between; seeking back decodes from the start.

        Raises:
            VideoError: if the frame doesn't exist or is broken; the message names file and frame.
        """
        if self._cursor is None or index < self._last[0]:
            self._cursor, self._last = self._stream().decode(), (-1, None)
        while self._cursor is not None and self._last[0] < index:
            step = next(self._cursor, None)
            if step is None:
                self._cursor = None
            else:
                position, frame = step
                self._last = position, self._convert(frame) if position >= index else None
        position, image = self._last
        if position != index or image is None or image.shape[:2] != self.size:
            raise VideoError(f"{self.path}: frame {index} can't be decoded, or there is none.")
        return image

    def _stream(self) -> VideoStream:
        return VideoStream(self.path, max_pixels=self._max_pixels)

    def _reset(self) -> None:
        self.index, self.time = -1, 0.0
        self.broken: list[int] = []
        self.truncated = False
        self.is_static = False


def _check_limits(stream: VideoStream, max_pixels: int | None, max_seconds: float | None) -> None:
    _check_size(stream.path, stream.declared_size, max_pixels)
    seconds = stream.declared_seconds
    if max_seconds is not None and seconds > max_seconds:
        raise VideoError(
            f"{stream.path}: {seconds:.0f} seconds are too many; at most {max_seconds:g} are "
            "allowed."
        )


def _check_size(path: Path, size: tuple[int, int], max_pixels: int | None) -> None:
    height, width = size
    if max_pixels is not None and not fits(height, width, max_pixels):
        raise VideoError(
            f"{path}: frames of {width} x {height} pixels are too large; at most "
            f"{max_pixels / 1e6:g} million pixels are allowed."
        )


class _Clock:
    """Times of frames in seconds from the first one, each above the last.

    Args:
        fps: frames per second, for frames without a timestamp of their own.
        time_base: seconds per unit of the timestamps; None to ignore them.
        has_jumps: whether a long pause is a jump of the timestamps.
    """

    def __init__(self, fps: float, time_base: Fraction | None, has_jumps: bool) -> None:
        self._fps, self._time_base, self._has_jumps = fps, time_base, has_jumps
        self._origin: tuple[float, int] | None = None  # a time and the timestamp there
        self._last: tuple[int, float] | None = None  # index and time

    def time(self, index: int, pts: int | None) -> float:
        """Return the time of the next frame."""
        time, last = 0.0, 0.0
        if self._last is not None:
            last = self._last[1]
            time = last + (index - self._last[0]) / self._fps  # at a constant rate
        if pts is not None and self._time_base is not None:
            stamped = time
            if self._origin is not None:
                start, first = self._origin
                stamped = start + float((pts - first) * self._time_base)
            step = stamped - last
            has_jumped = step < -JUMP_BACK or (self._has_jumps and step > JUMP_FORWARD)
            if self._origin is None or has_jumped:
                self._origin = time, pts
            elif step > 0:
                time = stamped
        self._last = index, time
        return time


class Sameness:
    """Whether all images are identical, of at least two."""

    def __init__(self) -> None:
        self._first: np.ndarray | None = None
        self._differs = False

    def holds_with(self, image: np.ndarray) -> bool:
        """Take the next image and say whether all are identical so far."""
        if self._differs:
            return False
        if self._first is None:
            self._first = image.copy()
            return False
        self._differs = not np.array_equal(self._first, image)
        return not self._differs
