"""Images in a served graph: encoded bytes to pixels in bounded memory, label maps to PNGs.

Every function here works on tensors alone, eagerly and in `tf.function`, so that a SavedModel needs
only TensorFlow's operations. Invalid images raise InvalidArgumentError.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_dpn.export.headers import (
    GifFrame,
    bmp_channels,
    checked,
    first_frame,
    integer,
    jpeg_parts,
    orientation,
    png_parts,
    png_transparent_value,
)
from keras_dpn.limits import MIN_SIDE, SMALL
from keras_dpn.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

FORMATS = ("JPEG", "PNG", "GIF", "BMP")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")
# A JPEG's segment that says: CMYK, inverted.
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
# Of a JPEG: each scan of a few bytes takes a pass over the whole image.
MAX_SCANS = 100


def encoded_size(data: Tensor, max_pixels: int) -> Tensor:
    """Return the height and width of an encoded image, upright, from its header alone.

    Args:
        data: scalar string tensor: the bytes of a JPEG, PNG, GIF or BMP file.
        max_pixels: integer, the largest number of pixels of an image.

    Returns:
        int32 tensor (2,).

    Raises:
        InvalidArgumentError: if the bytes aren't of one of these formats, of a JPEG of more than
            `MAX_SCANS` scans, or of a file with thousands of tiny parts before its pixels; and as
            `check_size`.

    Example:
        >>> png = tf.io.encode_png(tf.zeros((2, 3, 3), "uint8"))  # doctest: +SKIP
        >>> encoded_size(png, max_pixels=100)  # doctest: +SKIP
        [2 3]
    """
    stored, orientation = _header(data)
    size = check_size(stored, max_pixels)
    return tf.where(orientation > 4, size[::-1], size)


def check_size(size: Tensor, max_pixels: int) -> Tensor:
    """Return an image's height and width (2,).

    Raises:
        InvalidArgumentError: if height times width is not 1 to `max_pixels`, or with sides below
            64 counted as 64, more than that and more than 65,536.
    """
    height, width = tf.unstack(tf.cast(size, "int64"))
    received = [tf.strings.as_string(width), " x ", tf.strings.as_string(height)]
    message = [f"expected an image of 1 to {max_pixels} pixels, received one of ", *received]
    fits = (height >= 1) & (width >= 1) & (height * width <= max_pixels)
    size = checked(fits, message, size)
    limit = max(max_pixels, SMALL)
    message = [f"expected an image of at most {limit} pixels, with sides below {MIN_SIDE} counted "]
    message += [f"as {MIN_SIDE}, received one of ", *received]
    return checked(padded_pixels(size) <= limit, message, size)


def padded_pixels(size: Tensor) -> Tensor:
    """Return the pixels of an image (2,), with sides below 64 counted as 64: int64."""
    return tf.reduce_prod(tf.maximum(tf.cast(size, "int64"), MIN_SIDE))


def decode_image(data: Tensor) -> Tensor:
    """Return the pixels of an encoded image, after `encoded_size` has checked its size.

    By the rules of `keras_dpn.io.images`, with the same pixels: upright by its EXIF data,
    transparent pixels on black, the upper 8 bits of 16, of a GIF the first frame on its canvas.

    Args:
        data: scalar string tensor.

    Returns:
        uint8 tensor (H, W, 3).

    Raises:
        InvalidArgumentError: if the bytes aren't of one of these formats, truncated or broken.
    """
    return _pixels(data)


def label_png(labels: Tensor, colors: Sequence[Sequence[int]] | None = None) -> Tensor:
    """Return a label map as PNG bytes whose values are the labels.

    Args:
        labels: uint8 tensor (H, W).
        colors: one (red, green, blue), 0-255, per class, as the palette, so that viewers show
            them. Without it the PNG is grey.

    Returns:
        Scalar string tensor.
    """
    grey = tf.io.encode_png(labels[..., None])
    if colors is None:
        return grey
    # From grey to palette: change the header's colour type (byte 25) and insert a PLTE chunk.
    # Changing one byte changes a CRC by the same bits, whatever the other bytes are.
    change = zlib.crc32(bytes(17)) ^ zlib.crc32(bytes(13) + b"\3" + bytes(3))
    crc = tf.bitwise.bitwise_xor(
        tf.io.decode_raw(tf.strings.substr(grey, 29, 4), "uint8"),
        tf.constant([*struct.pack(">I", change)], "uint8"),
    )
    palette = b"PLTE" + bytes(value for color in colors for value in color)
    chunk = struct.pack(">I", len(palette) - 4) + palette + struct.pack(">I", zlib.crc32(palette))
    parts = [
        tf.strings.substr(grey, 0, 25),
        b"\3",
        tf.strings.substr(grey, 26, 3),
        _to_string(crc),
        chunk,
        tf.strings.substr(grey, 33, -1),
    ]
    return tf.strings.join(parts)


def overlay_png(image: Tensor, labels: Tensor, colors: Sequence[Sequence[int]]) -> Tensor:
    """Return the image blended half and half with its labels' colours, as PNG bytes.

    Args:
        image: tensor (H, W, 3), 0-255.
        labels: uint8 tensor (H, W).
        colors: one (red, green, blue), 0-255, per class.

    Returns:
        Scalar string tensor.
    """
    painted = tf.gather(tf.constant(colors, "float32"), tf.cast(labels, "int32"))
    mixed = tf.round((tf.cast(image, "float32") + painted) / 2)
    return tf.io.encode_png(tf.cast(mixed, "uint8"))


def _traced_once(function: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """Return a function of a file as a graph that all SavedModels of a process share.

    Most of an export's time would be its tracing.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    return tf.function(function, [tf.TensorSpec((), "string")], autograph=False)


