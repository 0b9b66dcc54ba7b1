"""The inputs of a served model: images as the bytes of files, clips as arrays."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from keras_dpn.client.video import Clip
from keras_dpn.io.alpha import composite_on_black
from keras_dpn.io.formats import HEADER_BYTES, format_of

_EXPECTED = "a path, bytes, an array of shape (H, W, 3) and uint8, or a Pillow image"
# Formats of which a served graph decodes every file as `keras_dpn.io.images` does.
SERVED = ("JPEG", "PNG", "GIF")


@runtime_checkable
class PillowImage(Protocol):
    """An image of Pillow, which this module doesn't need."""

    def getexif(self) -> Any:
        """Return the EXIF data."""


Image = str | os.PathLike[str] | bytes | np.ndarray | PillowImage


def check(fits: bool, name: str, expected: str, received: Any) -> None:
    """Raise ValueError unless an argument is as expected."""
    if not fits:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected {expected}, received {received}."
        )


def encoded(image: Image) -> tuple[str, bytes]:
    """Return an image's name for messages, and the bytes of a file that a server decodes."""
    if isinstance(image, bytes):
        name = f"an image of {len(image)} bytes"
        return name, _as_served(name, image)
    if isinstance(image, (str, os.PathLike)):
        return str(image), _as_served(str(image), Path(image).read_bytes())
    if isinstance(image, PillowImage):  # as an array, not upright and perhaps not RGB
        from keras_dpn.io.images import to_rgb

        array = to_rgb(cast(Any, image), "the image")
    else:
        array = np.asarray(image)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] == 4:
        array = composite_on_black(array)
    fits = array.dtype == np.uint8 and array.ndim == 3 and array.shape[-1] == 3 and array.size > 0
    kind = f"an array of shape {array.shape} and type {array.dtype}"
    check(bool(fits), "image", _EXPECTED, kind)
    return kind, _png(array)


def checked_clip(inputs: Clip) -> Clip:
    """Return a clip's arrays, flow as float32; raise ValueError for other shapes or types."""
    frames = np.asarray(inputs["frames"])
    fits = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[-1] == 3 and frames.size
    received = f"an array of shape {frames.shape} and type {frames.dtype}"
    check(bool(fits), "frames", "an array of shape (T, H, W, 3) and uint8", received)
    check(len(inputs) in (1, 3), "backward_flow", "both flows or none", "one of them")
    shape = (len(frames) - 1, *frames.shape[1:3], 2)
    flows = {name: np.asarray(x, "float32") for name, x in inputs.items() if name != "frames"}
    for name, flow in flows.items():
        check(flow.shape == shape, name, f"an array of shape {shape}", f"one of {flow.shape}")
    return {"frames": frames, **flows}


def _as_served(name: str, content: bytes) -> bytes:
    """Return a file as it is, or as PNG if it is an image that a served graph can't decode.

    Others are left to the server, whose message says what it expects.

    Raises:
        ValueError: the image can't be converted; without Pillow, of BMP files alone some can be
            sent as they are.
    """
    found = format_of(content[:HEADER_BYTES])
    if found is None or found.kind != "image" or found.name in SERVED:
        return content
    try:
        from keras_dpn.io.images import read_image
    except ImportError:
        if found.name == "BMP":
            return content
        raise ValueError(
            f"{name}: a server takes {', '.join(SERVED)}, received {found.name}. Install Pillow, "
            "which converts it, or send one of these."
        ) from None
    return _png(read_image(_NamedBytes(content, name)))


class _NamedBytes(io.BytesIO):
    """The content of a file for `read_image`, whose messages name it."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self._name = name

    def __str__(self) -> str:
        return self._name


def _png(image: np.ndarray) -> bytes:
    """Encode uint8 RGB (H, W, 3) as a PNG file, without Pillow."""
    height, width, _ = image.shape
    rows = np.zeros(
        (height, 1 + 3 * width), np.uint8
    )  # each row begins with its filter type, 0: none
    rows[:, 1:] = image.reshape(height, -1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(rows.data, level=1)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
