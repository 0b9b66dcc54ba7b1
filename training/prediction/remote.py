"""Files of object stores and other file systems, through fsspec: s3://, gs://, zip:// ..."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import abspath
from pathlib import Path, PurePosixPath
from typing import Any

from keras_dpn.io.images import ImageError
from keras_dpn.io.video import VideoError

from ..utils.files import NamedBytes

# Its files say where others are, by templates that may run for ever, or, in some versions of
# fsspec, run any program.
_REFUSED = "reference"


@dataclass(frozen=True)
class RemoteFile:
    """A file that a URL names.

    Args:
        url: such as "s3://bucket/a.jpg", or a chain, "zip://a.jpg::/data/photos.zip".

    Example:
    >>> RemoteFile("zip://street/a.jpg::photos.zip").path
    PurePosixPath('/street/a.jpg')
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def path(self) -> PurePosixPath:
        """Its path within the file system; of an object store, below the bucket's name."""
        first, _, _ = self.url.partition("::")
        return PurePosixPath("/" + first.partition("://")[2].lstrip("/"))

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name

    def open(self) -> NamedBytes:
        """Return its content as a stream whose `str` is the URL.

        Raises:
            ImageError: if it can't be read.
        """
        try:
            return NamedBytes(self._read(), self.url)
        except Exception as error:  # each file system has errors of its own
            raise ImageError(f"{self.url}: can't be read ({error}).") from error

    @contextmanager
    def local_copy(self) -> Iterator[Path]:
        """Yield a copy on the local disk, of the same name, while the block runs.

        Raises:
            VideoError: if it can't be read.
        """
        with tempfile.TemporaryDirectory(prefix="keras-dpn-") as folder:
            copy = Path(folder) / self.name
            try:
                system, path = _file_system(self.url)
                system.get_file(path, str(copy))
            except Exception as error:
                raise VideoError(f"{self.url}: can't be read ({error}).") from error
            yield copy

    def _read(self) -> bytes:
        system, path = _file_system(self.url)
        return system.cat_file(path)


Source = Path | RemoteFile
"""An input: a local file, or, as a video, a folder of frames; or a file that a URL names."""


@contextmanager
def local_file(source: Source) -> Iterator[Path]:
    """Yield a local path of a source; raises as `RemoteFile.local_copy`."""
    if isinstance(source, Path):
        yield source
    else:
        with source.local_copy() as copy:
            yield copy


def is_url(path: str | Path) -> bool:
    """Return whether a path names a file of a file system other than the local one.

    Example:
    >>> is_url("s3://bucket/a.jpg"), is_url("photos/a.jpg")
    (True, False)
    """
    return isinstance(path, str) and "://" in path


def local_or_remote(path: str | Path) -> Source:
    """Return a path or URL as a source; file:// is a local path, and a URL's archive absolute.

    Example:
    >>> local_or_remote("file:///data/a.jpg").name
    'a.jpg'
    """
    if isinstance(path, str) and is_url(path):
        protocol, _, rest = path.partition("://")
        if protocol in ("file", "local"):
            return Path(rest)
        # Workers of a cluster have another current directory.
        first, *chain = path.split("::")
        return RemoteFile("::".join([first, *(p if is_url(p) else abspath(p) for p in chain)]))
    return Path(path)


def list_remote(url: str) -> list[RemoteFile]:
    """Return the files that a URL matches: one file, all below a folder, or those of a pattern.

    Raises:
        ValueError: if its file system isn't installed, or can't be read.
    """
    try:
        system, path = _file_system(url)
        if any(character in path for character in "*?["):
            found = [name for name in system.glob(path) if system.isfile(name)]
        else:
            found = system.find(path)
    except ImportError as error:
        raise ValueError(f"{url}: reading it needs another package ({error}).") from error
    except Exception as error:  # each file system has errors of its own
        raise ValueError(f"{url}: can't be listed ({error}).") from error
    first, *chain = url.split("::")
    protocol = first.partition("://")[0]
    names = [str(name).partition("://")[2] or str(name) for name in sorted(found)]
    return [RemoteFile("::".join([f"{protocol}://{name}", *chain])) for name in names]


def _file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path within it."""
    from fsspec.core import url_to_fs

    if _REFUSED in [part.partition("://")[0] for part in url.split("::")]:
        raise ValueError(f"{_REFUSED}:// isn't read: name the files themselves")
    return url_to_fs(url)
