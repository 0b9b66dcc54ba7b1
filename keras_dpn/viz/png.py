"""Images as PNG files."""

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def image_png(image: np.ndarray) -> bytes:
    """Return an image (H, W, 3), 0-255, as PNG bytes."""
    from PIL import Image

    return png(Image.fromarray(to_uint8(image)))


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Return an image, 0-255, as rounded 8-bit integers."""
    image = np.asarray(image)
    return image if image.dtype == np.uint8 else np.rint(image).clip(0, 255).astype("uint8")


def png(image: "Image.Image") -> bytes:
    """Return an image of Pillow as PNG bytes."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
