"""Tell images, videos and other files apart: by suffix, otherwise by the first bytes."""

import os
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from keras_dpn.io import IMAGE_SUFFIXES, VIDEO_SUFFIXES

Kind = Literal["image", "video"]
HEADER_BYTES = 512  # more than any signature below needs


class FileFormat(NamedTuple):
    """The format of a file by its first bytes: its kind and its usual name."""

    kind: Kind
    name: str


_SIGNATURES: tuple[tuple[int, bytes, Kind, str], ...] = (
    (0, b"\xff\xd8\xff", "image", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "image", "PNG"),
    (0, b"GIF8", "image", "GIF"),
    (0, b"II*\0", "image", "TIFF"),
    (0, b"MM\0*", "image", "TIFF"),
    (0, b"II+\0", "image", "BigTIFF"),
    (0, b"MM\0+", "image", "BigTIFF"),
    (0, b"8BPS", "image", "Photoshop"),
    (0, b"%!PS", "image", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "image", "PostScript"),
    (0, b"\x76\x2f\x31\x01", "image", "OpenEXR"),
    (0, b"#?RADIANCE", "image", "Radiance HDR"),
    (0, b"\0\0\x01\0", "image", "ICO"),
    (0, b"DDS ", "image", "DDS"),
    (0, b"qoif", "image", "QOI"),
    (0, b"gimp xcf", "image", "GIMP"),
    (0, b"SIMPLE  =", "image", "FITS"),
    (128, b"DICM", "image", "DICOM"),
    (0, b"FUJIFILMCCD-RAW", "image", "Fujifilm RAW"),
    (0, b"IIRO", "image", "Olympus RAW"),
    (0, b"IIU\0", "image", "Panasonic RAW"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "image", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "image", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "image", "JPEG XL"),
    (0, b"\xff\x0a", "image", "JPEG XL"),
    (0, b"\x1a\x45\xdf\xa3", "video", "Matroska"),
    (0, b"\0\0\x01\xba", "video", "MPEG"),
    (0, b"\0\0\x01\xb3", "video", "MPEG"),
    (0, b"FLV\x01", "video", "FLV"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video", "WMV"),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "video", "MXF"),
    (0, b"\x1f\x07\0", "video", "DV"),
    (4, b"moov", "video", "QuickTime"),
    (4, b"mdat", "video", "QuickTime"),
    (0, b"YUV4MPEG2 ", "video", "Y4M"),
    (0, b"DKIF", "video", "IVF"),
    (0, b".RMF", "video", "RealMedia"),
    (0, b"nut/multimedia container\0", "video", "NUT"),
    *((0, b"\0\0\0\1" + unit, "video", "H.264") for unit in (b"\x09", b"\x27", b"\x67")),
    *((0, b"\0\0\0\1" + unit, "video", "HEVC") for unit in (b"\x40\1", b"\x42\1", b"\x46\1")),
    (28, b"\x01video", "video", "Ogg"),
    (28, b"\x80theora", "video", "Ogg"),
)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AUDIO_BRANDS = {b"M4A ", b"M4B ", b"M4P "}
# Lengths of the headers of BMP files, from OS/2's to version 5.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}


def format_of(header: bytes) -> FileFormat | None:
    r"""Return a file's format by its first bytes; None for anything but images and videos.

    Args:
        header: the first `HEADER_BYTES` bytes, or all if there are fewer.

    Example:
    >>> format_of(b"\x89PNG\r\n\x1a\n...")
    FileFormat(kind='image', name='PNG')
    """
    for offset, signature, kind, name in _SIGNATURES:
        if header[offset:].startswith(signature):
            return FileFormat(kind, name)
    if header[4:8] == b"ftyp":
        return _iso_format(header)
    if header[:4] == b"RIFF":
        riff: dict[bytes, FileFormat] = {
            b"WEBP": FileFormat("image", "WebP"),
            b"AVI ": FileFormat("video", "AVI"),
        }
        return riff.get(header[8:12])
    if header[:2] == b"BM" and int.from_bytes(header[14:18], "little") in _BMP_HEADERS:
        return FileFormat("image", "BMP")
    if header[:1] == b"P" and header[1:2] in b"1234567Ff" and header[2:3].isspace():
        return FileFormat("image", "PNM")
    # Packets of a transport stream have 188 bytes and begin with G; Blu-ray puts 4 bytes before.
    if b"GGG" in (header[0:377:188], header[4:389:192]):
        return FileFormat("video", "MPEG-TS")
    return None


def file_format(source: Path | BinaryIO) -> FileFormat | None:
    """Return the format of a file, or of a binary stream, by its first bytes.

    Returns:
        None for anything but images and videos, and for a file that can't be read.
    """
    try:
        if isinstance(source, (str, os.PathLike)):
            with Path(source).open("rb") as stream:
                return format_of(stream.read(HEADER_BYTES))
        source.seek(0)
        return format_of(source.read(HEADER_BYTES))
    except OSError:
        return None


def list_visible(folder: Path, pattern: str = "*") -> list[Path]:
    """Return what a directory holds that matches a pattern, sorted, without hidden files.

    Hidden is what has a name that begins with a dot, or lies below one: macOS writes `._a.png` next
    to `a.png` on the file systems of others, and the directory `__MACOSX` into archives.
    """
    return sorted(
        path
        for path in folder.glob(pattern)
        if not any(
            part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts
        )
    )


def is_image(path: Path) -> bool:
    """Return whether a file is an image, perhaps of a format that `read_image` can't read."""
    return _kind(path) == "image"


def is_video(path: Path) -> bool:
    """Return whether a file is a video."""
    return _kind(path) == "video"


def _kind(path: Path) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    found = file_format(path) if path.is_file() else None
    return found.kind if found else None


def _iso_format(header: bytes) -> FileFormat | None:
    """Return the format of an ISO base media file by its brands."""
    length = min(int.from_bytes(header[:4], "big"), len(header))
    major, *others = (header[at : at + 4] for at in (8, *range(16, length, 4)))
    if major in (b"avif", b"avis") or (major in _HEIF_BRANDS and b"avif" in others):
        return FileFormat("image", "AVIF")
    if major in _HEIF_BRANDS:
        return FileFormat("image", "HEIC")
    if major == b"crx ":
        return FileFormat("image", "Canon RAW")
    return None if major in _AUDIO_BRANDS else FileFormat("video", "MP4")
