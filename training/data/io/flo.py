"""Optical flow in Middlebury's .flo files.

A flow is float32 (H, W, 2) = (dx, dy) in pixels, as in OpenCV: the pixel at (x, y) of the first
frame is at (x + dx, y + dy) in the second.
"""

import struct
from pathlib import Path

import numpy as np

from ...utils.files import write_bytes
from ..dataset import read_file

# Pixels: points outside every image, so that the pixel has no correspondence in the other frame.
# The value of keras_dpn.ops.warp.INVALID_FLOW.
INVALID_FLOW = 1e6

# Middlebury: values above the second are unknown; its own files have 1666666752 there.
_MAGIC, _UNKNOWN = 202021.25, 1e9
_HEADER = struct.Struct("<fii")


def read_flo(path: Path) -> np.ndarray:
    """Read a flow in Middlebury's format.

    Args:
        path: a .flo file: float32 202021.25, int32 width and height, then float32 (dx, dy) row
            by row, all little endian. Unknown flow (above 1e9 in dx or dy) becomes `INVALID_FLOW`
            in both: these pixels have no known correspondence.

    Returns:
        float32 (H, W, 2), (dx, dy) in pixels.

    Raises:
        ValueError: if the file is missing, no .flo, truncated or too long, or contains NaN.
    """
    try:
        data = read_file(path)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from None
    if len(data) < _HEADER.size or _HEADER.unpack_from(data)[0] != _MAGIC:
        raise ValueError(f"{path}: expected a .flo file (Middlebury), which starts with 202021.25.")
    _, width, height = _HEADER.unpack_from(data)
    size = _HEADER.size + 8 * width * height
    if min(width, height) < 1 or len(data) != size:
        raise ValueError(
            f"{path}: the header says {width}x{height} pixels, {size} bytes, but the file has "
            f"{len(data)}; write it again."
        )
    flow = np.frombuffer(data, "<f4", offset=_HEADER.size).reshape(height, width, 2)
    unknown = (np.abs(flow) > _UNKNOWN).any(axis=-1, keepdims=True)
    return check_flow(np.where(unknown, np.float32(INVALID_FLOW), flow), (height, width), path)


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Write a flow in Middlebury's format, see `read_flo`, atomically.

    Args:
        path: the file; its directory is created if it doesn't exist.
        flow: float (H, W, 2), (dx, dy) in pixels; from `INVALID_FLOW` up it is written as unknown.

    Raises:
        ValueError: on another shape, integers or NaN.
    """
    write_bytes(path, flo_bytes(flow, path))


def flo_bytes(flow: np.ndarray, source: object = "flow") -> bytes:
    """Return a flow in Middlebury's format.

    Args:
        flow: as in `write_flo`.
        source: the file that a message names.

    Raises:
        ValueError: as `write_flo`.
    """
    flow = check_flow(flow, None, source)
    height, width = flow.shape[:2]
    unknown = (np.abs(flow) >= INVALID_FLOW).any(axis=-1, keepdims=True)
    pixels = np.where(unknown, np.float32(10 * _UNKNOWN), flow).astype("<f4")
    return _HEADER.pack(_MAGIC, width, height) + pixels.tobytes()


def check_flow(flow: np.ndarray, size: tuple[int, int] | None, source: object) -> np.ndarray:
    """Check that an array is the flow of a frame.

    Args:
        flow: float (H, W, 2), finite.
        size: the frame's height and width; None: any.
        source: the file or the argument that the message names.

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
            f"where a pixel has no correspondence, write {INVALID_FLOW:g}."
        )
    return flow.astype("float32", copy=False)
