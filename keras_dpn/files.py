"""Files and directories that appear whole under their name, or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write a file or a directory to, then rename it.

    What was written is on the disk before it has its name: neither an exception nor a power cut
    leaves half of it. An exception leaves `path` as it was.

    Args:
        path: a file, which may exist, or a directory, which may exist empty.

    Yields:
        A path in the same directory, with the same suffix, that does not exist.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(Path(folder) / "a.txt") as partial:
    ...         _ = partial.write_text("whole")
    ...     os.listdir(folder)
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield partial
        for written in [*partial.rglob("*"), partial] if partial.is_dir() else [partial]:
            _flush(written)
        if partial.is_dir() and path.is_dir():
            path.rmdir()  # an empty one
        os.replace(partial, path)
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _flush(path: Path) -> None:
    """Force a file's bytes, or a directory's entries, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no directories
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
