"""A time limit for whole HTTP requests: urllib3's own is for each read from the socket.

A server that sends a byte now and then, of the status line, the headers or of endless "100
Continue", would keep a request waiting for as long as it likes.
"""

import socket
import threading
from contextlib import suppress
from typing import Any, Self

import urllib3

_current = threading.local()


class Deadline:
    """Shut down the socket of this thread's request when the time is over.

    The read that waits then ends as if the server had closed the connection.

    Args:
        seconds: time limit of the block.

    Attributes:
        expired: whether the time is over.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        _current.deadline = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _current.deadline = None
        with self._lock:  # the connection may serve another request from now on
            self._socket = None

    def watch(self, connected: socket.socket | None) -> None:
        """Take over the socket that the request uses."""
        with self._lock:
            self._socket = connected
            if self.expired:
                self._shut_down()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the server has done so already
                # SSLSocket's own method would pull the rug from under the read.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Watched:
    """Connections whose sockets the request's deadline can shut down."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self._watch()

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._watch()  # the socket of an earlier request
        super().request(*args, **kwargs)  # type: ignore[misc]

    def _watch(self) -> None:
        if (deadline := getattr(_current, "deadline", None)) is not None:
            deadline.watch(self.sock)


class _HTTPConnection(_Watched, urllib3.connection.HTTPConnection):
    pass


class _HTTPSConnection(_Watched, urllib3.connection.HTTPSConnection):
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class WatchedPoolManager(urllib3.PoolManager):
    """A pool whose requests end with the `Deadline` in whose block they run."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
