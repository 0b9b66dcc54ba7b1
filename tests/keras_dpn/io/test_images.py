import os

import numpy as np
import pytest
from PIL import Image, ImageFile

from keras_dpn.io.images import ImageError, open_header, orientation_of, read_image, to_rgb
from tests.keras_dpn.io import zoo
from tests.keras_dpn.io.samples import png, save

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), "uint8")


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.ppm"])
def test_lossless_formats(tmp_path, name):
    np.testing.assert_array_equal(read_image(save(tmp_path, PIXELS, name)), PIXELS)


def test_jpeg_and_gif_of_one_color(tmp_path):
    pixels = np.full((8, 8, 3), (200, 100, 50), "uint8")
    for name in ("x.jpg", "x.gif"):
        image = read_image(save(tmp_path, pixels, name))
        np.testing.assert_allclose(image.astype(int), pixels, atol=3)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey(tmp_path, mode):
    grey = np.array([[0, 255], [255, 0]], "uint8")
    expected = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(read_image(save(tmp_path, grey, mode=mode)), expected)


def test_palette(tmp_path):
    pixels = np.array([[[255, 0, 0], [0, 0, 255]]], "uint8")
    path = save(tmp_path, pixels, mode="P")
    assert Image.open(path).mode == "P"
    np.testing.assert_array_equal(read_image(path), pixels)


def test_alpha_is_composited_on_black(tmp_path):
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0]]], "uint8")
    expected = [[[200, 100, 50], [0, 0, 0]]]
    np.testing.assert_array_equal(read_image(save(tmp_path, rgba)), expected)


def test_cmyk(tmp_path):
    cmyk = Image.new("CMYK", (2, 1), (0, 255, 255, 0))
    cmyk.save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), [[[255, 0, 0]] * 2])


def test_sixteen_bit_grey_is_scaled(tmp_path):
    path = save(tmp_path, np.array([[0, 257, 32896, 65535]], "uint16"))
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [0, 1, 128, 255])


def test_sixteen_bit_color_is_scaled(tmp_path):
    values = np.array([[0, 257, 65535], [65535, 0, 32896]], ">u2")
    path = tmp_path / "x.png"
    path.write_bytes(png(2, 1, depth=16, color_type=2, rows=b"\0" + values.tobytes()))
    np.testing.assert_array_equal(read_image(path), [[[0, 1, 255], [255, 0, 128]]])


def test_thirty_two_bit_beyond_sixteen_is_an_error(tmp_path):
    path = save(tmp_path, np.array([[0, 70000]], "int32"), "x.tif")
    with pytest.raises(ImageError, match=r"x.tif: expected grey values .* received 0..70000"):
        read_image(path)


def test_sixteen_bit_grey_whose_zero_is_white(tmp_path):
    path = save(tmp_path, np.array([[0, 257, 65535]], "uint16"), "x.tif", tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [255, 254, 0])


@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bit_channels_that_follow_one_another(tmp_path, big_endian):
    deep = PIXELS.astype(int) * 256 + 130
    for channels in (1, 3):
        (tmp_path / "x.tif").write_bytes(zoo.tiff_in_planes(deep[..., :channels], big_endian))
        expected = np.broadcast_to(PIXELS[..., :channels], PIXELS.shape)
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), expected)


def test_a_thumbnail_is_not_the_image(tmp_path):
    """Cameras' RAW files that are TIFFs begin with one, which Pillow takes for the image."""
    path = save(tmp_path, PIXELS, "x.tif", tiffinfo={254: 1})
    with pytest.raises(ImageError, match=r"x.tif: its first image is a thumbnail, .* Convert it"):
        read_image(path)


def test_float_is_an_error(tmp_path):
    path = save(tmp_path, np.zeros((2, 2), "float32"), "x.tif")
    with pytest.raises(ImageError, match="x.tif: .*floats"):
        read_image(path)


def test_cmyk_is_rounded_down(tmp_path):
    pixel = np.array([[[10, 100, 200, 99]]], "uint8")
    Image.fromarray(pixel, "CMYK").save(tmp_path / "x.tif")
    expected = [(255 - ink) * (255 - 99) // 255 for ink in (10, 100, 200)]
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), [[expected]])


