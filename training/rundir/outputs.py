"""What the commands write, and which files they may replace: those that they wrote themselves.

Each file that a command writes is recorded, with the digest of its content, in a directory of the
user's: `$XDG_STATE_HOME/keras-dpn`, by default `~/.local/state/keras-dpn`. A command replaces a
file only if it is recorded as the command's own and hasn't changed since.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..utils.files import atomic_file, json_bytes
from .lock import LOCK, FileLock

logger = logging.getLogger("keras_dpn")


class Outputs:
    """The files that a command writes into a directory.

    Args:
        root: the directory.
        command: name of the command; it doesn't replace files of the others.
        force: replace any file.
        recognizes: whether a file that isn't recorded, perhaps of another machine, is the
            command's own, by its content.
    """

    def __init__(
        self,
        root: Path,
        command: str,
        *,
        force: bool = False,
        recognizes: Callable[[Path], bool] = lambda path: False,
    ) -> None:
        self.root, self.force = Path(os.path.abspath(root)), force
        self._recognizes = recognizes
        self._has_warned = False
        key = hashlib.sha256(f"{command}\n{self.root}".encode(errors="surrogateescape"))
        self._record = _state_directory() / f"{key.hexdigest()[:32]}.jsonl"
        self._known: dict[str, list[_Identity]] = {}
        for name, identity in _read(self._record):
            self._known.setdefault(name, []).append(identity)

    def check(self, paths: Iterable[Path]) -> None:
        """Raise unless each of the files is missing, or was written by an earlier run.

        Args:
            paths: the files to write.

        Raises:
            ValueError: naming the first file that something else wrote.
        """
        if self.force:
            return
        foreign = [path for path in paths if os.path.lexists(path) and not self._is_own(path)]
        if foreign:
            more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
            raise ValueError(
                f"{foreign[0]}{more}: would be replaced, and this command didn't write it. Name "
                "another --out, move the file, or give --force to replace it."
            )

    @contextmanager
    def atomic_file(self, path: Path, needed: int | None = None) -> Iterator[Path]:
        """Write a file as `utils.files.atomic_file`; raises as it and as `check`."""
        self.check([path])
        with atomic_file(path, needed) as temporary:
            yield temporary
            # Before the file has its name: a process that is killed in between can resume.
            self._append(path, temporary)

    def write_bytes(self, path: Path, content: bytes) -> None:
        """Write bytes atomically; raises as `check`."""
        with self.atomic_file(path, len(content)) as temporary:
            temporary.write_bytes(content)

    def write_json(self, path: Path, values: Any) -> None:
        """Write JSON atomically; raises as `check`."""
        self.write_bytes(path, json_bytes(values))

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove those of the files that `check` lets the command replace."""
        for path in paths:
            if self.force or self._is_own(path):
                path.unlink(missing_ok=True)

    def record(self, path: Path) -> None:
        """Record a file that was written by other means, after `check`."""
        self._append(path, path)

    def _name(self, path: Path) -> str:
        return os.path.relpath(os.path.abspath(path), self.root)

    def _is_own(self, path: Path) -> bool:
        if path.is_symlink() or not path.is_file():
            return False
        facts = path.stat()
        same = [
            known for known in self._known.get(self._name(path), ()) if known[0] == facts.st_size
        ]
        if any(known[1] == facts.st_mtime_ns for known in same):
            return True
        is_copy = bool(same) and _digest(path) in {known[2] for known in same}
        return is_copy or self._recognizes(path)

    def _append(self, path: Path, written: Path) -> None:
        name, facts = self._name(path), written.stat()
        identity = (facts.st_size, facts.st_mtime_ns, _digest(written))
        self._known.setdefault(name, []).append(identity)
        line = json.dumps([name, *identity]) + "\n"
        try:
            self._record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(self._record, flags, 0o600)
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning(
                    "What is written can't be recorded, later runs need --force: %s", error
                )
            return
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


@contextmanager
def replacing(
    *paths: Path,
    command: str,
    force: bool = False,
    recognizes: Callable[[Path], bool] = lambda path: False,
) -> Iterator[Outputs]:
    """Check, lock and record the files that a command writes in the block.

    Args:
        *paths: the files, all in one directory.
        command: name of the command.
        force: replace files that the command didn't write.
        recognizes: as in `Outputs`.

    Yields:
        The outputs, which are recorded at the end.

    Raises:
        ValueError: naming the first file that something else wrote, or the process that writes the
            same files at the moment.
    """
    outputs = Outputs(paths[0].parent, command, force=force, recognizes=recognizes)
    outputs.check(paths)
    with FileLock(paths[0].with_name(f".{paths[0].name}{LOCK}"), paths[0]):
        before = {path: _stamp(path) for path in paths}
        try:
            yield outputs
        finally:
            for path in paths:
                if _stamp(path) not in (None, before[path]):
                    outputs.record(path)


@contextmanager
def writing(root: Path, command: str, *, force: bool = False) -> Iterator[Outputs]:
    """Lock a directory, and yield the outputs that a command writes into it.

    Raises:
        ValueError: naming the process that writes into it at the moment.
    """
    with FileLock(root / LOCK, root):
        yield Outputs(root, command, force=force)


_Identity = tuple[int, int, str]  # bytes, time of the last change in ns, SHA-256


def _state_directory() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "keras-dpn"
    except RuntimeError:  # a user without a home: nothing can be recorded
        return Path(os.devnull)


def _read(record: Path) -> Iterator[tuple[str, _Identity]]:
    try:
        lines = record.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):  # the last one after a power failure
            name, size, changed, digest = json.loads(line)
            yield name, (size, changed, digest)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
