import io

import pytest
from PIL import Image

from keras_dpn.io.formats import file_format, format_of, is_image, is_video, list_visible
from keras_dpn.io.images import ImageError, read_image
from tests.keras_dpn.io import zoo

OTHERS = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG XL": b"\xff\x0a" + bytes(20),
    "JPEG 2000": b"\xff\x4f\xff\x51" + bytes(20),
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(20),
    "DICOM": bytes(128) + b"DICM",
    "Canon RAW": b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom",
}
VIDEOS = {
    "MP4": b"\0\0\0\x18ftypisom\0\0\0\0isommp41",
    "Matroska": b"\x1a\x45\xdf\xa3" + bytes(20),
    "AVI": b"RIFF\0\0\0\0AVI LIST",
    "MPEG-TS": (b"G" + bytes(187)) * 3,
    "MPEG": b"\0\0\x01\xba" + bytes(20),
    "Ogg": b"OggS" + bytes(24) + b"\x80theora",
    "H.264": b"\0\0\0\1\x67\x64",
    "HEVC": b"\0\0\0\1\x40\1\x0c",
    "Y4M": b"YUV4MPEG2 W64 H48 F25:1\n",
    "IVF": b"DKIF\0\0 \0VP90",
}
NOTHING = (b"", b"text", b"BM is a car", b"P3P", b"GGGG", b"\0" * 600, b"RIFF\0\0\0\0WAVEfmt ")


def test_all_images_are_known():
    for name, data in (*zoo.served(), *zoo.converted()):
        found = format_of(data[:512])
        assert found is not None and found.kind == "image", name
        assert found.name == "JPEG" if name == "MPO" else found.name in name, name


def test_others_are_told_apart():
    for name, data in OTHERS.items():
        assert format_of(data) == ("image", name)
    for name, data in VIDEOS.items():
        assert format_of(data) == ("video", name)
    for data in NOTHING:
        assert format_of(data) is None
    assert format_of(b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42") is None, "music"


def test_files_are_told_by_suffix_and_otherwise_by_content(tmp_path):
    for name, data in {
        "a.png": b"",
        "b.mts": b"",
        "c": VIDEOS["MP4"],
        "d.heic": OTHERS["HEIC"],
    }.items():
        (tmp_path / name).write_bytes(data)
    assert is_image(tmp_path / "a.png") and is_image(tmp_path / "d.heic")
    assert is_video(tmp_path / "b.mts") and is_video(tmp_path / "c")
    for name in ("", "none", "none.xyz"):
        assert not is_image(tmp_path / name) and not is_video(tmp_path / name)
    assert is_image(tmp_path / "none.png"), "a missing file is told by its suffix"
    assert file_format(tmp_path / "none") is None
    assert file_format(io.BytesIO(OTHERS["HEIC"])).name == "HEIC"


def test_hidden_files_are_not_listed(tmp_path):
    folder = tmp_path / ".data"
    for name in (
        "b.png",
        "a.png",
        "._a.png",
        "x/c.png",
        "x/._c.png",
        ".git/d.png",
        "__MACOSX/e.png",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert list_visible(folder, "*.png") == [folder / "a.png", folder / "b.png"]
    listed = list_visible(folder, "**/*")
    assert listed == [folder / name for name in ("a.png", "b.png", "x", "x/c.png")]
    assert list_visible(folder / "none") == []


@pytest.mark.parametrize("name", OTHERS)
def test_formats_that_pillow_cannot_read_are_named(tmp_path, name):
    (tmp_path / "a.jpg").write_bytes(OTHERS[name])
    with pytest.raises(ImageError, match=f"a.jpg: can't be read .*{name} file: convert it to PNG"):
        read_image(tmp_path / "a.jpg")


def test_a_video_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(VIDEOS["MP4"])
    with pytest.raises(ImageError, match=r"a.jpg: can't be read .* It is a video \(MP4\)"):
        read_image(tmp_path / "a.jpg")


def test_a_broken_file_of_a_known_format_is_no_other(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(ImageError, match=r"a.png: can't be read as an image \(.*\)\.$"):
        read_image(tmp_path / "a.png")
