import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_dpn.export.images import decode_image, encoded_size, label_png, overlay_png
from keras_dpn.io.images import ImageError, read_image
from tests.keras_dpn.io import zoo

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.tensorflow_only
MAX_PIXELS = 10_000
PIXELS = np.random.default_rng(0).integers(0, 256, (13, 17, 3), "uint8")
RGB = Image.fromarray(PIXELS)
COLORS = [(10, 20, 30), (1, 2, 3), (4, 5, 6)]


def encoded(image, form, **settings):
    stream = io.BytesIO()
    image.save(stream, form, **settings)
    return stream.getvalue()


FILES = {
    "jpeg": encoded(RGB, "JPEG"),
    "progressive": encoded(RGB, "JPEG", progressive=True),
    "grey jpeg": encoded(RGB.convert("L"), "JPEG"),
    "cmyk": encoded(RGB.convert("CMYK"), "JPEG"),
    "png": encoded(RGB, "PNG"),
    "grey png": encoded(RGB.convert("L"), "PNG"),
    "one bit": encoded(RGB.convert("1"), "PNG"),
    "palette": encoded(RGB.quantize(9), "PNG"),
    "alpha": encoded(Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]])), "PNG"),
    "grey alpha": encoded(RGB.convert("LA"), "PNG"),
    "gif": encoded(RGB, "GIF"),
    "frames": encoded(
        RGB, "GIF", save_all=True, append_images=[RGB.rotate(90)], comment=b"x" * 700
    ),
    "bmp": encoded(RGB, "BMP"),
    "bmp 32": encoded(RGB.convert("RGBA"), "BMP"),
}


def chunk(kind, content):
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def with_comments(name, count, blocks):
    """A GIF with that many comments of that many blocks before its first frame."""
    comment = b"\x21\xfe" + blocks * (b"\xff" + bytes(255)) + b"\0"
    return FILES[name][:GIF_FRAME] + count * comment + FILES[name][GIF_FRAME:]


GIF_FRAME = FILES["gif"].index(b"\x2c", 13 + 3 * 256)
TURNED = chunk(b"eXIf", zoo.exif(6)[6:])
ANIMATION = encoded(RGB, "PNG", save_all=True, append_images=[RGB.rotate(90)])
# Files that are larger, or have more parts, than their pixels need.
LONG = {
    "motion photo": FILES["jpeg"] + b"\xff\xda" * 200 + b"\xff\xda\0\2" * 200,
    "profile": encoded(RGB, "JPEG", icc_profile=b"\xff\xda" * 200),
    "fill bytes": FILES["jpeg"][:2] + b"\xff" * 1000 + FILES["jpeg"][2:],
    "EXIF data behind a PNG": FILES["png"] + TURNED,
    "EXIF data behind frames": ANIMATION[:-12] + TURNED + ANIMATION[-12:],
    "zeros behind a PNG": FILES["png"] + bytes(12 * 6000),
    "many comments": with_comments("gif", 20, 300),
}


@pytest.fixture(scope="module")
def decode():
    """What a served graph does with an image."""

    @tf.function(input_signature=[tf.TensorSpec((), "string")], autograph=False)
    def decode(data):
        size = encoded_size(data, MAX_PIXELS)
        with tf.control_dependencies([size]):
            return size, decode_image(tf.identity(data))

    return decode


# Not a test for each file: between tests Keras makes TensorFlow forget its optimised graphs.
def test_pixels_are_those_that_all_others_read(decode):
    for name, data in [*FILES.items(), *LONG.items(), *zoo.served()]:
        expected = read_image(io.BytesIO(data))
        size, pixels = decode(data)
        np.testing.assert_array_equal(size, expected.shape[:2], err_msg=name)
        np.testing.assert_array_equal(pixels, expected, err_msg=name)


def test_images_are_decoded_eagerly_too():
    for name in ("progressive", "palette", "frames", "bmp"):
        expected = read_image(io.BytesIO(FILES[name]))
        data = tf.constant(FILES[name])
        np.testing.assert_array_equal(encoded_size(data, MAX_PIXELS), expected.shape[:2])
        np.testing.assert_array_equal(decode_image(data), expected, err_msg=name)


def test_masks_of_bmp_that_pillow_refuses_are_refused(decode):
    for masks in ((0x7C00, 0x3E0, 0x1F, 0), (0xFF, 0xFF00, 0xFF0000, 0)):
        data = zoo.bmp(np.zeros((4, 4, 4), "uint8"), masks)
        with pytest.raises(tf.errors.InvalidArgumentError, match="compression 3; send it as PNG"):
            decode(data)
        with pytest.raises(ImageError, match="Unsupported BMP bitfields"):
            read_image(io.BytesIO(data))


