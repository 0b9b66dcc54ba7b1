"""Label maps in MATLAB's .mat files."""

import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat

from keras_dpn.io.images import ImageError

# Of a file when it is decompressed: a label map of 100 million pixels in bytes, of 12 in doubles.
MAX_BYTES = 100_000_000
_HEADER, _COMPRESSED = 128, 15  # of version 5: bytes, and the type of a compressed element
_LARGEST_RATIO = 1032  # of zlib's compression
_PIECE = 2**20


def read_mat(path: Path, variable: str, field: str | None = None) -> np.ndarray:
    """Read a matrix of integers from a .mat file of MATLAB's version 7 or older.

    Args:
        path: the file.
        variable: the matrix, or the structure that has it.
        field: which of the structure's fields.

    Returns:
        int64 (H, W).

    Raises:
        ImageError: if the file is missing, broken, of more than 100 MB when it is decompressed,
            or of version 7.3 (HDF5), or the variable is missing or not a matrix of integers.
    """
    values = _pick(_load(path), variable, path)
    if field is not None:
        fields = {name: values[name] for name in values.dtype.names or ()}
        cells = _pick(fields, field, path)
        if not cells.size:
            raise ImageError(f"{path}: expected {field} of {variable}, received no structure.")
        values = np.asarray(cells.flat[0])
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iuf":
        raise ImageError(
            f"{path}: expected {field or variable} as a matrix of numbers, received "
            f"{values.dtype} of shape {values.shape}."
        )
    if values.dtype.kind == "f" and (values != np.round(values)).any():  # NaN as well
        raise ImageError(f"{path}: expected integers in {field or variable}, received fractions.")
    return values.astype("int64")


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        _check_size(content, path)
        for name, shape, _ in whosmat(io.BytesIO(content)):
            if math.prod(shape) > len(content) * _LARGEST_RATIO:  # SciPy takes memory for them
                raise ImageError(f"{path}: too short for {name} of shape {shape}.")
        return loadmat(io.BytesIO(content))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file.") from None
    except NotImplementedError:  # SciPy's response to HDF5
        raise ImageError(
            f"{path}: a .mat file of MATLAB's version 7.3; expected version 7 or older, as the "
            "dataset has it (in MATLAB: save -v7)."
        ) from None
    except Exception as error:  # SciPy raises many types on broken files
        raise ImageError(f"{path}: can't be read as a .mat file ({error}).") from error


def _check_size(content: bytes, path: Path) -> None:
    """Refuse a small file that would decompress to a large one, before it takes the memory."""
    if len(content) * _LARGEST_RATIO <= MAX_BYTES:
        return
    size, start, little = len(content), _HEADER, content[_HEADER - 2 : _HEADER] == b"IM"
    while start + 8 <= len(content):
        kind, length = struct.unpack_from("<II" if little else ">II", content, start)
        start += 8
        if kind == _COMPRESSED:
            stream, rest = zlib.decompressobj(), content[start : start + length]
            while rest and size <= MAX_BYTES:
                size += len(stream.decompress(rest, _PIECE))
                rest = stream.unconsumed_tail
        start += length
    if size > MAX_BYTES:
        raise ImageError(
            f"{path}: expected at most {MAX_BYTES // 10**6} MB when it is decompressed."
        )


def _pick(values: dict[str, Any], name: str, path: Path) -> np.ndarray:
    if name not in values:
        present = ", ".join(key for key in values if not key.startswith("__")) or "nothing"
        raise ImageError(f"{path}: expected {name} in it, received {present}.")
    if not isinstance(values[name], np.ndarray):  # but a sparse one
        kind = type(values[name]).__name__
        raise ImageError(f"{path}: expected {name} as a full matrix, received a {kind}.")
    return values[name]
