"""Write files and directories that appear complete under their name, or not at all."""

import errno
import io
import json
import os
import re
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class NamedBytes(io.BytesIO):
    """The content of a file as a stream that error messages name.

    Args:
        content: the bytes.
        name: what `str` shows.

    Example:
    >>> str(NamedBytes(b"...", "s3://bucket/a.jpg"))
    's3://bucket/a.jpg'
    """

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name

    def __str__(self) -> str:
        return self._name


@contextmanager
def atomic_file(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` when the block succeeds.

    The bytes are on the disk before the file has its name, so neither an exception nor a power
    failure leaves a partial file. Missing parent directories are created. Two processes that write
    the same file don't collide: the last to finish wins.

    Args:
        path: file to write; an existing one is replaced when the block ends, and left as it was
            when the block raises.
        needed: how many bytes it will have, if that is known, for the message about a full disk.

    Yields:
        Path of an empty file in the same directory that ends in the name of `path`, or in its last
        50 characters. Its name is random, and it is created without following a link.

    Raises:
        OSError: if the disk is full: names the file, and says how much it needs.
        FileNotFoundError: if the block writes nothing.

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
    _create(temporary)
    try:
        with _explaining(path, temporary, needed):
            yield temporary
            if os.stat(temporary).st_mtime_ns == 0:
                raise FileNotFoundError(errno.ENOENT, "Nothing was written", str(path))
            _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(path.parent)


@contextmanager
def atomic_directory(path: Path, needed: int | None = None) -> Iterator[Path]:
    """Yield an empty temporary directory next to `path`; rename it when the block succeeds.

    As `atomic_file`, for a directory and all that it holds.

    Args:
        path: directory to write; it may exist if it is empty.
        needed: how many bytes it will have, if that is known.

    Yields:
        The temporary directory.

    Raises:
        FileExistsError: if `path` is a file, or a directory that isn't empty.
        OSError: if the disk is full, as `atomic_file`.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path}: expected an empty directory, or none.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path)
    temporary.mkdir()
    try:
        with _explaining(path, temporary, needed):
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
    with atomic_file(path, len(content)) as temporary:
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


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Turn the errors about a file's content within a block into a ValueError that names the file.

    Args:
        path: the file, which somebody else may have written.
        expected: its content, for the message.

    Example:
    >>> with reading(Path("run/results.json"), "the results of a run"):
    ...     {}["stages"]
    Traceback (most recent call last):
    ValueError: run/results.json: expected the results of a run, received KeyError('stages').
    """
    try:
        yield
    except _WRONG_CONTENT as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path}: expected {expected}, received {error!r:.300}.") from error


def remove_temporaries(path: Path) -> None:
    """Remove what processes that were killed in `atomic_file(path)` have left; none may be in it.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _temporary_path(Path(folder) / "a.txt").touch()
    ...     remove_temporaries(Path(folder) / "a.txt")
    ...     os.listdir(folder)
    []
    """
    name = re.compile(rf"\.[0-9a-f]{{32}}\.{re.escape(path.name[-50:])}")
    for other in list(path.parent.iterdir()):
        if name.fullmatch(other.name):
            other.unlink()


# What Python, NumPy and zipfile raise on content of another kind, and on damaged files.
_WRONG_CONTENT = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError),
    *(EOFError, zipfile.BadZipFile, zlib.error),
)


def _temporary_path(path: Path) -> Path:
    # The name at the end: Keras looks at suffixes such as ".weights.h5". Its last characters, as
    # file systems allow 255 bytes.
    return path.with_name(f".{uuid.uuid4().hex}.{path.name[-50:]}")


def _create(path: Path) -> None:
    """Create an empty file, of the year 1970: writing to it is known by its time."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(path, flags, 0o666))
    os.utime(path, (0, 0))


@contextmanager
def _explaining(path: Path, temporary: Path, needed: int | None) -> Iterator[None]:
    """Turn the errors of a full disk, TensorFlow's too, into an OSError that names the file."""
    try:
        yield
    except Exception as error:
        full = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        if getattr(error, "errno", None) not in full and os.strerror(full[0]) not in str(error):
            raise
        parts = [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]
        written = sum(part.lstat().st_size for part in parts if part.is_file())
        free = shutil.disk_usage(temporary.parent).free
        needs = f"{needed}" if needed is not None else f"more than {written}"
        raise OSError(
            errno.ENOSPC,
            f"No space left on device: {needs} bytes are needed, {free + written} are free. What "
            "was there before is complete; free some space and run the command again",
            str(path),
        ) from error


def _flush(path: Path) -> None:
    """Force a file's bytes, or a directory's entries, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no directories
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
