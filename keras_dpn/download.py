"""Download a file over https into a directory of the user's."""

import hashlib
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlparse

import keras

from keras_dpn.files import atomic_file

MAX_BYTES = 2**31
MAX_SECONDS = 3600.0
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 2**20
_QUEUE = 4  # chunks that wait to be written


def download(
    address: str,
    directory: Path,
    *,
    sha256: str | None = None,
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
) -> Path:
    """Return the local copy of a file, downloaded unless it is there already, as it was then.

    The file gets its name when it is complete and has the expected digest. A file without the
    record of its digest, or with another one, is downloaded again.

    Args:
        address: begins with https://, as all that it redirects to must.
        directory: receives the file and its digest; created for this user alone if it is missing.
        sha256: the file's expected SHA-256, in hex.
        max_bytes: largest file.
        max_seconds: longest time that it may take.

    Raises:
        ValueError: for an address that doesn't begin with https://, and a file with another digest.
        OSError: if the download fails, is larger or takes longer, or the directory can't be
            written.
    """
    url = urlparse(address)
    if url.scheme != "https":
        raise ValueError(f"expected an https:// address, received {address}")
    # Files of the same name from two addresses must not be mixed up.
    prefix = hashlib.sha256(address.encode()).hexdigest()[:12]
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(url.path).name)[-100:]
    path = directory / f"{prefix}-{name}"
    record = _record(path)
    if path.is_file() and record.is_file():
        digest = file_digest(path)
        if digest == record.read_text().strip() and sha256 in (None, digest):
            return path
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        with temporary.open("wb") as file:
            digest = _fetch(address, file, max_bytes, max_seconds)
        if sha256 not in (None, digest):
            raise ValueError(f"{address}: expected SHA-256 {sha256}, received {digest}.")
        record.unlink(missing_ok=True)  # of another content: none is better than a wrong one
    with atomic_file(record) as temporary:
        temporary.write_text(digest)
    return path


def discard(path: Path) -> None:
    """Remove a downloaded file that turned out to be damaged; leave every other file."""
    record = _record(path)
    if record.is_file():
        record.unlink()
        path.unlink(missing_ok=True)


def cache_directory() -> Path:
    """Return the user's directory for downloads, that of Keras: $KERAS_HOME, or ~/.keras."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras_dpn"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _record(path: Path) -> Path:
    """Return the file that says which digest a download had; only downloads have one."""
    return path.with_name(f".{path.name}.downloaded-sha256")


def _fetch(address: str, file: IO[bytes], max_bytes: int, max_seconds: float) -> str:
    """Write the file's bytes and return their SHA-256."""
    response, digest = _Response(address, max_seconds), hashlib.sha256()
    try:
        length = response.next().decode()
        declared = int(length) if length.isdecimal() else None
        bar, received = keras.utils.Progbar(declared), 0
        while True:
            if max(received, declared or 0) > max_bytes:
                raise OSError(f"expected at most {max_bytes} bytes, received more")
            chunk = response.next()
            if not chunk:
                break
            received += len(chunk)
            digest.update(chunk)
            file.write(chunk)
            bar.update(received)
        if declared not in (None, received):
            raise OSError(f"expected {declared} bytes, received {received}")
    except (OSError, HTTPException, ValueError) as error:
        raise OSError(f"{address}: the download failed: {error}") from error
    finally:
        response.abandoned.set()
    return digest.hexdigest()


class _Response:
    """The response of a server, read by a thread that the caller leaves when its time is over.

    urllib's own limit is for each read: a server could send a byte of the headers, or of the length
    of a chunk, now and then.
    """

    def __init__(self, address: str, max_seconds: float) -> None:
        self._end, self._max_seconds = time.monotonic() + max_seconds, max_seconds
        self.abandoned = threading.Event()
        self._parts: queue.Queue[bytes | Exception] = queue.Queue(_QUEUE)
        threading.Thread(target=self._read, args=(address,), daemon=True).start()

    def next(self) -> bytes:
        """Return the declared length, then part by part the content, then nothing.

        Raises:
            Exception: what reading raises.
            OSError: when the time is over.
        """
        late = OSError(f"expected at most {self._max_seconds:g} seconds, it takes longer")
        try:
            part = self._parts.get(timeout=max(self._end - time.monotonic(), 0))
        except queue.Empty:
            raise late from None
        if isinstance(part, Exception):
            raise part
        if time.monotonic() > self._end:
            raise late
        return part

    def _read(self, address: str) -> None:
        try:
            opener = urllib.request.build_opener(_OnlyHTTPS)
            with opener.open(address, timeout=_TIMEOUT) as response:
                self._put((response.headers.get("Content-Length") or "").encode())
                while not self.abandoned.is_set() and (chunk := response.read1(_CHUNK)):
                    self._put(chunk)
            self._put(b"")
        except Exception as error:
            self._put(error)

    def _put(self, part: bytes | Exception) -> None:
        """Wait until the caller takes the part, or has left."""
        while not self.abandoned.is_set():
            with suppress(queue.Full):
                self._parts.put(part, timeout=1)
                return


class _OnlyHTTPS(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> Any:
        if urlparse(newurl).scheme != "https":
            raise urllib.error.URLError(f"redirected to {newurl[:200]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