def test_transparent_colours_are_black(tmp_path):
    palette = Image.fromarray(np.array([[0, 1, 2]], "uint8"))
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.save(tmp_path / "p.png", transparency=1)
    expected = [[[10, 20, 30], [0, 0, 0], [70, 80, 90]]]
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), expected)
    (tmp_path / "g.png").write_bytes(
        zoo.png(np.array([[0, 1, 3]]), color_type=0, depth=2, chunks=[(b"tRNS", b"\0\1")])
    )
    np.testing.assert_array_equal(read_image(tmp_path / "g.png")[0, :, 0], [0, 0, 255])
    deep = np.array([[[258, 515, 772], [1, 2, 3]]])
    key = deep[0, 0].astype(">u2").tobytes()
    (tmp_path / "d.png").write_bytes(zoo.png(deep, 2, 16, [(b"tRNS", key)]))
    np.testing.assert_array_equal(read_image(tmp_path / "d.png"), [[[0, 0, 0], [0, 0, 0]]])


def test_a_gif_has_the_size_of_its_canvas(tmp_path):
    frame = np.full((2, 3, 3), (200, 100, 50), "uint8")
    (tmp_path / "x.gif").write_bytes(zoo.gif_on_canvas(frame, (5, 6), (1, 2)))
    expected = np.zeros((5, 6, 3), "uint8")
    expected[2:4, 1:4] = 200, 100, 50
    np.testing.assert_array_equal(read_image(tmp_path / "x.gif"), expected)


def test_a_later_frame_of_a_gif_is_drawn_over_those_before(tmp_path):
    first = Image.new("RGB", (60, 40), (200, 10, 10))
    second = first.copy()
    second.paste((0, 255, 0), (10, 10, 20, 20))
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    with Image.open(tmp_path / "x.gif") as image:
        image.seek(1)
        np.testing.assert_array_equal(to_rgb(image, "it"), np.asarray(second))
        image.seek(0)
        np.testing.assert_array_equal(to_rgb(image, "it"), np.asarray(first))


def test_masks_of_bmp_say_where_channels_are(tmp_path):
    pixel = np.array([[[10, 20, 30, 255]]], "uint8")
    (tmp_path / "x.bmp").write_bytes(zoo.bmp(pixel, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)))
    np.testing.assert_array_equal(read_image(tmp_path / "x.bmp"), [[[10, 20, 30]]])


@pytest.mark.parametrize("big_endian", [False, True])
def test_exif_rotation_by_hand(tmp_path, big_endian):
    """Where the pixel of the upper left corner, (0, 0) of 2x3, goes to."""
    corners = ((0, 0), (0, 2), (1, 2), (1, 0), (0, 0), (0, 1), (2, 1), (2, 0))
    pixels = np.zeros((2, 3, 3), "uint8")
    pixels[0, 0] = 255
    for orientation, corner in enumerate(corners, start=1):
        path = save(tmp_path, pixels, exif=zoo.exif(orientation, big_endian))
        image = read_image(path)
        assert image.shape == ((2, 3, 3) if orientation < 5 else (3, 2, 3))
        assert [*zip(*np.nonzero(image[..., 0]), strict=True)] == [corner], orientation
    for wrong in (0, 9, 65535):
        assert orientation_of(zoo.exif(wrong, big_endian)) == 1
    assert orientation_of(b"") == orientation_of(zoo.exif(6)[:30]) == 1


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16"])
def test_uncompressed_tiffs_are_turned(tmp_path, mode):
    """Pillow maps such files into memory, with height and width exchanged."""
    image = Image.fromarray(PIXELS).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype("uint16") << 8)
    image.save(tmp_path / "upright.tif")
    image.save(tmp_path / "x.tif", tiffinfo={0x0112: 6})
    expected = np.rot90(read_image(tmp_path / "upright.tif"), -1)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), expected)
    with Image.open(tmp_path / "x.tif") as opened:
        np.testing.assert_array_equal(to_rgb(opened, "it"), expected)
        assert opened.filename == str(tmp_path / "x.tif")


def test_turning_a_pillow_image_twice_changes_nothing(tmp_path):
    path = save(tmp_path, PIXELS, exif=zoo.exif(6))
    with Image.open(path) as image:
        first, second = to_rgb(image, "it"), to_rgb(image, "it")
    np.testing.assert_array_equal(first, read_image(path))
    np.testing.assert_array_equal(second, first)


