"""Optical flow on disk: Middlebury's .flo files, and a cache that computes in parallel.

A flow is float32 (H, W, 2) = (dx, dy) in pixels, as OpenCV has it: the pixel at (x, y) of the
first frame is found at (x + dx, y + dy) of the second.
"""

import hashlib
import os
import struct
import uuid
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from keras_dpn.io.flow import FlowSettings, check_frames, dis_flow

from ...utils.progress import progress

# Pixels: leaves every image, so that what carries it has no neighbour in the other frame. As in
# keras_dpn.ops.warp, which isn't imported here: reading data needs no Keras.
NO_LINK = 1e6

Pair = Callable[[], tuple[np.ndarray, np.ndarray]]

# Middlebury: values above the second are unknown; its own files have 1666666752 there.
_FLO_MAGIC, _FLO_UNKNOWN = 202021.25, 1e9
_FLO_HEADER = struct.Struct("<fii")

_CACHE_FORMAT = 1
_CACHE_HEADER = struct.Struct("<IIIf")  # format, height, width, step
_FINEST_STEP = 1 / 64  # pixels


def read_flo(path: Path) -> np.ndarray:
    """Reads a flow in Middlebury's format.

    Args:
        path: a .flo file: float32 202021.25, int32 width and height, then float32 (dx, dy) row
            by row, all little endian. Unknown flow (above 1e9 in dx or dy) becomes `NO_LINK` in
            both: nobody knows where these pixels go, so they have no neighbour.

    Returns:
        float32 (H, W, 2), (dx, dy) in pixels.

    Raises:
        ValueError: where the file is missing, no .flo, truncated or too long, or holds NaN.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file.") from None
    if len(data) < _FLO_HEADER.size or _FLO_HEADER.unpack_from(data)[0] != _FLO_MAGIC:
        raise ValueError(f"{path}: expected a .flo file (Middlebury), which starts with 202021.25.")
    _, width, height = _FLO_HEADER.unpack_from(data)
    size = _FLO_HEADER.size + 8 * width * height
    if min(width, height) < 1 or len(data) != size:
        raise ValueError(
            f"{path}: the header says {width}x{height} pixels, {size} bytes, but the file has "
            f"{len(data)}; write it again."
        )
    flow = np.frombuffer(data, "<f4", offset=_FLO_HEADER.size).reshape(height, width, 2)
    unknown = (np.abs(flow) > _FLO_UNKNOWN).any(axis=-1, keepdims=True)
    return check_flow(np.where(unknown, np.float32(NO_LINK), flow), (height, width), path)


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Writes a flow in Middlebury's format, see `read_flo`; never half a file.

    Args:
        path: the file; its directory is made where there is none.
        flow: float (H, W, 2), (dx, dy) in pixels; from `NO_LINK` up it is written as unknown.

    Raises:
        ValueError: on another shape, integers or NaN.
    """
    flow = check_flow(flow, None, path)
    height, width = flow.shape[:2]
    unknown = (np.abs(flow) >= NO_LINK).any(axis=-1, keepdims=True)
    pixels = np.where(unknown, np.float32(10 * _FLO_UNKNOWN), flow).astype("<f4")
    _write(path, _FLO_HEADER.pack(_FLO_MAGIC, width, height) + pixels.tobytes())


def check_flow(flow: np.ndarray, size: tuple[int, int] | None, source: object) -> np.ndarray:
    """Sees that an array is the flow of a frame.

    Args:
        flow: float (H, W, 2), finite.
        size: the frame's height and width; None: any.
        source: where the flow comes from, a file or an argument, for the message.

    Returns:
        The flow as float32.

    Raises:
        ValueError: naming the source, on anything else.

    Example:
    >>> check_flow(np.zeros((2, 4, 6)), (4, 6), "north.npy")
    Traceback (most recent call last):
    ValueError: north.npy: expected a flow of shape (4, 6, 2), received (2, 4, 6);
    the channels come last: np.moveaxis(flow, 0, -1).
    """
    flow = np.asarray(flow)
    height, width = size or ("H", "W")
    fits = flow.ndim == 3 and flow.shape[-1] == 2
    if not fits or (size and flow.shape[:2] != tuple(size)):
        channels_first = flow.ndim == 3 and flow.shape[0] == 2 and not fits
        hint = "; the channels come last: np.moveaxis(flow, 0, -1)" if channels_first else ""
        raise ValueError(
            f"{source}: expected a flow of shape ({height}, {width}, 2), "
            f"received {flow.shape}{hint}."
        )
    if not np.issubdtype(flow.dtype, np.floating):
        raise ValueError(
            f"{source}: expected floats, in pixels, received {flow.dtype}; convert the flow first."
        )
    wrong = ~(np.abs(flow) <= np.finfo("float32").max)  # NaN too
    if wrong.any():
        y, x, channel = np.argwhere(wrong)[0]
        raise ValueError(
            f"{source}: expected finite values, received {flow[y, x, channel]} at x={x}, y={y}; "
            f"where a pixel has no neighbour, write {NO_LINK:g}."
        )
    return flow.astype("float32", copy=False)


