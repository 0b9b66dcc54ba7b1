"""Pictures in, labels and pictures of them out, from a server somewhere."""

import collections
import dataclasses
import itertools
import os
import random
import struct
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np

from keras_dpn.client.errors import ServingError
from keras_dpn.client.transports import Grpc, Rest, Row, Transport

Picture = str | os.PathLike[str] | bytes | np.ndarray
Output = Literal["labels", "probabilities", "overlay", "label_png", "classes"]
# The outputs of a signature that hold each of these.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "labels": ("labels",),
    "probabilities": ("probabilities",),
    "overlay": ("overlay_bytes",),
    "label_png": ("label_png_bytes",),
    "classes": ("class_names", "class_colors"),
}
REPEATABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model says of a picture; None what was not asked for.

    Attributes:
        labels: uint8 (H, W).
        probabilities: float32 (H, W, L).
        overlay: a PNG file: half picture, half its labels' colours.
        label_png: a PNG file whose values are the labels, shown in the classes' colours.
        class_names: L names.
        class_colors: uint8 (L, 3), red, green, blue.
    """

    labels: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    overlay: bytes | None = None
    label_png: bytes | None = None
    class_names: tuple[str, ...] | None = None
    class_colors: np.ndarray | None = None


class Client:
    """Asks a served model for the labels of pictures.

    Requests that find no server, or one too busy, are repeated after 0.1 s, 0.2 s, 0.4 s and so on
    up to 5 s, each less a random part, so that many clients don't come back at once. Answering a
    picture changes nothing on the server, so one that timed out is repeated too. What the server
    refuses is not. Threads may share a client.

    Args:
        address: "http://host:8501" (or https) for REST, "grpc://host:8500" (or grpcs, over TLS) for
            gRPC, whose answers are smaller: REST sends labels as text, and all of the outputs.
        model: its name on the server.
        version: its number, or its label on the server; the newest if not given.
        outputs: what answers shall hold: "labels", "probabilities", "overlay", "label_png",
            "classes". All but the first only if the model was exported with them.
        timeout: seconds that one attempt may take.
        deadline: seconds that a picture may take, with all attempts and the waits between.
        attempts: the most there are.

    Raises:
        ValueError: for an argument out of its range.

    Example:
        >>> with Client("http://localhost:8501", "street") as client:  # doctest: +SKIP
        ...     labels = client.predict("street.jpg").labels
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | str | None = None,
        outputs: Sequence[Output] = ("labels",),
        timeout: float = 30.0,
        deadline: float = 120.0,
        attempts: int = 5,
    ):
        for name in outputs:
            _check(name in OUTPUTS, "outputs", f"some of {list(OUTPUTS)}", outputs)
        for name, value in (("timeout", timeout), ("deadline", deadline)):
            _check(value > 0, name, "seconds above 0", value)
        _check(attempts >= 1, "attempts", "an integer of at least 1", attempts)
        self.outputs = tuple(outputs)
        self.timeout, self.deadline, self.attempts = timeout, deadline, attempts
        self._transport = _transport(address, model, version)

    def predict(self, picture: Picture) -> Answer:
        """Asks for one picture.

        Args:
            picture: the path of a JPEG, PNG, GIF or BMP file; the bytes of one; or uint8 RGB
                (H, W, 3).

        Raises:
            OSError: the file cannot be read.
            ValueError: for an array of another kind.
            ServingError: the server can't be reached in time, or refuses. The message begins with
                the file's name.
        """
        name, data = _encoded(picture)
        # `sizes` always: a server that joins requests pads them to the largest picture.
        asked = ["sizes", *(x for output in self.outputs for x in OUTPUTS[output])]
        return self._repeated(name, lambda seconds: self._ask(data, asked, seconds))

    def predict_many(
        self, pictures: Iterable[Picture], parallel: int = 4
    ) -> Iterator[Answer | Exception]:
        """Asks for many pictures, a few at a time.

        Args:
            pictures: as for `predict`. They are taken, and read, as answers are fetched.
            parallel: the most requests under way at once.

        Yields:
            For each picture, in the order given, its answer or the exception that `predict` would
            have raised: one bad picture doesn't stop the others.

        Raises:
            ValueError: for a `parallel` below 1.

        Example:
            >>> for path, found in zip(paths, client.predict_many(paths)):  # doctest: +SKIP
            ...     print(path, found if isinstance(found, Exception) else found.labels.shape)
        """
        _check(parallel >= 1, "parallel", "an integer of at least 1", parallel)
        return self._answers(iter(pictures), parallel)

    def versions(self) -> dict[int, str]:
        """The state of each version of the model on the server.

        "AVAILABLE" is one that answers.

        Raises:
            ServingError: the server can't be reached in time, or has no such model.
        """
        return self._repeated("versions", self._transport.versions)

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(self, pictures: Iterator[Picture], parallel: int) -> Iterator[Answer | Exception]:
        def ask(picture: Picture) -> Answer | Exception:
            try:
                return self.predict(picture)
            except (ServingError, OSError, ValueError) as error:
                return error

        with ThreadPoolExecutor(parallel) as executor:
            # Twice as many as run, so that a slow one doesn't leave the others idle.
            first = itertools.islice(pictures, 2 * parallel)
            waiting = collections.deque(executor.submit(ask, picture) for picture in first)
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(
                        executor.submit(ask, picture) for picture in itertools.islice(pictures, 1)
                    )
            finally:  # also where nobody wants the rest
                executor.shutdown(wait=False, cancel_futures=True)

    def _ask(self, data: bytes, asked: Sequence[str], seconds: float) -> Answer:
        return _answer(self._transport.predict(data, asked, seconds))

    def _repeated(self, name: str, call: Callable[[float], T]) -> T:
        """Calls with the seconds that are left, again where that may help."""
        end = time.monotonic() + self.deadline
        attempt = 0
        while True:
            attempt += 1
            try:
                return call(min(self.timeout, max(end - time.monotonic(), 1e-3)))
            except ServingError as error:
                wait = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.5, 1)
                late = time.monotonic() + wait >= end
                if late or attempt == self.attempts or error.status not in REPEATABLE:
                    tries = f" ({attempt} attempts)" if attempt > 1 else ""
                    message = f"{name}: {error.status}{tries}: {error}"
                    raise ServingError(message, error.status) from error
            time.sleep(wait)


