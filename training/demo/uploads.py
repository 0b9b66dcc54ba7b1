"""The files that visitors of the page have uploaded, limited in number, bytes and age."""

import os
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

MAX_FILES = 1000
MAX_BYTES = 500 * 2**20
MAX_AGE = 600.0
MAX_AT_ONCE = 8
# Of a request that is no upload: the page's own have a few hundred bytes.
MAX_REQUEST_BYTES = 2**20
_READING = ("GET", "HEAD", "OPTIONS")
_MOST_DIGITS = 18

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Uploads:
    """The folder of the uploads.

    Args:
        folder: nothing else is in it. What is removed, or labelled, lies in it.
        max_files: the most files that it may hold.
        max_bytes: the most bytes that its files may have together.
        max_age: seconds after which a file may be removed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_files: int = MAX_FILES,
        max_bytes: int = MAX_BYTES,
        max_age: float = MAX_AGE,
    ) -> None:
        self.folder = folder.resolve()
        self.max_files, self.max_bytes, self.max_age = max_files, max_bytes, max_age
        self._lock = threading.Lock()

    def owns(self, path: Path) -> bool:
        """Return whether a file, links followed, is one of the folder's."""
        try:
            return path.resolve(strict=True).is_relative_to(self.folder) and path.is_file()
        except (OSError, ValueError):  # a path too long, or with a null byte
            return False

    def remove(self, path: Path) -> None:
        """Remove a file, if it is one of the folder's."""
        if self.owns(path):
            path.resolve().unlink(missing_ok=True)

    def has_room(self, size: int) -> bool:
        """Remove what is too old; return whether a request of N bytes fits in."""
        with self._lock:
            oldest = time.time() - self.max_age
            count = total = 0
            for folder, _, names in os.walk(self.folder):
                for name in names:
                    path = Path(folder, name)
                    try:
                        facts = path.lstat()
                        if facts.st_mtime < oldest:
                            path.unlink()
                            continue
                    except FileNotFoundError:
                        continue
                    count += 1
                    total += facts.st_size
            return count < self.max_files and total + size <= self.max_bytes


class UploadLimit:
    """ASGI middleware that refuses requests beyond the limits, before their bytes are read.

    Args:
        app: the page.
        uploads: where it keeps the files.
        max_bytes: the most bytes that an upload may have; other requests have `MAX_REQUEST_BYTES`.
        max_at_once: the most uploads at a time.
    """

    def __init__(
        self, app: App, uploads: Uploads, max_bytes: int, max_at_once: int = MAX_AT_ONCE
    ) -> None:
        self.app, self.uploads = app, uploads
        self.max_bytes, self.max_at_once = max_bytes, max_at_once
        self._running = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http" or scope["method"] in _READING:
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/").endswith("/upload")
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"" if is_upload else b"0")
        # What is sent in chunks ends where the sender likes, whatever length it declares.
        if not length.isdigit() or b"transfer-encoding" in headers:
            await refuse(send, 411, "The request doesn't say how many bytes it has.")
        elif int(length[:_MOST_DIGITS]) > (self.max_bytes if is_upload else MAX_REQUEST_BYTES):
            await refuse(send, 413, "The file is too large.")
        elif not is_upload:
            await self.app(scope, receive, send)
        elif self._running >= self.max_at_once or not self.uploads.has_room(
            self._running * self.max_bytes + int(length)
        ):
            await refuse(send, 503, "Too many files at the moment: try again in a few minutes.")
        else:
            self._running += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self._running -= 1


async def refuse(send: Send, status: int, text: str) -> None:
    """Answer a request with a status and a message."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