@_traced_once
def _header(data: Tensor) -> tuple[Tensor, Tensor]:
    """Return height and width (2,) as an image is stored, and its orientation 1..8."""
    sizes = [_jpeg_size, _png_size, _gif_size, _bmp_size]
    size = tf.switch_case(_format(data), [lambda f=f: f(data) for f in sizes])
    return size, _orientation(data)


@_traced_once
def _pixels(data: Tensor) -> Tensor:
    """Return an image's pixels (H, W, 3), upright."""
    decoders = [_decode_jpeg, _decode_png, _decode_gif, _decode_bmp]
    pixels = tf.switch_case(_format(data), [lambda f=f: f(data) for f in decoders])
    return tf.ensure_shape(_turned(pixels, _orientation(data)), (None, None, 3))


def _format(data: Tensor) -> Tensor:
    """Return the index of an image's format in `FORMATS`; raise InvalidArgumentError if unknown."""
    begins = [tf.strings.substr(data, 0, len(magic)) == magic for magic in _MAGIC]
    message = [
        f"expected the bytes of an image ({', '.join(FORMATS)}), received ",
        tf.strings.as_string(tf.strings.length(data)),
        " bytes of another format",
    ]
    return checked(tf.reduce_any(begins), message, tf.argmax(begins, output_type="int32"))


def _jpeg_size(data: Tensor) -> Tensor:
    scans = _count_scans(data)
    message = [f"expected a JPEG of at most {MAX_SCANS} scans, received one of "]
    message.append(tf.strings.as_string(scans))
    return checked(scans <= MAX_SCANS, message, tf.image.extract_jpeg_shape(data)[:2])


def _count_scans(data: Tensor) -> Tensor:
    """Count the headers of a JPEG's scans: marker, length, and number of components.

    libjpeg accepts no other length. Profiles, and videos behind a phone's image, contain the two
    bytes of the marker by chance.
    """
    length = tf.strings.length(data)
    content = tf.io.decode_raw(tf.strings.join([data, bytes(4)]), "uint8")
    mark, kind, upper, lower, components = (content[i : length + i] for i in range(5))
    is_scan = (mark == 0xFF) & (kind == 0xDA) & (upper == 0) & (lower == 6 + 2 * components)
    is_scan &= (components >= 1) & (components <= 4)
    return tf.reduce_sum(tf.cast(is_scan, "int32"))


def _png_size(data: Tensor) -> Tensor:
    return tf.stack([integer(data, at, 4, False) for at in (20, 16)])


def _gif_size(data: Tensor) -> Tensor:
    return _canvas_size(data, first_frame(data))


def _canvas_size(data: Tensor, frame: GifFrame) -> Tensor:
    """Return the height and width of a GIF, which is enlarged to its first frame, as in Pillow."""
    canvas = tf.stack([integer(data, at, 2, True) for at in (8, 6)])
    return tf.maximum(canvas, tf.stack([frame.top + frame.height, frame.left + frame.width]))


