"""A time limit for whole HTTP requests: urllib3's own is for each read from the socket.

A server that sends a byte now and then, of the status line, the headers or of endless "100
Continue", would keep a request waiting for as long as it likes. So would a name that isn't
resolved, for which there is no limit, and one with many addresses, as each has the whole time.
"""

import socket
import threading
import time
from contextlib import suppress
from typing import Any, Self

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError
from urllib3.util.connection import allowed_gai_family

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
        self._end = time.monotonic() + seconds
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

    def left(self) -> float:
        """Return the seconds that are left, at least a millisecond."""
        return max(self._end - time.monotonic(), 1e-3)

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host.

        The operating system can't be told to stop: a thread waits for it, which is left behind
        when the time is over.

        Raises:
            TimeoutError: when the time is over.
            OSError: if the host isn't known.
        """
        kind = allowed_gai_family(), socket.SOCK_STREAM
        with suppress(OSError, UnicodeError):
            socket.getaddrinfo(host.strip("[]"), port, *kind, flags=socket.AI_NUMERICHOST)
            return [host]
        found: list[Any] = []

        def work() -> None:
            try:
                found.append(socket.getaddrinfo(host, port, *kind))
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self.left())
        if not found:
            raise TimeoutError(f"resolving {host} takes too long")
        if isinstance(found[0], Exception):
            raise found[0]
        return list(dict.fromkeys(_numeric(*place) for *_, place in found[0]))

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


def _numeric(address: str, port: int, flow: int = 0, scope: int = 0) -> str:
    return f"{address}%{scope}" if scope else address


class _Watched:
    """Connections that open in time, and whose sockets the request's deadline can shut down."""

    sock: Any
    host: str
    port: int
    timeout: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self._watch()

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._watch()  # the socket of an earlier request
        super().request(*args, **kwargs)  # type: ignore[misc]

    def _new_conn(self) -> socket.socket:
        deadline: Deadline | None = getattr(_current, "deadline", None)
        if deadline is None:
            return super()._new_conn()  # type: ignore[misc]
        host, timeout = self.host, self.timeout
        connection: Any = self
        try:
            addresses = deadline.resolve(host, self.port)
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, str(error)) from error
        except socket.gaierror as error:
            raise NameResolutionError(host, connection, error) from error
        failure: HTTPError | None = None
        try:
            for number, address in enumerate(addresses):
                self.host, self.timeout = address, deadline.left() / (len(addresses) - number)
                try:
                    return super()._new_conn()  # type: ignore[misc]
                except HTTPError as error:
                    failure = error
        finally:
            self.host, self.timeout = host, timeout
        raise failure or ConnectTimeoutError(connection, f"{host} has no address")

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
