"""A cache of optical flow on disk, filled in parallel."""

import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from keras_dpn.io.flow import FlowSettings, check_frames, dis_flow

from ...utils.files import write_bytes
from ...utils.progress import progress

logger = logging.getLogger("keras_dpn")

Pair = Callable[[], tuple[np.ndarray, np.ndarray]]

_CACHE_FORMAT = 1
_CACHE_HEADER = struct.Struct("<IIIf")  # format, height, width, step
_FINEST_STEP = 1 / 64  # pixels


class FlowCache:
    """Compute flow once per pair of frames, and cache it in files.

    The key of an entry is a hash of both frames, the settings and OpenCV's version. It is written
    atomically and has a checksum: one that is damaged or truncated is computed again, as is one
    that can't be written. Several threads and processes may share a directory.

    Flow is rounded to 1/64 pixel, which is off by at most 1/128; beyond 512 pixels by at most
    1/65534 of the largest value in that flow. At 360x480 an entry has 0.2 to 0.3 MB. The
    result is always rounded, so that it is the same from a file, just computed, or without a
    directory.

    Args:
        directory: of the entries; created by the first one. None: no cache.
        settings: settings of the flow; `FlowSettings()` by default.

    Raises:
        ValueError: if `directory` is a file.

    Example:
    >>> frame = np.zeros((48, 64, 3), "uint8")
    >>> FlowCache()(frame, frame).shape
    (48, 64, 2)
    """

    def __init__(self, directory: Path | None = None, settings: FlowSettings | None = None) -> None:
        self.directory = None if directory is None else Path(directory)
        self.settings = settings or FlowSettings()
        self._has_warned = False
        if self.directory and self.directory.exists() and not self.directory.is_dir():
            raise ValueError(
                f"{directory}: expected a directory for computed flow, received a file."
            )

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the flow from one frame to another; arguments and result as of `dis_flow`."""
        check_frames(first, second)
        if self.directory is None:
            return _restore(*_round(dis_flow(first, second, self.settings)))
        path = self.directory / f"{self._key(first, second)}.flow"
        flow = _load(path, first.shape[:2])
        if flow is None:
            values, step = _round(dis_flow(first, second, self.settings))
            self._write(path, _encode(values, step))
            flow = _restore(values, step)
        return flow

    def _write(self, path: Path, content: bytes) -> None:
        """Write an entry; warn once where that fails, as in a directory that can't be written."""
        try:
            write_bytes(path, content)
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("Flow can't be kept, it is computed each time: %s", error)

    def fill(
        self, pairs: Sequence[Pair], workers: int | None = None, description: str = "flow"
    ) -> None:
        """Compute the missing entries of each pair, forward and backward.

        Without a directory this does nothing. Shows its progress on stderr. Ctrl-C and a killed
        process lose only the pairs in progress.

        Args:
            pairs: functions that read two frames, uint8 (H, W, 3) each; they are called in the
                threads, so that few frames are in memory at a time.
            workers: threads; one per processor by default.
            description: text in front of the progress bar.

        Raises:
            ValueError: on fewer than one worker, and what the pairs raise.
        """
        workers = os.cpu_count() or 1 if workers is None else workers
        if workers < 1:
            raise ValueError(
                f"Invalid value for argument `workers`: expected 1 or more, received {workers}."
            )
        if self.directory is None:
            return
        threads = cv2.getNumThreads()
        pool = ThreadPoolExecutor(workers)
        try:
            cv2.setNumThreads(1)  # each worker has its own pair
            for _ in progress(pool.map(self._fill_pair, pairs), description, len(pairs)):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
            cv2.setNumThreads(threads)

    def _fill_pair(self, read: Pair) -> None:
        first, second = read()
        self(first, second)
        self(second, first)

    def _key(self, first: np.ndarray, second: np.ndarray) -> str:
        key = hashlib.sha256()
        key.update(repr((_CACHE_FORMAT, cv2.__version__, self.settings, first.shape)).encode())
        key.update(np.ascontiguousarray(first).data)
        key.update(np.ascontiguousarray(second).data)
        return key.hexdigest()[:32]


def _round(flow: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the flow as int16 (2, H, W) in steps, and the step in pixels."""
    step = np.float32(max(_FINEST_STEP, np.abs(flow).max() / 32767))
    values = np.clip(np.rint(np.moveaxis(flow, -1, 0) / step), -32767, 32767)
    return values.astype("int16"), float(step)


def _restore(values: np.ndarray, step: float) -> np.ndarray:
    """Return the flow in pixels, float32 (H, W, 2)."""
    return np.ascontiguousarray(np.moveaxis(values, 0, -1)) * np.float32(step)


def _encode(values: np.ndarray, step: float) -> bytes:
    # Differences along the rows compress to half; int16 wraps around, and back in `_decode`.
    rows = np.diff(values, axis=-1, prepend=np.int16(0)).astype("<i2")
    header = _CACHE_HEADER.pack(_CACHE_FORMAT, *values.shape[1:], step)
    return zlib.compress(header + rows.tobytes(), 1)  # ends with a checksum


def _load(path: Path, size: tuple[int, int]) -> np.ndarray | None:
    """Read an entry; None if there is none, or it is damaged."""
    try:
        return _decode(path.read_bytes(), size)
    except (FileNotFoundError, zlib.error, struct.error, ValueError):
        return None


def _decode(data: bytes, size: tuple[int, int]) -> np.ndarray:
    data = zlib.decompress(data)
    *header, step = _CACHE_HEADER.unpack_from(data)
    if header != [_CACHE_FORMAT, *size]:
        raise ValueError(f"Expected a flow of {size}, received {header}.")
    rows = np.frombuffer(data, "<i2", offset=_CACHE_HEADER.size).reshape(2, *size)
    return _restore(np.cumsum(rows, axis=-1, dtype="int16"), step)