def _bmp_size(data: Tensor) -> Tensor:
    height, width = (integer(data, at, 4, True) for at in (22, 18))
    with tf.control_dependencies([bmp_channels(data)]):  # which refuses others than it knows
        return tf.stack([tf.abs(height), width])  # upside down if negative


def _upright_as_stored(data: Tensor) -> Tensor:
    return tf.constant(1)


def _jpeg_orientation(data: Tensor) -> Tensor:
    return orientation(data, jpeg_parts(data)[0])


def _png_orientation(data: Tensor) -> Tensor:
    return orientation(data, png_parts(data)[1])


def _orientation(data: Tensor) -> Tensor:
    """Return the orientation 1..8 of an image in its EXIF data."""
    readers = [_jpeg_orientation, _png_orientation, _upright_as_stored, _upright_as_stored]
    return tf.switch_case(_format(data), [lambda f=f: f(data) for f in readers])


def _turned(pixels: Tensor, orientation: Tensor) -> Tensor:
    """Turn stored pixels (H, W, 3) upright: transpose them, then flip columns and rows."""

    def if_in(orientations: Sequence[int], change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return tf.cond(tf.reduce_any(orientation == orientations), lambda: change(x), lambda: x)

    pixels = if_in((5, 6, 7, 8), lambda x: tf.transpose(x, (1, 0, 2)), pixels)
    pixels = if_in((2, 3, 6, 7), lambda x: x[:, ::-1], pixels)
    return if_in((3, 4, 7, 8), lambda x: x[::-1], pixels)


def _decode_jpeg(data: Tensor) -> Tensor:
    # TensorFlow inverts CMYK only after Adobe's segment, viewers always: insert the segment.
    components = tf.image.extract_jpeg_shape(data)[2]
    begin, rest = tf.strings.substr(data, 0, 2), tf.strings.substr(data, 2, -1)
    lacks_adobe = (components == 4) & ~jpeg_parts(data)[1]
    data = tf.where(lacks_adobe, tf.strings.join([begin, _ADOBE, rest]), data)
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(data: Tensor) -> Tensor:
    kind, transparency = integer(data, 25, 1, False), png_parts(data)[0]

    def with_transparent_value() -> Tensor:
        pixels = tf.io.decode_png(data, channels=3)
        value = tf.cast(png_transparent_value(data, transparency), "uint8")
        is_transparent = tf.reduce_all(pixels == value, axis=-1, keepdims=True)
        return tf.where(is_transparent, tf.zeros((), "uint8"), pixels)

    def without_alpha() -> Tensor:
        plain = tf.cond(
            transparency > 0, with_transparent_value, lambda: tf.io.decode_png(data, channels=3)
        )
        return tf.ensure_shape(plain, (None, None, 3))

    has_alpha = (kind & 4 > 0) | ((kind == 3) & (transparency > 0))
    return tf.cond(has_alpha, lambda: _on_black(tf.io.decode_png(data, channels=4)), without_alpha)


def _decode_gif(data: Tensor) -> Tensor:
    frame = first_frame(data)
    height, width = tf.unstack(_canvas_size(data, frame))
    pixels = tf.io.decode_gif(frame.data)[0]
    rows = [frame.top, height - frame.top - frame.height]
    columns = [frame.left, width - frame.left - frame.width]
    return tf.pad(pixels, [rows, columns, [0, 0]])


def _decode_bmp(data: Tensor) -> Tensor:
    pixels = tf.io.decode_bmp(data)
    padded = tf.pad(pixels, [[0, 0], [0, 0], [0, 1]], constant_values=255)
    stored = tf.shape(pixels)[-1]
    channels = bmp_channels(data)
    return _on_black(tf.gather(padded, tf.where(channels < 4, channels, stored), axis=-1))


def _on_black(rgba: Tensor) -> Tensor:
    """Composite an image on black, as `keras_dpn.io.images.composite_on_black`."""
    rgba = tf.cast(rgba, "uint16")
    return tf.cast((rgba[..., :3] * rgba[..., 3:] + 127) // 255, "uint8")


def _to_string(values: Tensor) -> Tensor:
    """Return numbers 0-255 as the bytes of a string; TensorFlow has no inverse of `decode_raw`."""
    return tf.strings.reduce_join(
        tf.gather(tf.constant([bytes([i]) for i in range(256)]), tf.cast(values, "int32"))
    )
