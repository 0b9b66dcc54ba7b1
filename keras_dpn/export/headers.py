"""Headers of image files in TensorFlow operations: sizes, orientation, transparency, masks.

Every function takes the bytes of a file, a scalar string tensor, and reads zeros behind its end.
Invalid files raise InvalidArgumentError.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from keras_dpn.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

# Segments, chunks and blocks of a file that are looked at, each in tens of microseconds: a small
# file of many tiny ones would keep a server busy. Large files have more: see `_max_parts`.
_MIN_PARTS, _MAX_PARTS = 5_000, 100_000
# Bytes of a part on average. Encoders write PNG chunks of 8 KiB and more, and GIF blocks of 255;
# XMP data in a GIF are text, whose characters are taken for the blocks' lengths.
_PART_BYTES, _BLOCK_BYTES = 1024, 64
_MAX_ENTRIES = 1024  # of an EXIF directory
# Red, green, blue and alpha of BMP files with masks, those that Pillow reads.
_HIGH = -(2**24)  # 0xFF000000 as int32
_BMP_MASKS = (
    (0xFF0000, 0xFF00, 0xFF, 0),
    (0xFF0000, 0xFF00, 0xFF, _HIGH),
    (0xFF, 0xFF00, 0xFF0000, _HIGH),
    (_HIGH, 0xFF0000, 0xFF00, 0),
    (_HIGH, 0xFF0000, 0xFF00, 0xFF),
)


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


def bytes_at(data: Tensor, position: Tensor | int, count: int) -> Tensor:
    """Return bytes of a file as int32 (count,)."""
    start = tf.clip_by_value(position, 0, tf.strings.length(data))
    part = tf.strings.join([tf.strings.substr(data, start, count), bytes(count)])
    digits = tf.io.decode_raw(tf.strings.substr(part, 0, count), "uint8")
    return tf.cast(tf.ensure_shape(digits, (count,)), "int32")


def integer(data: Tensor, position: Tensor | int, size: int, is_little: Tensor | bool) -> Tensor:
    """Return an unsigned number of 1 to 4 bytes as int32; one of 2**31 or more is negative."""
    digits = bytes_at(data, position, size)
    shifts = tf.range(0, 8 * size, 8)
    shifts = tf.where(is_little, shifts, shifts[::-1])
    return tf.reduce_sum(tf.bitwise.left_shift(digits, shifts))


class _Position(NamedTuple):
    """A place in a file, and where two parts begin that were found before it; 0: not found."""

    here: Tensor
    first: Tensor
    second: Tensor


def _max_parts(data: Tensor, size: int) -> Tensor:
    """Return how many parts of a file are looked at, if they have `size` bytes on average."""
    return tf.clip_by_value(tf.strings.length(data) // size, _MIN_PARTS, _MAX_PARTS)


def _walk(
    data: Tensor,
    start: int,
    goes_on: Callable[[Tensor], Tensor],
    step: Callable[[_Position], _Position],
) -> _Position:
    """Step from part to part of a file; raise InvalidArgumentError if it has too many."""
    zero, parts = tf.constant(0), _max_parts(data, _PART_BYTES)
    last = tf.while_loop(
        lambda place: goes_on(place.here),
        lambda place: (step(place),),
        (_Position(tf.constant(start), zero, zero),),
        maximum_iterations=parts,
    )[0]
    message = ["expected an image of at most ", tf.strings.as_string(parts)]
    message.append(" segments, chunks and fill bytes, received one of more")
    return checked(~goes_on(last.here), message, last)


# === JPEG ===


def jpeg_parts(data: Tensor) -> tuple[Tensor, Tensor]:
    """Return where a JPEG's EXIF data begin, 0 if nowhere, and whether it has Adobe's segment."""
    end = tf.strings.length(data)

    def goes_on(here: Tensor) -> Tensor:
        mark, kind = tf.unstack(bytes_at(data, here, 2))
        return (here < end) & (mark == 0xFF) & (kind != 0xDA) & (kind != 0xD9)

    def step(place: _Position) -> _Position:
        here, exif, adobe = place
        kind = bytes_at(data, here + 1, 1)[0]
        name = tf.strings.substr(data, tf.minimum(here + 4, end), 6)
        is_exif = (kind == 0xE1) & (name == b"Exif\0\0") & (exif == 0)
        is_adobe = (kind == 0xEE) & (tf.strings.substr(name, 0, 5) == b"Adobe")
        # 0xFF before a marker fills space.
        following = tf.where(kind == 0xFF, here + 1, here + 2 + integer(data, here + 2, 2, False))
        exif = tf.where(is_exif, here + 10, exif)
        return _Position(following, exif, tf.where(is_adobe, here, adobe))

    _, exif, adobe = _walk(data, 2, goes_on, step)
    return exif, adobe > 0


# === PNG ===


def png_parts(data: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the contents of a PNG's chunks tRNS and eXIf begin, 0 if there are none."""
    end = tf.strings.length(data)

    def step(place: _Position) -> _Position:
        here, transparency, exif = place
        length = integer(data, here, 4, False)
        kind = tf.strings.substr(data, tf.minimum(here + 4, end), 4)
        # A negative length would lead back. Pillow reads no EXIF data behind the first frame.
        is_last = (length < 0) | (kind == b"IEND") | (kind == b"fdAT")
        following = tf.where(is_last, end, here + 12 + tf.minimum(length, end))
        return _Position(
            following,
            tf.where(kind == b"tRNS", here + 8, transparency),
            tf.where(kind == b"eXIf", here + 8, exif),
        )

    _, transparency, exif = _walk(data, 8, lambda here: here < end, step)
    return transparency, exif


