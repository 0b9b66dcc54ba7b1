"""Images in a served graph: encoded bytes to pixels in bounded memory, label maps to PNGs.

Every function here works on tensors alone, eagerly and in `tf.function`, so that a SavedModel needs
only TensorFlow's operations. Invalid images raise InvalidArgumentError.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_dpn.limits import MIN_SIDE, SMALL
from keras_dpn.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

FORMATS = ("JPEG", "PNG", "GIF", "BMP")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")
# Of a JPEG: each scan of a few bytes takes a pass over the whole image.
MAX_SCANS = 100
_HEADER = 64  # bytes, more than any of these headers
# Largest number of extensions before a GIF's first frame, and of blocks (255 bytes) in each.
_MAX_EXTENSIONS = 16
_MAX_BLOCKS = 100_000


def encoded_size(data: Tensor, max_pixels: int) -> Tensor:
    """Return the height and width of an encoded image from its header alone.

    Args:
        data: scalar string tensor: the bytes of a JPEG, PNG, GIF or BMP file.
        max_pixels: integer, the largest number of pixels of an image.

    Returns:
        int32 tensor (2,).

    Raises:
        InvalidArgumentError: if the bytes aren't of one of these formats, or of a JPEG of more than
            `MAX_SCANS` scans; and as `check_size`.

    Example:
        >>> png = tf.io.encode_png(tf.zeros((2, 3, 3), "uint8"))  # doctest: +SKIP
        >>> encoded_size(png, max_pixels=100)  # doctest: +SKIP
        [2 3]
    """
    sizes = [_jpeg_size, _png_size, _gif_size, _bmp_size]
    size = tf.switch_case(_format(data), [lambda f=f: f(data) for f in sizes])
    return check_size(size, max_pixels)


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

    Grey, palette and CMYK images are converted to RGB, 16-bit channels to their upper 8 bits; PNGs
    with an alpha channel are composited on black; of a GIF it is the first frame. An EXIF rotation
    is not applied: labels are for the pixels as stored. JPEGs are decoded with the accurate
    transform, bit by bit as in Pillow.

    Args:
        data: scalar string tensor.

    Returns:
        uint8 tensor (H, W, 3).

    Raises:
        InvalidArgumentError: if the bytes aren't of one of these formats, truncated or broken.
    """
    decoders = [_decode_jpeg, _decode_png, _decode_gif, _decode_bmp]
    pixels = tf.switch_case(_format(data), [lambda f=f: f(data) for f in decoders])
    return tf.ensure_shape(pixels, (None, None, 3))


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


def checked(condition: Tensor, message: Sequence[Any], value: Any) -> Any:
    """Return the value; raise InvalidArgumentError with the message unless a condition holds.

    Args:
        condition: scalar boolean tensor.
        message: strings and scalar string tensors.
        value: tensor, or several in a tuple.
    """
    check = tf.debugging.Assert(condition, [tf.strings.join(message)])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.nest.map_structure(tf.identity, value)


def _format(data: Tensor) -> Tensor:
    """Return the index of an image's format in `FORMATS`; raise InvalidArgumentError if unknown."""
    begins = [tf.strings.substr(data, 0, len(magic)) == magic for magic in _MAGIC]
    message = [
        f"expected the bytes of an image ({', '.join(FORMATS)}), received ",
        tf.strings.as_string(tf.strings.length(data)),
        " bytes of another format",
    ]
    return checked(tf.reduce_any(begins), message, tf.argmax(begins, output_type="int32"))


def _integer(data: Tensor, position: int, dtype: str, big_endian: bool = False) -> Tensor:
    """Return a number in a header, 0 if the bytes end before it."""
    header = tf.strings.join([tf.strings.substr(data, 0, _HEADER), bytes(_HEADER)])
    size = tf.as_dtype(dtype).size
    number = tf.io.decode_raw(
        tf.strings.substr(header, position, size), dtype, little_endian=not big_endian
    )
    return tf.cast(number[0], "int32")


def _jpeg_size(data: Tensor) -> Tensor:
    content = tf.io.decode_raw(data, "uint8")
    is_scan = (content[:-1] == 0xFF) & (content[1:] == 0xDA)
    scans = tf.reduce_sum(tf.cast(is_scan, "int32"))
    message = [f"expected a JPEG of at most {MAX_SCANS} scans, received one of "]
    message.append(tf.strings.as_string(scans))
    return checked(scans <= MAX_SCANS, message, tf.image.extract_jpeg_shape(data)[:2])


