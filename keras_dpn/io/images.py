"""Read images of any mode from files as upright 8-bit RGB, or raise a clear error."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps

from keras_dpn.limits import MAX_PIXELS, size_error

# Pillow opens by content, and for others, such as EPS, starts a program. JPEG includes MPO.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Of a progressive JPEG: each scan of a few bytes takes a pass over the whole image.
MAX_SCANS = 100

# Pillow stretches grey PNGs of 2 and 4 bits per pixel to 0..255; indices must not be stretched.
_STRETCH = {"L;2": 85, "L;4": 17}


class ImageError(ValueError):
    """An image or label map that can't be read or doesn't match; the message names the file."""


def read_image(path: Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as 8-bit RGB, upright.

    The EXIF rotation is applied; 16-bit channels are scaled to 8 bits; grey, palette, CMYK and
    other colour spaces are converted; transparent pixels are composited on black, since their
    colour is arbitrary. Of an animation it is the first frame.

    Args:
        path: a file of one of `FORMATS`, whatever its suffix; or its content as a binary stream,
            whose `str` messages show.
        max_pixels: largest number of pixels, which the header is asked for; sides below 64 count
            as 64. Pillow refuses more than 178,956,970 by itself.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: if the file is missing, truncated, empty, no image, a JPEG of more than
            `MAX_SCANS` scans, too large, or of a mode without a defined range (float).
    """
    image, _ = open_upright(path, max_pixels)
    return to_rgb(image, path)


def to_rgb(image: Image.Image, path: object) -> np.ndarray:
    """Convert an upright Pillow image to 8-bit RGB, as `read_image` does.

    Args:
        image: of any mode.
        path: its file, or another name for it in an error.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: as `read_image`.
    """
    if image.mode.startswith("I"):
        grey = _narrow(np.asarray(image), path)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode == "F":
        raise ImageError(
            f"{path}: an image of floats has no defined range; save it with 8 or 16 bits."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.asarray(image.convert("RGB")).copy()


def open_upright(path: Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, int]:
    """Return the loaded, upright image and the factor by which Pillow stretched its indices."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if message := size_error(image.height, image.width, max_pixels):
                raise ImageError(f"{path}: {message}")
            _check_scans(image)
            stretch = _STRETCH.get(_raw_mode(image), 1)
            image.load()
            upright = ImageOps.exif_transpose(image)
            upright.format = image.format
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file.") from None
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on broken files
        raise ImageError(f"{path}: can't be read as an image ({error}).") from error
    if 0 in upright.size:
        raise ImageError(f"{path}: an image of {upright.width}x{upright.height} pixels is empty.")
    return upright, stretch


def open_header(path: Path) -> tuple[int, int]:
    """Return width and height in an image's header, without decoding it.

    Raises:
        ImageError: if the file is missing or no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file.") from None
    except Exception as error:  # as in `open_upright`
        raise ImageError(f"{path}: can't be read as an image ({error}).") from error


def _check_scans(image: ImageFile.ImageFile) -> None:
    if image.fp is None or not image.info.get("progressive"):
        return
    position = image.fp.tell()
    image.fp.seek(0)
    scans = image.fp.read().count(b"\xff\xda")
    image.fp.seek(position)
    if scans > MAX_SCANS:
        raise ValueError(f"a JPEG of {scans} scans, more than {MAX_SCANS}")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    args = image.tile[0][3] if image.tile else ""
    return args if isinstance(args, str) else ""


def _narrow(values: np.ndarray, path: object) -> np.ndarray:
    """Convert 16-bit grey to 8 bits, 65535 to 255."""
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{path}: expected grey values 0..65535, received {values.min()}..{values.max()}; "
            "save it with 8 or 16 bits."
        )
    narrow = values.astype("uint32")
    narrow += 128
    narrow //= 257
    return narrow.astype("uint8")