def png_transparent_value(data: Tensor, transparency: Tensor) -> Tensor:
    """Return the transparent colour of a PNG without alpha channel or palette, int32 (3,), 0-255.

    Args:
        data: the file.
        transparency: where its chunk tRNS begins.
    """
    depth, kind = tf.unstack(bytes_at(data, 24, 2))
    stored = tf.reshape(bytes_at(data, transparency, 6), (3, 2))
    upper, lower = tf.unstack(tf.where(kind == 0, stored[:1], stored), axis=1)
    # Grey of fewer than 8 bits is stretched to 0..255.
    few = tf.minimum(depth, 8)
    stretched = lower * 255 // (tf.bitwise.left_shift(1, few) - 1)
    return tf.where(depth == 16, upper, stretched)


# === EXIF ===


def orientation(data: Tensor, exif: Tensor) -> Tensor:
    """Return the orientation 1..8 in EXIF data, as `keras_dpn.io.images.orientation_of`.

    Args:
        data: the file.
        exif: where TIFF's header begins in it; 0: nowhere, the image is upright.
    """
    magic = tf.strings.substr(data, tf.minimum(exif, tf.strings.length(data)), 4)
    is_little = magic == b"II*\0"

    def search() -> Tensor:
        start = exif + integer(data, exif + 4, 4, is_little)
        count = tf.minimum(integer(data, start, 2, is_little), _MAX_ENTRIES)
        entries = tf.reshape(bytes_at(data, start + 2, 12 * _MAX_ENTRIES), (-1, 12))[:count]
        order = tf.where(is_little, [0, 1], [1, 0])
        weights = tf.constant([1, 256])
        tags = tf.reduce_sum(tf.gather(entries[:, 0:2], order, axis=1) * weights, axis=1)
        values = tf.reduce_sum(tf.gather(entries[:, 8:10], order, axis=1) * weights, axis=1)
        found = tf.concat([values[tags == 0x0112], [1]], axis=0)[0]
        return tf.where((found >= 1) & (found <= 8), found, 1)

    known = (exif > 0) & (is_little | (magic == b"MM\0*"))
    return tf.cond(known, search, lambda: tf.constant(1))


# === BMP ===


