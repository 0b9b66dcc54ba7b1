"""Write files and directories that appear complete under their name, or not at all."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` when the block succeeds.

    The bytes are on the disk before the file has its name, so neither an exception nor a power
    failure leaves a partial file. Missing parent directories are created. Two processes that write
    the same file don't collide: the last to finish wins.

    Args:
        path: file to write; an existing one is replaced when the block ends, and left as it was
            when the block raises.

    Yields:
        Path in the same directory that doesn't exist yet and ends in the name of `path`.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("complete")
    ...     os.listdir(folder)
    ['a.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path)
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(path.parent)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary directory next to `path`; rename it when the block succeeds.

    As `atomic_file`, for a directory and all that it holds.

    Args:
        path: directory to write; it may exist if it is empty.

    Yields:
        The temporary directory.

    Raises:
        FileExistsError: if `path` is a file, or a directory that isn't empty.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path}: expected an empty directory, or none.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path)
    temporary.mkdir()
    try:
        yield temporary
        for written in [*temporary.rglob("*"), temporary]:
            _flush(written)
        if path.is_dir():
            path.rmdir()  # os.replace doesn't replace a directory on Windows
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _flush(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, values: Any) -> None:
    """Write JSON atomically."""
    write_bytes(path, json_bytes(values))


def json_bytes(values: Any) -> bytes:
    """Return JSON as `write_json` writes it."""
    return (json.dumps(values, indent=2) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: naming the file, if it isn't JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, received {error}.") from None


def _temporary_path(path: Path) -> Path:
    # The whole name at the end: Keras looks at suffixes such as ".weights.h5".
    return path.with_name(f".{uuid.uuid4().hex}.{path.name}")


def _flush(path: Path) -> None:
    """Force a file's bytes, or a directory's entries, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no directories
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