class FlowCache:
    """Computes flow, once for each pair of frames, and keeps it in files.

    An entry is found by a hash of both frames, the settings and OpenCV's version. It is written
    under another name first and holds a checksum: one that is damaged or cut off is computed
    anew. Several threads and processes may share a directory.

    Flow is rounded to 1/64 pixel, which is off by at most 1/128; beyond 512 pixels by at most
    1/65534 of the largest value in that flow. At 360x480 an entry has 0.2 to 0.3 MB. What one gets
    is rounded in any case, so that it is the same from a file, just computed, or without a
    directory.

    Args:
        directory: where the entries are; made when there is something to write. None: nothing
            is kept.
        settings: how flow is computed; `FlowSettings()` by default.

    Raises:
        ValueError: where `directory` is a file.

    Example:
    >>> frame = np.zeros((48, 64, 3), "uint8")
    >>> FlowCache()(frame, frame).shape
    (48, 64, 2)
    """

    def __init__(self, directory: Path | None = None, settings: FlowSettings | None = None):
        self.directory = None if directory is None else Path(directory)
        self.settings = settings or FlowSettings()
        if self.directory and self.directory.exists() and not self.directory.is_dir():
            raise ValueError(f"{directory}: expected a directory for computed flow, found a file.")

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The flow from one frame to another; arguments and result as those of `dis_flow`."""
        check_frames(first, second)
        if self.directory is None:
            return _rounded(*_round(dis_flow(first, second, self.settings)))
        path = self._path(first, second)
        flow = _load(path, first.shape[:2])
        if flow is None:
            values, step = _round(dis_flow(first, second, self.settings))
            _write(path, _encode(values, step))
            flow = _rounded(values, step)
        return flow

    def fill(
        self, pairs: Sequence[Pair], workers: int | None = None, description: str = "flow"
    ) -> None:
        """Computes what is missing, there and back for each pair; without a directory, nothing.

        Shows its progress on stderr. Ctrl-C and a killed process lose only the pairs at work.

        Args:
            pairs: functions that read two frames, uint8 (H, W, 3) each; they are called in the
                threads, so that few frames are in memory at a time.
            workers: threads; one a processor by default.
            description: stands before the progress bar.

        Raises:
            ValueError: on fewer than one worker, and what the pairs raise.
        """
        workers = os.cpu_count() or 1 if workers is None else workers
        if workers < 1:
            raise ValueError(f"Invalid value for argument `workers`: expected 1 up, got {workers}.")
        if self.directory is None:
            return
        threads = cv2.getNumThreads()
        pool = ThreadPoolExecutor(workers)
        try:
            cv2.setNumThreads(1)  # each worker has a pair of its own
            for _ in progress(pool.map(self._fill_pair, pairs), description, len(pairs)):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
            cv2.setNumThreads(threads)

    def _fill_pair(self, read: Pair) -> None:
        first, second = read()
        self(first, second)
        self(second, first)

    def _path(self, first: np.ndarray, second: np.ndarray) -> Path:
        key = hashlib.sha256()
        key.update(repr((_CACHE_FORMAT, cv2.__version__, self.settings, first.shape)).encode())
        key.update(np.ascontiguousarray(first))
        key.update(np.ascontiguousarray(second))
        return self.directory / f"{key.hexdigest()[:32]}.flow"


def _round(flow: np.ndarray) -> tuple[np.ndarray, float]:
    """The flow as int16 (2, H, W) times a step in pixels."""
    step = np.float32(max(_FINEST_STEP, np.abs(flow).max() / 32767))
    values = np.clip(np.rint(np.moveaxis(flow, -1, 0) / step), -32767, 32767)
    return values.astype("int16"), float(step)


def _rounded(values: np.ndarray, step: float) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(values, 0, -1)) * np.float32(step)


def _encode(values: np.ndarray, step: float) -> bytes:
    # Differences along the rows compress to half; int16 wraps around, and back in `_decode`.
    rows = np.diff(values, axis=-1, prepend=np.int16(0)).astype("<i2")
    header = _CACHE_HEADER.pack(_CACHE_FORMAT, *values.shape[1:], step)
    return zlib.compress(header + rows.tobytes(), 1)  # ends with a checksum


def _load(path: Path, size: tuple[int, int]) -> np.ndarray | None:
    """The flow of an entry; None where there is none, or it is damaged."""
    try:
        return _decode(path.read_bytes(), size)
    except (FileNotFoundError, zlib.error, struct.error, ValueError):
        return None


def _decode(data: bytes, size: tuple[int, int]) -> np.ndarray:
    data = zlib.decompress(data)
    *found, step = _CACHE_HEADER.unpack_from(data)
    if found != [_CACHE_FORMAT, *size]:
        raise ValueError(f"Expected a flow of {size}, found {found}.")
    rows = np.frombuffer(data, "<i2", offset=_CACHE_HEADER.size).reshape(2, *size)
    return _rounded(np.cumsum(rows, axis=-1, dtype="int16"), step)


def _write(path: Path, data: bytes) -> None:
    """Writes under a name that no other thread or process has, then renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.partial")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
