"""Label maps in MATLAB's .mat files."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.io import loadmat, whosmat
from scipy.io.matlab import matfile_version

from keras_dpn.io.images import ImageError

from .matlab_elements import check_variable

# Of a file when it is decompressed: a label map of 100 million pixels in bytes, of 12 in doubles.
MAX_BYTES = 100_000_000
_VERSION_5 = 1  # of files, as SciPy counts: MATLAB's versions 5 to 7


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
    values = _load(path, variable)
    if field is not None:
        _check_present(field, values.dtype.names or (), path)
        cells = values[field]
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


def _load(path: Path, variable: str) -> np.ndarray:
    if not path.is_file():  # a pipe might wait for ever
        raise ImageError(f"{path}: no such file.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES // 10**6} MB")
        if matfile_version(io.BytesIO(content))[0] == _VERSION_5:
            names = check_variable(content, variable, MAX_BYTES)
        else:
            names = [name for name, *_ in whosmat(io.BytesIO(content))]
        _check_present(variable, names, path)
        values = loadmat(io.BytesIO(content), variable_names=[variable])[variable]
    except ImageError:
        raise
    except NotImplementedError:  # SciPy's response to HDF5
        raise ImageError(
            f"{path}: a .mat file of MATLAB's version 7.3; expected version 7 or older, as the "
            "dataset has it (in MATLAB: save -v7)."
        ) from None
    except Exception as error:  # SciPy raises many types on broken files
        raise ImageError(f"{path}: can't be read as a .mat file ({error}).") from error
    if not isinstance(values, np.ndarray):  # but a sparse one
        kind = type(values).__name__
        raise ImageError(f"{path}: expected {variable} as a full matrix, received a {kind}.")
    return values


def _check_present(name: str, names: Iterable[str], path: Path) -> None:
    if name not in names:
        raise ImageError(
            f"{path}: expected {name} in it, received {', '.join(names) or 'nothing'}."
        )