def _transport(address: str, model: str, version: int | str | None) -> Transport:
    parts = urllib.parse.urlsplit(address)
    known = parts.scheme in ("http", "https", "grpc", "grpcs") and bool(parts.netloc)
    _check(known, "address", "http(s)://host:port or grpc(s)://host:port", address)
    _check(bool(model), "model", "the model's name on the server", model)
    if parts.scheme.startswith("grpc"):
        return Grpc(parts.netloc, model, version, secure=parts.scheme == "grpcs")
    return Rest(address, model, version)


def _answer(row: Row) -> Answer:
    """A transport's row as an answer, maps without what lies beyond the picture."""
    height, width = row["sizes"]
    maps = {name: row[name][:height, :width] for name in ("labels", "probabilities") if name in row}
    return Answer(
        **maps,
        overlay=row.get("overlay_bytes"),
        label_png=row.get("label_png_bytes"),
        class_names=tuple(row["class_names"]) if "class_names" in row else None,
        class_colors=row.get("class_colors"),
    )


def _encoded(picture: Picture) -> tuple[str, bytes]:
    """A picture's name for messages, and the bytes of its file."""
    if isinstance(picture, bytes):
        return f"a picture of {len(picture)} bytes", picture
    if isinstance(picture, (str, os.PathLike)):
        return str(picture), Path(picture).read_bytes()
    array = np.asarray(picture)
    fits = array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] == 3 and array.size > 0
    kind = f"an array of shape {array.shape} and type {array.dtype}"
    _check(bool(fits), "picture", "a path, bytes, or an array of shape (H, W, 3) and uint8", kind)
    return kind, _png(array)


def _png(image: np.ndarray) -> bytes:
    """uint8 RGB (H, W, 3) as a PNG file, without Pillow."""
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = image.reshape(height, -1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(rows, level=1)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _check(fits: bool, name: str, expected: str, received: Any) -> None:
    if not fits:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected {expected}, received {received}."
        )
