"""Locks that keep two programs from writing into one directory."""

import contextlib
import errno
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

logger = logging.getLogger("keras_dpn")

LOCK = ".keras-dpn.lock"
"""The lock file of a directory."""

_BUSY = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
# Of file systems without locks.
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_LOCKED_BYTE = 2**30  # Windows lets nobody read a locked byte


class FileLock:
    """A lock that one process holds until it ends, or leaves the `with` block.

    The operating system releases the lock of a process that ends, however it ends, so that the next
    one takes over. The file says who holds it, and is removed with the lock. Missing parent
    directories are created, and removed again if nothing was written into them.

    Args:
        path: the lock file.
        subject: what is locked, for the message.

    Raises:
        ValueError: naming host, process and start time of the holder, if there is one.
        OSError: if the lock file can't be written.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with FileLock(Path(folder) / LOCK, Path(folder)):
    ...         os.listdir(folder)
    ['.keras-dpn.lock']
    """

    def __init__(self, path: Path, subject: Path) -> None:
        self.path = path
        self._created = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        # Closed, and so released, when the lock is forgotten.
        self._stream = self._acquire(subject)

    def _acquire(self, subject: Path) -> TextIO | None:
        while True:
            # A link could lead to a file of somebody else's.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            stream = os.fdopen(os.open(self.path, flags, 0o666), "r+", encoding="utf-8")
            try:
                _lock(stream.fileno())
            except OSError as error:
                holder = _read_holder(stream)
                stream.close()
                if error.errno in _BUSY:
                    raise ValueError(
                        f"{subject}: in use by {holder}. Wait until it ends, or name another one."
                    ) from None
                if error.errno in _UNSUPPORTED:
                    logger.warning("%s: can't be locked (%s)", subject, error.strerror)
                    return None
                raise
            if not self._is_current(stream.fileno()):
                stream.close()  # its holder removed it after we had opened it
                continue
            stream.truncate(0)
            values = {"host": socket.gethostname(), "process": os.getpid()}
            since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            json.dump({**values, "since": since}, stream)
            stream.flush()
            return stream

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock, once or more often."""
        if self._stream is None:
            return
        if sys.platform == "win32":  # removes no open file
            self._stream.close()
        with contextlib.suppress(OSError):
            self.path.unlink()
        self._stream.close()
        self._stream = None
        with contextlib.suppress(OSError):  # those that hold something
            for directory in self._created:
                directory.rmdir()

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory; raises as `FileLock`."""
    with FileLock(directory / LOCK, directory):
        yield


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_holder(stream: TextIO) -> str:
    try:
        values = json.loads(stream.read())
        return f"process {values['process']} on {values['host']} since {values['since']}"
    except (ValueError, KeyError, TypeError, OSError):  # it has only begun
        return "another process"
