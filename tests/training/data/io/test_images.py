import numpy as np
import pytest
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.io.images import ImageError
from tests.keras_dpn.io.samples import png, save
from training.data.io.images import LabelError, match_values, read_colors, read_indices, read_label

CLASSES = Classes(("a", "b", "c"), ((10, 20, 30), (40, 50, 60), (0, 0, 0)))
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), "uint8")
LABELS = np.array([[0, 1, 2, 255], [2, 2, 1, 0]], "uint8")


@pytest.mark.parametrize("mode", ["L", "P"])
def test_index_labels(tmp_path, mode):
    image = Image.fromarray(LABELS)
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").mode == mode
    labels = read_label(tmp_path / "x.png", CLASSES)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, LABELS)


def test_sixteen_bit_index_labels(tmp_path):
    path = save(tmp_path, LABELS.astype("uint16"))
    np.testing.assert_array_equal(read_label(path, CLASSES), LABELS)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("color_type", [0, 3])
def test_labels_of_few_bits_are_not_stretched(tmp_path, depth, color_type):
    row = "".join(f"{label:0{depth}b}" for label in (0, 1, 1, 0, 0, 0, 0, 1)[: 8 // depth])
    palette = bytes(range(6)) if color_type == 3 else None
    data = png(8 // depth, 1, depth, color_type, b"\0" + bytes([int(row, 2)]), palette)
    (tmp_path / "x.png").write_bytes(data)
    expected = [[0, 1, 1, 0, 0, 0, 0, 1][: 8 // depth]]
    np.testing.assert_array_equal(read_label(tmp_path / "x.png", CLASSES), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_color_labels(tmp_path, mode):
    colors = np.array([[*CLASSES.colors, (255, 255, 255)]], "uint8")
    path = save(tmp_path, colors, mode=mode)
    np.testing.assert_array_equal(read_label(path, CLASSES), [[0, 1, 2, 255]])


def test_unknown_color(tmp_path):
    pixels = np.zeros((3, 4, 3), "uint8")
    pixels[1, 2:] = 7, 8, 9
    with pytest.raises(LabelError, match=r"x.png: colour \(7, 8, 9\) at x=2, y=1"):
        read_label(save(tmp_path, pixels), CLASSES)


def test_value_of_no_class(tmp_path):
    labels = np.zeros((3, 4), "uint8")
    labels[2, 1], labels[2, 3] = 200, 3
    with pytest.raises(LabelError, match=r"x.png: value 200 at x=1, y=2; .*0..2 or 255.* 3, 200"):
        read_label(save(tmp_path, labels), CLASSES)


def test_many_wrong_values_are_shortened(tmp_path):
    labels = np.arange(3, 53, dtype="uint8")[None]
    with pytest.raises(LabelError, match=r"10, \.\.\. \(50 in all\)"):
        read_label(save(tmp_path, labels), CLASSES)


def test_lossy_and_odd_label_maps(tmp_path):
    with pytest.raises(ImageError, match="JPEG"):
        read_label(save(tmp_path, LABELS, "x.jpg"), CLASSES)
    with pytest.raises(ImageError, match="mode LA"):
        read_label(save(tmp_path, LABELS, mode="LA"), CLASSES)


@pytest.mark.parametrize("largest", [1, 2, 20, 255, 1000, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_labels_in_pgm_are_not_stretched(tmp_path, largest, plain):
    labels = np.minimum(LABELS, min(largest, 2))
    rows = labels.astype(">u2" if largest > 255 else "u1").tobytes()
    if plain:
        rows = " ".join(map(str, labels.ravel())).encode()
    header = f"P{2 if plain else 5}\n4 2\n{largest}\n".encode()
    (tmp_path / "x.pgm").write_bytes(header + rows)
    np.testing.assert_array_equal(read_label(tmp_path / "x.pgm", CLASSES), labels)


def test_a_jpeg_in_a_tiff_changes_labels(tmp_path):
    path = save(tmp_path, np.zeros((8, 8), "uint8"), "x.tif", compression="jpeg")
    with pytest.raises(ImageError, match="x.tif: TIFF changes labels"):
        read_label(path, CLASSES)


def test_transparent_pixels_are_black(tmp_path):
    """Drawing programs write any colour there, mostly white."""
    rgba = np.array([[[255, 255, 255, 0], [10, 20, 30, 255], [10, 20, 30, 9]]], "uint8")
    np.testing.assert_array_equal(read_label(save(tmp_path, rgba), CLASSES), [[2, 0, 0]])


def save_palette(tmp_path, numbers, colors):
    image = Image.fromarray(np.array(numbers, "uint8"))
    image.putpalette([value for color in colors for value in color])
    image.save(tmp_path / "x.png")
    return tmp_path / "x.png"


@pytest.mark.parametrize(
    ("numbers", "colors", "expected"),
    [
        ([[0, 1, 2]], [CLASSES.colors[i] for i in (1, 0, 2)], [[1, 0, 2]]),
        ([[1, 0, 0]], [(224, 224, 192), (10, 20, 30)], [[0, 255, 255]]),
        ([[0, 1, 2]], [(0, 0, 0), (2, 2, 2), (1, 1, 1)], [[2, 2, 1]]),
    ],
)
def test_a_palette_of_the_classes_in_another_order_is_refused(tmp_path, numbers, colors, expected):
    path = save_palette(tmp_path, numbers, colors)
    with pytest.raises(LabelError, match=r"x.png: its palette shows the number \d in the colour"):
        read_label(path, CLASSES)
    np.testing.assert_array_equal(read_label(path, CLASSES, prefers_colors=True), expected)
    values = {0: 0, 1: 1, 2: 2}
    np.testing.assert_array_equal(read_label(path, CLASSES, values), numbers)


@pytest.mark.parametrize(
    "colors",
    [
        CLASSES.colors,
        [(0, 0, 0), (1, 1, 1), (2, 2, 2)],
        [(0, 0, 0), (60, 60, 60), (120, 120, 120)],
        [(0, 0, 0), (128, 0, 0), (0, 128, 0)],
    ],
)
def test_other_palettes_hold_numbers(tmp_path, colors):
    path = save_palette(tmp_path, [[0, 1, 2]], colors)
    for prefers_colors in (False, True):
        labels = read_label(path, CLASSES, prefers_colors=prefers_colors)
        np.testing.assert_array_equal(labels, [[0, 1, 2]])


def test_labels_as_floats(tmp_path):
    values = LABELS.astype("float32")
    np.testing.assert_array_equal(read_label(save(tmp_path, values, "x.tif"), CLASSES), LABELS)
    for wrong in (0.5, -1.0, 255.5, 2.0**100, np.nan, np.inf):
        values[0, 1] = wrong
        message = rf"x.tif: value {wrong} at x=1, y=0; expected 0..2 or 255 \(ignored\)"
        with pytest.raises(LabelError, match=message.replace("+", r"\+")):
            read_label(save(tmp_path, values, "x.tif"), CLASSES)


def test_a_negative_label_is_named(tmp_path):
    labels = LABELS.astype("int32")
    labels[0, 1] = -1
    with pytest.raises(LabelError, match="x.tif: value -1 at x=1, y=0; .* such values: -1"):
        read_label(save(tmp_path, labels, "x.tif"), CLASSES)


def test_numbers_and_colors_of_other_maps(tmp_path):
    numbers = save(tmp_path, np.array([[0, 300]], "uint16"), "numbers.png")
    np.testing.assert_array_equal(read_indices(numbers), [[0, 300]])
    np.testing.assert_array_equal(
        match_values(read_indices(numbers), {0: 7, 300: 255}, 0), [[7, 255]]
    )
    colors = save(tmp_path, PIXELS, "colors.png")
    np.testing.assert_array_equal(read_colors(colors), PIXELS)
    with pytest.raises(ImageError, match="numbers.png: expected a map in RGB, received mode I;16"):
        read_colors(numbers)
    with pytest.raises(ImageError, match="colors.png: expected a map in grey or palette, .* RGB"):
        read_indices(colors)


def test_numbers_that_are_not_allowed(tmp_path):
    values, path = np.array([[0, 2], [-1, 9]]), tmp_path / "x.png"
    message = r"x.png: value -1 at x=0, y=1; expected 0..2, 5. All such values: -1, 9."
    with pytest.raises(LabelError, match=message):
        match_values(values, {0: 0, 1: 0, 2: 0, 5: 1}, path)
