import io

import numpy as np
import pytest
from PIL import Image

from keras_dpn import viz

COLORS = ((255, 0, 0), (0, 0, 255))


def test_colorize_paints_classes_and_ignore():
    labels = np.array([[0, 1, 255]], "uint8")
    painted = viz.colorize(labels, COLORS)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[[255, 0, 0], [0, 0, 255], list(viz.IGNORE_COLOR)]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[0, 2]]), "0 to 1 or the ignore label 255, received 2"),
        (np.array([[-1]]), "received -1"),
        (np.zeros((2, 2, 1), int), r"shape \(2, 2, 1\)"),
        (np.zeros((2, 2)), "received float64"),
    ],
)
def test_colorize_refuses(labels, message):
    with pytest.raises(ValueError, match=message):
        viz.colorize(labels, COLORS)


def test_colorize_without_ignore_refuses_255_and_wrong_colors():
    with pytest.raises(ValueError, match="received 255"):
        viz.colorize(np.array([[255]]), COLORS, ignore=None)
    with pytest.raises(ValueError, match="`colors`"):
        viz.colorize(np.array([[0]]), [(1, 2)])


@pytest.mark.parametrize(
    ("color", "message"),
    [((0, 300, 0), "300 of int64"), ((-1, 0, 0), "-1 of int64"), ((0.5, 0, 0), "0.5 of float64")],
)
def test_colors_out_of_range_are_refused(color, message):
    for paint in (viz.colorize, viz.label_png):
        with pytest.raises(ValueError, match=f"`colors`: expected integers 0 to 255, .*{message}"):
            paint(np.array([[0]]), [color])


def test_overlay_mixes_and_leaves_ignored_pixels():
    image = np.full((1, 3, 3), 100, "uint8")
    mixed = viz.overlay(image, np.array([[0, 1, 255]]), COLORS, alpha=0.25)
    assert mixed.dtype == np.uint8
    assert mixed.tolist() == [[[139, 75, 75], [75, 75, 139], [100, 100, 100]]]


def test_overlay_refuses_another_size_and_alpha():
    with pytest.raises(ValueError, match="`image`"):
        viz.overlay(np.zeros((2, 3, 3)), np.zeros((2, 2), int), COLORS)
    with pytest.raises(ValueError, match="`alpha`"):
        viz.overlay(np.zeros((2, 2, 3)), np.zeros((2, 2), int), COLORS, alpha=2)


@pytest.mark.parametrize("ignore", [255, 11])
def test_label_png_keeps_labels_and_shows_colors(ignore):
    labels = np.array([[0, 1], [ignore, 0]], "uint8")
    picture = Image.open(io.BytesIO(viz.label_png(labels, COLORS, ignore)))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), labels)
    shown = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(shown, viz.colorize(labels, COLORS, ignore))
