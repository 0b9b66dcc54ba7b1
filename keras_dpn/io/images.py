"""Read images of any mode from files as upright 8-bit RGB, or raise a clear error.

All parts of this package that take an image read it by these rules; `keras_dpn.export.images`
applies them in TensorFlow operations:

* the orientation in EXIF is applied, so that an image has the size that viewers show;
* of an animated or multi-page file it is the first frame, on a canvas of the file's size; a
  Pillow image may be at a later one, which Pillow has drawn over those before;
* transparent pixels are composited on black, since their colour is arbitrary: an alpha channel,
  transparent entries of a palette, a transparent colour, and what a GIF's first frame leaves free;
* 16-bit channels are reduced to their upper 8 bits, grey is repeated, CMYK is converted by
  (255 - C) (255 - K) / 255, rounded down. Colour profiles and gamma are not applied;
* a file whose first image is a thumbnail, as cameras' RAW files that are TIFFs, is refused.
"""

import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from keras_dpn.io.alpha import composite_on_black
from keras_dpn.io.formats import file_format
from keras_dpn.limits import MAX_PIXELS, size_error

# Pillow opens by content, and for others, such as EPS, starts a program. JPEG includes MPO.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Of a JPEG: each scan of a few bytes takes a pass over the whole image.
MAX_SCANS = 100
# A JPEG's marker that a segment follows; others stand alone, or are no markers.
_SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
_END, _SCAN = b"\xd9", b"\xda"

# Pillow stretches grey PNGs of 2 and 4 bits per pixel to 0..255; indices must not be stretched.
_STRETCH = {"L;2": 85, "L;4": 17}
_ORIENTATION = 0x0112
# Tags of TIFF: bit 0 of the first says that an image is a smaller copy of another one in the file.
_SUBFILE_TYPE, _PHOTOMETRIC, _WHITE_IS_ZERO = 254, 262, 0
_BITS, _PLANAR, _SEPARATE = 258, 284, 2
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """An image or label map that can't be read or doesn't match; the message names the file."""