def bmp_channels(data: Tensor) -> Tensor:
    """Return which of the channels that TensorFlow decodes hold red, green, blue and alpha.

    Returns:
        int32 (4,): 0..3 each, 4 for a channel that isn't stored.

    Raises:
        InvalidArgumentError: unless the file has 24 bits, or 32 bits of whole bytes, uncompressed:
            TensorFlow would read palettes and others as colours.
    """
    header, bits = integer(data, 14, 4, True), integer(data, 28, 2, True)
    compression = integer(data, 30, 4, True)
    masks = tf.stack([integer(data, at, 4, True) for at in (54, 58, 62, 66)])
    masks = tf.where((header >= 56) | (tf.range(4) < 3), masks, 0)  # older ones have no alpha
    # TensorFlow returns a file's bytes blue, green, red, alpha as red, green, blue, alpha.
    whole = tf.constant([0xFF0000, 0xFF00, 0xFF, _HIGH])
    matches = masks[:, None] == whole
    channels = tf.where(
        tf.reduce_any(matches, axis=1), tf.argmax(matches, axis=1, output_type="int32"), 4
    )
    has_masks = compression == 3
    fits = tf.reduce_any(tf.reduce_all(masks == _BMP_MASKS, axis=1))
    known = (header >= 40) & tf.where(
        has_masks, (bits == 32) & fits, (compression == 0) & ((bits == 24) | (bits == 32))
    )
    message = [
        "expected a BMP of 24 or 32 bits, uncompressed, with a whole byte per channel, received ",
        *("one of ", tf.strings.as_string(bits), " bits with compression "),
        *(tf.strings.as_string(compression), "; send it as PNG"),
    ]
    return checked(known, message, tf.where(has_masks, channels, [0, 1, 2, 4]))


# === GIF ===


class GifFrame(NamedTuple):
    """The first frame of a GIF.

    Attributes:
        data: the file truncated after it, which has this frame alone, at its upper left corner.
        top, left, height, width: its place on the canvas.
    """

    data: Tensor
    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def first_frame(data: Tensor) -> GifFrame:
    """Return the first frame of a GIF.

    A small file may contain thousands of large frames, and TensorFlow decodes them all, each
    truncated to the size of the largest.
    """
    padding = tf.zeros([16], "uint8")
    stream = tf.concat([tf.io.decode_raw(data, "uint8"), padding], axis=0)
    end = tf.strings.length(data)

    def at(position: Tensor) -> Tensor:
        return tf.cast(stream[tf.minimum(position, end)], "int32")

    def table(flags: Tensor) -> Tensor:  # the length of a colour table
        return tf.where(flags & 128 > 0, 3 * tf.bitwise.left_shift(2, flags & 7), 0)

    # Each block begins with its length, the last is empty. `rest` counts the parts down.
    def behind_blocks(position: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        last, rest = tf.while_loop(
            lambda p, rest: (at(p) > 0) & (rest > 0),
            lambda p, rest: (p + 1 + at(p), rest - 1),
            (position, rest),
        )
        return last + 1, rest

    parts = _max_parts(data, _BLOCK_BYTES)
    frame, rest = tf.while_loop(  # over the extensions before it
        lambda p, rest: (at(p) == 0x21) & (rest > 0),
        lambda p, rest: behind_blocks(p + 2, rest - 1),
        (13 + table(bytes_at(data, 10, 1)[0]), parts),
    )
    left, top, width, height = (at(frame + n) + 256 * at(frame + n + 1) for n in (1, 3, 5, 7))
    behind, rest = behind_blocks(frame + 11 + table(at(frame + 9)), rest)
    message = ["expected a GIF with a whole frame in its first ", tf.strings.as_string(parts)]
    message.append(" blocks")
    whole = (at(frame) == 0x2C) & (behind <= end) & (rest > 0)
    place = checked(whole, message, (top, left, height, width))
    start, stop = tf.minimum(frame + 1, end), tf.minimum(behind, end)
    size = tf.minimum(frame + 5, stop)  # where its width and height begin
    content = tf.strings.substr(data, size, stop - size)
    alone = tf.strings.join([tf.strings.substr(data, 0, start), bytes(4), content, b"\x3b"])
    return GifFrame(alone, *place)