def _png_size(data: Tensor) -> Tensor:
    return tf.stack([_integer(data, at, "int32", big_endian=True) for at in (20, 16)])


def _bmp_size(data: Tensor) -> Tensor:
    height, width = (_integer(data, at, "int32") for at in (22, 18))
    bits = _integer(data, 28, "uint16")
    # TensorFlow would read a palette's indices as grey values.
    known = (_integer(data, 14, "int32") >= 40) & ((bits == 24) | (bits == 32))
    message = ["expected a BMP of 24 or 32 bits, received one of ", tf.strings.as_string(bits)]
    return checked(known, message, tf.stack([tf.abs(height), width]))  # upside down if negative


def _gif_size(data: Tensor) -> Tensor:
    _, frame = _first_frame(data)
    canvas = tf.stack([_integer(data, at, "uint16") for at in (8, 6)])
    message = ["expected a GIF whose first frame is no larger than its canvas"]
    return checked(tf.reduce_all(frame <= canvas), message, canvas)


def _first_frame(data: Tensor) -> tuple[Tensor, Tensor]:
    """Return a GIF truncated after its first frame, and that frame's height and width.

    A small file may contain thousands of large frames, and TensorFlow decodes them all.
    """
    stream = tf.concat([tf.io.decode_raw(data, "uint8"), tf.zeros([_HEADER], "uint8")], axis=0)
    end = tf.strings.length(data)

    def at(position: Tensor) -> Tensor:
        return tf.cast(stream[tf.minimum(position, end)], "int32")

    def table(flags: Tensor) -> Tensor:  # the length of a colour table
        return tf.where(flags & 128 > 0, 3 * tf.bitwise.left_shift(2, flags & 7), 0)

    def loop(
        goes_on: Callable[[Tensor], Tensor],
        step: Callable[[Tensor], Tensor],
        position: Tensor,
        times: int,
    ) -> Tensor:
        return tf.while_loop(goes_on, step, (position,), maximum_iterations=times)[0]

    def behind_blocks(position: Tensor) -> Tensor:  # each begins with its length, the last is empty
        return 1 + loop(lambda p: at(p) > 0, lambda p: p + 1 + at(p), position, _MAX_BLOCKS)

    frame = loop(
        lambda p: at(p) == 0x21,
        lambda p: behind_blocks(p + 2),
        13 + table(_integer(data, 10, "uint8")),
        _MAX_EXTENSIONS,
    )
    height, width = (at(frame + n) + 256 * at(frame + n + 1) for n in (7, 5))
    behind = behind_blocks(frame + 11 + table(at(frame + 9)))
    message = ["expected a GIF with a whole frame near its beginning"]
    whole = (at(frame) == 0x2C) & (behind <= end)
    size = checked(whole, message, tf.stack([height, width]))
    return tf.strings.join([tf.strings.substr(data, 0, tf.minimum(behind, end)), b"\x3b"]), size


def _decode_jpeg(data: Tensor) -> Tensor:
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(data: Tensor) -> Tensor:
    """Composite a transparent PNG on black; colour types 4 and 6 have an alpha channel."""

    def on_black() -> Tensor:
        pixels = tf.cast(tf.io.decode_png(data, channels=4), "uint16")
        return tf.cast((pixels[..., :3] * pixels[..., 3:] + 127) // 255, "uint8")

    has_alpha = _integer(data, 25, "uint8") & 4 > 0
    return tf.cond(has_alpha, on_black, lambda: tf.io.decode_png(data, channels=3))


def _decode_gif(data: Tensor) -> Tensor:
    return tf.io.decode_gif(_first_frame(data)[0])[0]


def _decode_bmp(data: Tensor) -> Tensor:
    return tf.io.decode_bmp(data)[..., :3]


def _to_string(values: Tensor) -> Tensor:
    """Return numbers 0-255 as the bytes of a string; TensorFlow has no inverse of `decode_raw`."""
    return tf.strings.reduce_join(
        tf.gather(tf.constant([bytes([i]) for i in range(256)]), tf.cast(values, "int32"))
    )
