"""Image files of all kinds that programs write, generated: format, mode, orientation, size."""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

SIZE = (13, 17)
SIZES = ((1, 1), (1, 9), (24, 2))
EXIF_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
# Upper left corner and steps of the passes of an interlaced PNG.
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
SUFFIXES = {"PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "JPEG": ".jfif"}


def pixels(size=SIZE, seed=0):
    """RGB of smooth colours: in few colours, the same after any format's losses."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*size, 3), "uint8")


def encode(image, form, **settings):
    stream = io.BytesIO()
    image.save(stream, form, **settings)
    return stream.getvalue()


def exif(orientation, big_endian=False):
    """EXIF data with a text before the orientation."""
    order = ">" if big_endian else "<"
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}IH", 8, 2)
    maker = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc\0")
    return (
        b"Exif\0\0" + head + maker + struct.pack(f"{order}HHIHHI", 0x0112, 3, 1, orientation, 0, 0)
    )


def png(array, color_type, depth, chunks=(), interlaced=False):
    """A PNG of any colour type and depth: Pillow writes few."""
    height, width = array.shape[:2]
    parts = [array[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [array]
    values = [row.ravel() for part in parts if part.size for row in part]
    if depth == 16:
        rows = [b"\0" + row.astype(">u2").tobytes() for row in values]
    else:
        bits = [[f"{value:0{depth}b}" for value in row] for row in values]
        rows = [b"\0" + _packed("".join(row)) for row in bits]
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def tiff_in_planes(array, big_endian=False):
    """An uncompressed TIFF of 16 bits whose channels follow one another: Pillow writes none."""
    order = ">" if big_endian else "<"
    height, width, channels = array.shape
    planes = np.moveaxis(array, -1, 0).astype(f"{order}u2").tobytes()
    size = len(planes) // channels
    start = 8 + 2 + 12 * 10 + 4  # behind ten tags
    lists = 10 * channels if channels > 1 else 0  # behind the tags; one value is in its tag
    starts = [start + lists + i * size for i in range(channels)]
    depth, first, length = 16, starts[0], size
    if channels > 1:
        depth, first, length = start, start + 2 * channels, start + 6 * channels
    tags = [(256, width), (257, height), (258, depth), (259, 1), (262, 2 if channels > 1 else 1)]
    tags += [(273, first), (277, channels), (278, height), (279, length), (284, 2)]
    content = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}IH", 8, len(tags))
    for tag, value in tags:
        is_list, is_long = tag in (258, 273, 279), tag in (273, 279)
        count = channels if is_list else 1
        content += struct.pack(f"{order}HHI", tag, 4 if is_long else 3, count)
        is_wide = is_long or count > 1
        content += (
            struct.pack(f"{order}I", value) if is_wide else struct.pack(f"{order}HH", value, 0)
        )
    content += struct.pack(f"{order}I", 0)
    if lists:
        values = [16] * channels, starts, [size] * channels
        content += struct.pack(f"{order}{channels}H{2 * channels}I", *itertools.chain(*values))
    return content + planes


def bmp(array, masks, header=56):
    """A BMP of 32 bits whose channels are where the masks are."""
    height, width = array.shape[:2]
    shifts = [(mask & -mask).bit_length() - 1 if mask else 0 for mask in masks]
    words = sum(
        (array[..., i].astype("uint32") << shift) * bool(mask)
        for i, (mask, shift) in enumerate(zip(masks, shifts, strict=True))
    )
    facts = struct.pack("<IiiHHIIiiII", header, width, height, 1, 32, 3, words.nbytes, 0, 0, 0, 0)
    facts += struct.pack("<4I", *masks)[: 16 if header >= 56 else 12]
    facts = facts.ljust(max(header, 52), b"\0")
    start = 14 + len(facts)
    return (
        b"BM"
        + struct.pack("<IHHI", start + words.nbytes, 0, 0, start)
        + facts
        + words[::-1].astype("<u4").tobytes()
    )


def gif_on_canvas(frame, canvas, corner, **settings):
    """A GIF whose frame is smaller than its canvas, at (left, top) of it."""
    content = bytearray(encode(Image.fromarray(frame).quantize(16), "GIF", **settings))
    struct.pack_into("<HH", content, 6, canvas[1], canvas[0])
    place = content.index(b"\x2c", 13 + 3 * (2 << (content[10] & 7)))
    struct.pack_into("<HH", content, place + 1, *corner)
    return bytes(content)


def served() -> Iterator[tuple[str, bytes]]:
    """Files that a served graph decodes, with a name for each."""
    rgb = Image.fromarray(pixels())
    alpha = pixels(seed=1)[..., :1]
    few = pixels() % 4
    for form, settings in {
        "JPEG": {"subsampling": 2},
        "progressive JPEG": {"progressive": True, "quality": 90},
        "PNG": {},
        "GIF": {},
        "BMP": {},
    }.items():
        for size in (SIZE, *SIZES):
            data = encode(Image.fromarray(pixels(size)), form.split()[-1], **settings)
            yield f"{form} {size}", data
    for orientation in range(9):
        for big in (False, True):
            facts = exif(orientation, big)
            yield f"JPEG turned {orientation} {big}", encode(rgb, "JPEG", exif=facts)
            yield f"PNG turned {orientation} {big}", encode(rgb, "PNG", exif=facts)
    yield "JPEG with EXIF cut off", encode(rgb, "JPEG", exif=exif(6)[:-20])
    yield "JPEG with other EXIF", encode(rgb, "JPEG", exif=b"Exif\0\0" + bytes(30))
    yield "MPO", encode(rgb, "MPO", save_all=True, append_images=[rgb], exif=exif(8))
    yield "grey JPEG", encode(rgb.convert("L"), "JPEG")
    cmyk = Image.fromarray(np.dstack([pixels(), alpha]), "CMYK")
    adobe = encode(cmyk, "JPEG", quality=95)
    place = adobe.index(b"\xff\xee")
    yield "CMYK JPEG", adobe
    yield "CMYK JPEG without Adobe", adobe[:place] + adobe[place + 16 :]
    yield "YCCK JPEG", adobe[: place + 15] + b"\2" + adobe[place + 16 :]
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        image = rgb.convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype("uint16") * 200)
        if mode == "RGBA":
            image.putalpha(Image.fromarray(alpha[..., 0]))
        yield f"{mode} PNG", encode(image, "PNG")
    palette = rgb.quantize(9)
    yield "PNG with one transparent entry", encode(palette, "PNG", transparency=3)
    yield "PNG with alpha per entry", encode(palette, "PNG", transparency=bytes(range(0, 180, 20)))
    yield (
        "RGB PNG with a transparent colour",
        png(few, 2, 8, [(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))]),
    )
    for depth in (1, 2, 4, 8, 16):
        grey = pixels()[..., 0].astype(int) % 2 ** min(depth, 3) * (257 if depth == 16 else 1)
        key = struct.pack(">H", 257 if depth == 16 else 1)
        yield f"grey PNG of {depth} bits", png(grey, 0, depth)
        yield f"grey PNG of {depth} bits, one transparent", png(grey, 0, depth, [(b"tRNS", key)])
        if depth <= 8:
            table = (b"PLTE", pixels((1, 8), seed=2).tobytes()[: 3 * 2 ** min(depth, 3)])
            yield f"palette PNG of {depth} bits", png(grey, 3, depth, [table])
    deep = np.dstack([pixels(), alpha]).astype(int) * 256 + 130
    yield "RGB PNG of 16 bits", png(deep[..., :3], 2, 16)
    key = deep[2, 3, :3].astype(">u2").tobytes()
    yield "RGB PNG of 16 bits, one transparent", png(deep[..., :3], 2, 16, [(b"tRNS", key)])
    yield "grey PNG of 16 bits with alpha", png(deep[..., 2:], 4, 16)
    yield "RGBA PNG of 16 bits", png(deep, 6, 16)
    yield "interlaced PNG", png(pixels(), 2, 8, interlaced=True)
    yield "interlaced GIF", encode(Image.fromarray(pixels((20, 24))), "GIF", interlace=1)
    upside_down = bytearray(encode(rgb, "BMP"))
    struct.pack_into("<i", upside_down, 22, -SIZE[0])
    yield "BMP whose first row is the upper one", bytes(upside_down)
    yield "animated PNG", encode(rgb, "PNG", save_all=True, append_images=[rgb.rotate(90)])
    yield "animated GIF", encode(rgb, "GIF", save_all=True, append_images=[rgb.rotate(90)])
    yield "GIF with one transparent colour", encode(palette, "GIF", transparency=2)
    yield "grey GIF", encode(rgb.convert("L"), "GIF")
    for corner in ((0, 0), (3, 2), (4, 7), (9, 9)):
        frame = pixels((6, 9))
        yield f"GIF at {corner} of its canvas", gif_on_canvas(frame, SIZE, corner)
    yield "GIF larger than its canvas", gif_on_canvas(pixels(), (3, 4), (1, 2))
    transparent = gif_on_canvas(pixels((6, 9)), SIZE, (2, 1), transparency=1)
    yield "transparent GIF on a canvas", transparent
    yield "RGBA BMP", encode(Image.fromarray(np.dstack([pixels(), alpha])), "BMP")
    rgba = np.dstack([pixels(), alpha])
    for masks in (
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    ):
        yield f"BMP with masks {masks}", bmp(rgba, masks)
    yield "BMP with masks, short header", bmp(rgba, (0xFF0000, 0xFF00, 0xFF, 0), header=40)


def converted() -> Iterator[tuple[str, bytes]]:
    """Files that a client converts before it sends them."""
    rgb = Image.fromarray(pixels())
    grey, rgba = rgb.convert("L"), rgb.copy()
    rgba.putalpha(Image.fromarray(pixels(seed=1)[..., 0]))
    yield "RGB WebP", encode(rgb, "WEBP", lossless=True, exif=exif(6))
    yield "RGBA WebP", encode(rgba, "WEBP", lossless=True, exact=True)
    yield "AVIF", encode(rgb, "AVIF", exif=exif(6))
    yield "RGBA AVIF", encode(rgba, "AVIF")
    for orientation in (1, 3, 6):
        yield f"TIFF turned {orientation}", encode(rgb, "TIFF", tiffinfo={0x0112: orientation})
        yield (
            f"grey TIFF turned {orientation}",
            encode(grey, "TIFF", tiffinfo={0x0112: orientation}),
        )
    yield "CMYK TIFF", encode(rgb.convert("CMYK"), "TIFF")
    yield "TIFF of 16 bits", encode(Image.fromarray(np.asarray(grey).astype("uint16") * 99), "TIFF")
    deep = pixels().astype(int) * 256 + 130
    yield "RGB TIFF of 16 bits in planes", tiff_in_planes(deep)
    yield "RGBA TIFF", encode(rgba, "TIFF")
    for image in (rgb, grey, grey.convert("1")):
        yield f"{image.mode} PNM", encode(image, "PPM")
    yield "grey BMP", encode(grey, "BMP")
    yield "palette BMP", encode(rgb.quantize(9), "BMP")


def _packed(bits: str) -> bytes:
    """Bits as bytes, filled up with zeros."""
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