def resized(name, position, numbers, layout):
    """A file whose header tells another size."""
    content = bytearray(FILES[name])
    struct.pack_into(layout, content, position, *numbers)
    return bytes(content)


def png_of(width, height):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def scans(count):
    """A progressive JPEG whose last scan is repeated."""
    content = FILES["progressive"]
    start = content.rindex(b"\xff\xda")
    missing = count - content.count(b"\xff\xda")
    return content[:-2] + content[start:-2] * missing + content[-2:]


HUGE = "1 to 10000 pixels, received one of 20000 x 20000"
BAD = {
    "empty": (b"", "received 0 bytes of another format"),
    "text": (b"plain text", "received 10 bytes of another format"),
    "tiff": (encoded(RGB, "TIFF"), "of another format"),
    "huge png": (png_of(20000, 20000), HUGE),
    "empty png": (png_of(0, 5), "received one of 0 x 5"),
    "negative png": (png_of(2**32 - 1, 5), "received one of -1 x 5"),
    "huge jpeg": (
        resized("jpeg", FILES["jpeg"].index(b"\xff\xc0") + 5, (20000, 20000), ">HH"),
        HUGE,
    ),
    "huge gif": (resized("gif", 6, (20000, 20000), "<HH"), HUGE),
    "huge frame": (resized("gif", GIF_FRAME + 5, (20000, 20000), "<HH"), HUGE),
    "many scans": (scans(101), "JPEG of at most 100 scans, received one of 101"),
    "narrow png": (
        png_of(1, 1025),
        "65536 pixels, with sides below 64 counted as 64, received one of 1 x 1025",
    ),
    "flat png": (png_of(1025, 1), "counted as 64, received one of 1025 x 1"),
    "huge bmp": (resized("bmp", 18, (20000, -20000), "<ii"), HUGE),
    "least bmp": (resized("bmp", 18, (1, -(2**31)), "<ii"), "1 x -2147483648"),
    "palette bmp": (encoded(RGB.convert("P"), "BMP"), "24 or 32 bits, .*received one of 8 bits"),
    "gif without a frame": (b"GIF89a" + bytes(20), "a whole frame"),
    "many fill bytes": (
        FILES["jpeg"][:2] + b"\xff" * 6000 + FILES["jpeg"][2:],
        "at most 5000 segments, chunks and fill bytes",
    ),
    "many chunks": (
        FILES["png"][:33] + 6000 * chunk(b"teXt", b"") + FILES["png"][33:],
        "at most 5000 segments, chunks and fill bytes",
    ),
    "many blocks": (
        FILES["gif"][:GIF_FRAME]
        + 4 * (b"\x21\xfe" + 1500 * b"\x01a" + b"\0")
        + FILES["gif"][GIF_FRAME:],
        "a whole frame in its first 5000 blocks",
    ),
    "jpeg's first bytes": (b"\xff\xd8\xff", "JPEG"),
    **{f"half a {n}": (FILES[n][: len(FILES[n]) // 2], n) for n in ("jpeg", "png", "gif", "bmp")},
}


def test_what_is_no_image_is_an_error(decode):
    for data, message in BAD.values():
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?i){message}"):
            decode(data)


def test_mutated_files_are_errors_or_images(decode):
    rng, answered = np.random.default_rng(1), 0
    for content in [*FILES.values()] * 4:
        content = bytearray(content)
        for _ in range(3):
            content[rng.integers(len(content))] = rng.integers(256)
        try:
            size, pixels = decode(bytes(content))
        except tf.errors.InvalidArgumentError:
            continue
        assert pixels.shape == (*size.numpy(), 3)
        answered += 1
    assert 0 < answered < 4 * len(FILES)


def test_the_label_png_holds_labels_and_shows_colours():
    for size in ((9, 7), (1, 1)):
        labels = np.random.default_rng(0).integers(0, 3, size).astype("uint8")
        png = label_png(tf.constant(labels), COLORS).numpy()
        Image.open(io.BytesIO(png)).verify()  # its checksums
        image = Image.open(io.BytesIO(png))
        np.testing.assert_array_equal(np.asarray(image), labels)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(COLORS)[labels])
    grey = Image.open(io.BytesIO(label_png(tf.constant(labels)).numpy()))
    assert grey.mode == "L" and (np.asarray(grey) == labels).all()


def test_the_overlay_is_half_image_half_colours():
    labels = np.random.default_rng(0).integers(0, 3, (13, 17)).astype("uint8")
    png = overlay_png(tf.constant(PIXELS), tf.constant(labels), COLORS).numpy()
    expected = np.rint((PIXELS.astype("float32") + np.array(COLORS)[labels]) / 2)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), expected)
