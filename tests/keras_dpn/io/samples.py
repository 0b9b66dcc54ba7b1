"""Images and videos for tests: written by Pillow or by hand, and one whose flow is known."""

import struct
import zlib

import numpy as np
from PIL import Image
from scipy import ndimage


def save(tmp_path, array, name="x.png", mode=None, **options):
    image = Image.fromarray(array)
    image = image if mode is None else image.convert(mode)
    image.save(tmp_path / name, **options)
    return tmp_path / name


def png(width, height, depth, color_type, rows, palette=None) -> bytes:
    """A PNG written by hand: Pillow writes neither few-bit grey nor 16-bit colour."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header)] + ([(b"PLTE", palette)] if palette else [])
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def moving_texture():
    """Three frames of a texture that moves 3 pixels to the right and 1 up from one to the next."""
    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.standard_normal((80, 100, 3)), (2, 2, 0))
    texture = np.clip(127 + 300 * texture, 0, 255).astype("uint8")
    return [np.roll(texture, (-t, 3 * t), axis=(0, 1))[4:68, 8:92] for t in range(3)]
