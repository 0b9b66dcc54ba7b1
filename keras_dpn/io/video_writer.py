"""Write frames to mp4 files."""

import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream as AVStream

from keras_dpn.files import atomic_file

# VP9 plays in browsers, notebooks, editors and players. MPEG-4 plays in few of those; it is for an
# FFmpeg without VP9.
ENCODERS = {
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "crf": "24", "b": "0"},
    "mpeg4": {"qscale": "3"},
}
QUEUE = 8  # frames that wait for the encoder
# Times are written to at least 1/N of a second.
MIN_TICKS = 60_000
BT601 = 6  # AVCOL_SPC_SMPTE170M, in which FFmpeg converts RGB by default


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
            size or type, and frames after `close`.
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
        rate = Fraction(fps).limit_denominator(1001) or Fraction(1, 1001)
        # A frame at a constant rate lasts a whole number of ticks.
        factor = math.ceil(MIN_TICKS / rate.numerator)
        self._tick, self._step = Fraction(1, rate.numerator * factor), rate.denominator * factor
        self._last: tuple[int, float] | None = None  # the last frame's time, in ticks and seconds
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_file(path))
            self._container, self._stream = self._open(rate)
            self._file = stack.pop_all()  # renames or removes the temporary file when it exits
        self._encoder = ThreadPoolExecutor(1, "video encoder")
        self._waiting: deque[Future[None]] = deque()
        self._is_closed = False

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write(self, frame: np.ndarray, time: float | None = None) -> None:
        """Append a frame.

        Args:
            frame: uint8 RGB (H, W, 3); it may be changed afterwards.
            time: when it is shown, in seconds, above the last frame's; by default 1 / fps after it.
        """
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"{self.path}: expected frames of uint8 {(*self.size, 3)}, received {frame.dtype} "
                f"{frame.shape}."
            )
        if self._is_closed:
            raise ValueError(f"{self.path}: is closed, no frames can be written to it.")
        tick = self._tick_at(time)
        height, width = self.size
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        self._waiting.append(self._encoder.submit(self._encode, even, tick))
        while len(self._waiting) > QUEUE:
            self._waiting.popleft().result()

    def _tick_at(self, time: float | None) -> int:
        if self._last is None:
            tick, time = round((time or 0) / self._tick), time or 0.0
        else:
            last_tick, last = self._last
            time = last + 1 / self.fps if time is None else time
            if not time > last:
                raise ValueError(
                    f"{self.path}: expected times that increase, received {time} after {last}."
                )
            tick = max(round(time / self._tick), last_tick + 1)
        self._last = tick, time
        return tick

    def close(self) -> None:
        """Finish the file and give it its name; without a frame there is no file.

        To close it again does nothing.
        """
        self._encoder.shutdown()
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(_NoFramesError), self._file:
            try:
                for encoded in self._waiting:
                    encoded.result()
                if not self.frames:
                    raise _NoFramesError
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()

    def _encode(self, image: np.ndarray, tick: int) -> None:
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.duration, frame.time_base = tick, self._step, self._tick
        self._container.mux(self._stream.encode(frame))
        self.frames += 1  # in this thread, where Ctrl-C can't come between the two

    def _open(self, rate: Fraction) -> tuple[OutputContainer, AVStream]:
        names = [name for name in ENCODERS if name in av.codecs_available]
        if not names:
            raise OSError(
                f"{self.path}: can't be written as a video; FFmpeg has no encoder "
                f"{' or '.join(ENCODERS)}."
            )
        height, width = (n + n % 2 for n in self.size)
        container = av.open(str(self._temporary.absolute()), "w", format="mp4")
        stream = container.add_stream(names[0], rate=rate, options=ENCODERS[names[0]])
        assert isinstance(stream, AVStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._tick
        stream.codec_context.colorspace, stream.codec_context.color_range = BT601, 1
        return container, stream