def read_image(path: Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as 8-bit RGB, upright, by the rules of this module.

    Args:
        path: a file of one of `FORMATS`, whatever its suffix; or its content as a binary stream,
            whose `str` messages show.
        max_pixels: largest number of pixels, which the header is asked for; sides below 64 count
            as 64. Pillow refuses more than 178,956,970 by itself.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: if the file is missing, truncated, empty, no image, of a format that Pillow
            can't read, a JPEG of more than `MAX_SCANS` scans, too large, a camera's RAW file, or of
            a mode without a defined range (float).
    """
    image, _ = open_upright(path, max_pixels)
    return to_rgb(image, path)


def to_rgb(image: Image.Image, path: object) -> np.ndarray:
    """Convert a Pillow image to upright 8-bit RGB, as `read_image` does with its file.

    Args:
        image: of any mode.
        path: its file, or another name for it in an error.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ImageError: as `read_image`.
    """
    image, _ = _upright(image, path)
    if image.mode == "F":
        raise ImageError(
            f"{path}: an image of floats has no defined range; save it with 8 or 16 bits."
        )
    if image.mode.startswith("I"):
        grey = _upper_byte(np.asarray(image), path)
        if _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts 8 bits alone
            grey = 255 - grey
        key = image.info.get("transparency")
        if isinstance(key, int):
            grey = np.where(grey == key >> 8, 0, grey).astype("uint8")
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode == "CMYK":
        inks = 255 - np.asarray(image).astype("int32")
        return (inks[..., :3] * inks[..., 3:] // 255).astype("uint8")
    if image.has_transparency_data:
        return composite_on_black(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB")).copy()


def orientation_of(exif: bytes) -> int:
    """Return the orientation 1..8 in an image's EXIF data; 1, upright, if there is none.

    Args:
        exif: TIFF's header and directories, with or without "Exif" before them.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:  # truncated
        pass
    return 1


def open_upright(path: Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, float]:
    """Return the loaded, upright image and the factor by which Pillow stretched its indices."""
    try:
        with _open(path) as image:
            if message := size_error(image.height, image.width, max_pixels):
                raise ImageError(f"{path}: {message}")
            _check_scans(image)
            if (_tiff_tag(image, _SUBFILE_TYPE) or 0) & 1:
                raise ImageError(
                    f"{path}: its first image is a thumbnail, as in a camera's RAW file. Convert "
                    "it to PNG or JPEG."
                )
            return _upright(image, path)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many types on broken files
        raise _error(path, error) from error


def open_header(path: Path) -> tuple[int, int]:
    """Return width and height in an image's header, without decoding it or turning it upright.

    Raises:
        ImageError: if the file is missing or no image.
    """
    try:
        with _open(path) as image:
            return image.size
    except Exception as error:  # as in `open_upright`
        raise _error(path, error) from error


def _open(path: Path | BinaryIO) -> ImageFile.ImageFile:
    """Open an image, but no pipe or device, which may wait, or go on, for ever."""
    if isinstance(path, (str, Path)) and not (Path(path).is_file() or Path(path).is_dir()):
        raise FileNotFoundError(path)
    return Image.open(path, formats=FORMATS)


def _upright(image: Image.Image, path: object) -> tuple[Image.Image, float]:
    """Load an image and turn it upright; return it and the factor of `open_upright`.

    A colour or grey value that is transparent is made comparable to the loaded values.
    """
    raw_mode, extents, stretch = _first_tile(image)
    try:
        _load(image)
    except Exception as error:
        raise _error(path, error) from error
    if 0 in image.size:
        raise ImageError(f"{path}: an image of {image.width}x{image.height} pixels is empty.")
    key = image.info.get("transparency")
    if isinstance(key, int) and stretch > 1:
        image.info["transparency"] = key * stretch
    elif isinstance(key, tuple) and raw_mode.startswith("RGB;16"):
        image.info["transparency"] = tuple(value >> 8 for value in key)
    upright = image
    has_margin = extents not in (None, (0, 0, *image.size))
    # Later frames Pillow has drawn over those before.
    if image.format == "GIF" and image.tell() == 0 and has_margin:
        upright = image.convert("RGBA")
        inside = Image.new("L", image.size)
        inside.paste(upright.getchannel("A").crop(extents), extents)
        upright.putalpha(inside)
    if image.format != "TIFF":  # which Pillow turns itself
        orientation = orientation_of(image.info.get("exif") or b"")
        if orientation > 1:
            upright = upright.transpose(_TRANSPOSITIONS[orientation])
            upright.info.pop("exif", None)  # turned once is enough
    upright.format = image.format
    return upright, stretch


def _load(image: Image.Image) -> None:
    """Load an image, around two faults of Pillow, at least up to 12.3, in uncompressed TIFFs.

    It maps them into memory, for orientations 5 to 8 with height and width exchanged: without a
    name it reads them. And it takes 16-bit channels for 8-bit ones if they follow one another.
    """
    if image.format == "TIFF" and isinstance(image, ImageFile.ImageFile):
        if _tiff_tag(image, _PLANAR) == _SEPARATE and 16 in (_tiff_tag(image, _BITS) or ()):
            image.tile = [_with_depth(tile, image) for tile in image.tile]
        name, image.filename = image.filename, ""
        try:
            image.load()
        finally:
            image.filename = name
    else:
        image.load()


def _with_depth(tile: ImageFile._Tile, image: Any) -> ImageFile._Tile:
    """Return a part of a TIFF with the 16 bits of its channel, such as R;16L for R."""
    if tile.codec_name != "raw" or not isinstance(tile.args, tuple):
        return tile
    order = "L" if image.tag_v2.prefix == b"II" else "B"
    raw_mode = image.mode if image.mode.startswith("I") else f"{tile.args[0]};16{order}"
    return tile._replace(args=(raw_mode, *tile.args[1:]))


def _first_tile(image: Image.Image) -> tuple[str, tuple[int, int, int, int] | None, float]:
    """Return the stored mode and the extents of an image that is not loaded yet.

    The third value is the factor by which loading it stretches its indices.
    """
    tiles = getattr(image, "tile", None)
    if not tiles:
        return "", None, 1
    decoder, extents, _, args = tiles[0]
    if decoder.startswith("ppm") and isinstance(args, tuple):  # to 255 or 65535
        return "", extents, (65535 if image.mode == "I" else 255) / args[1]
    raw_mode = args if isinstance(args, str) else ""
    return raw_mode, extents, _STRETCH.get(raw_mode, 1)


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    """Return the value of a tag of a TIFF; None if it has none, or the image is no TIFF."""
    return getattr(image, "tag_v2", {}).get(tag)


def _error(path: object, error: Exception) -> ImageError:
    """Return an error that names the format, if the file is of one that can't be read."""
    if isinstance(error, FileNotFoundError):
        return ImageError(f"{path}: no such file.")
    if isinstance(error, IsADirectoryError):
        return ImageError(f"{path}: expected an image, received a directory.")
    message = f"{path}: can't be read as an image ({error})."
    is_file = isinstance(path, (str, Path)) or hasattr(path, "seek")
    found = file_format(path) if is_file else None  # type: ignore[arg-type]
    if found and found.kind == "video":
        return ImageError(f"{message} It is a video ({found.name}).")
    if found and found.name.upper() not in {*FORMATS, "PNM"}:
        return ImageError(f"{message} It is a {found.name} file: convert it to PNG or JPEG.")
    return ImageError(message)


def _check_scans(image: ImageFile.ImageFile) -> None:
    if image.fp is None or image.format not in ("JPEG", "MPO"):
        return
    position = image.fp.tell()
    image.fp.seek(0)
    scans = count_scans(image.fp.read())
    image.fp.seek(position)
    if scans > MAX_SCANS:
        raise ValueError(f"a JPEG of {scans} scans, more than {MAX_SCANS}")


def count_scans(content: bytes) -> int:
    """Return the number of a JPEG's scans, as libjpeg finds them, without what follows its end."""
    scans, position = 0, 2
    while marker := _SEGMENT.search(content, position):
        if marker[1] == _END:
            break
        scans += marker[1] == _SCAN
        length = int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        position = marker.end() + max(length, 2)
    return scans


def _upper_byte(values: np.ndarray, path: object) -> np.ndarray:
    """Return the upper 8 of 16 bits of grey values."""
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{path}: expected grey values 0..65535, received {values.min()}..{values.max()}; "
            "save it with 8 or 16 bits."
        )
    return (values.astype("uint32") >> 8).astype("uint8")