def test_exif_rotation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: to be shown rotated by 90 degrees clockwise
    path = save(tmp_path, PIXELS, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_truncated(tmp_path, name):
    path = save(tmp_path, np.tile(PIXELS, (20, 20, 1)), name)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ImageError, match=f"{name}: can't be read"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"not an image"])
def test_no_image(tmp_path, data):
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(ImageError, match="x.jpg: can't be read"):
        read_image(tmp_path / "x.jpg")


def test_missing(tmp_path):
    with pytest.raises(ImageError, match="x.png: no such file"):
        read_image(tmp_path / "x.png")
    with pytest.raises(ImageError, match=f"{tmp_path}: expected an image, received a directory"):
        read_image(tmp_path)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "x.png")  # to open it would wait for another program for ever
    for read in (read_image, open_header):
        with pytest.raises(ImageError, match="x.png: no such file"):
            read(tmp_path / "x.png")


def test_empty_image_is_an_error(tmp_path):
    (tmp_path / "x.png").write_bytes(png(0, 4, depth=8, color_type=0, rows=b"\0" * 4))
    (tmp_path / "x.ppm").write_bytes(b"P6 0 4 255\n")
    for name in ("x.png", "x.ppm"):
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / name)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16"])
def test_pillow_images_become_what_their_files_become(tmp_path, mode):
    pixels = PIXELS[..., 0].astype("uint16") * 257 if mode == "I;16" else PIXELS
    path = save(tmp_path, pixels, "x.tif", None if mode == "I;16" else mode)
    with Image.open(path) as image:
        assert image.mode == mode
        np.testing.assert_array_equal(to_rgb(image, "the image"), read_image(path))


def test_pillow_images_are_named_in_errors():
    with pytest.raises(ImageError, match="the image: an image of floats"):
        to_rgb(Image.fromarray(np.zeros((2, 2), "float32")), "the image")


def test_only_the_formats_of_images_are_opened(tmp_path):
    """Pillow would start Ghostscript for an EPS, whatever its suffix."""
    header = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    (path := tmp_path / "a.png").write_text(header)
    with pytest.raises(ImageError, match=r"a.png: can't be read as an image"):
        read_image(path)
    for name in ("a.pcx", "a.tga", "a.ico"):
        Image.new("RGB", (16, 16)).save(tmp_path / name)
        with pytest.raises(ImageError, match=f"{name}: can't be read as an image"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("progressive", [True, False])
def test_scans_of_a_jpeg_are_limited(tmp_path, progressive):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (64, 64), (9, 200, 30)).save(path, progressive=progressive)
    content = path.read_bytes()
    # Phones append videos, whose bytes are no scans.
    path.write_bytes(content + b"\xff\xda\0\2" * 200)
    assert read_image(path).shape == (64, 64, 3)
    start = content.rindex(b"\xff\xda")
    path.write_bytes(content[:-2] + content[start:-2] * 200 + content[-2:])
    with pytest.raises(ImageError, match=r"a.jpg: can't be read .* scans, more than 100"):
        read_image(path)


def test_pixels_are_limited_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for size, limit in (((100, 101), 10_000), ((1, 200_000), 10**7), ((10_001, 10_000), None)):
        Image.new("1", size).save(path := tmp_path / "a.png")
        limits = {} if limit is None else {"max_pixels": limit}
        with pytest.raises(ImageError, match=rf"a.png: {size[0]} x {size[1]} pixels are too many"):
            read_image(path, **limits)


def test_a_larger_limit_reads_the_image(tmp_path):
    Image.new("1", (1, 2000)).save(path := tmp_path / "a.png")
    with pytest.raises(ImageError, match="too many; at most 0.1 million are allowed .sides below"):
        read_image(path, max_pixels=100_000)
    assert read_image(path, max_pixels=200_000).shape == (2000, 1, 3)


def test_open_header(tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    assert open_header(tmp_path / "a.png") == (3, 2)
    with pytest.raises(ImageError, match=r"b.png: no such file"):
        open_header(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes(b"x")
    with pytest.raises(ImageError, match=r"b.png: can't be read as an image"):
        open_header(tmp_path / "b.png")
