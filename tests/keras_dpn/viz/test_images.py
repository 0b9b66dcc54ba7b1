import numpy as np
import pytest

from keras_dpn import viz
from keras_dpn.viz.images import _fitted

COLORS = ((255, 0, 0), (0, 0, 255))


NAMES = ("body", "tyre", "a class with a rather long name")


@pytest.mark.parametrize("neighbors", [[], [0, 2, 11]])
def test_draw_edges_from_the_node_to_its_neighbors(neighbors):
    image = np.full((90, 120, 3), 200.0)
    drawn = viz.draw_edges(image, 5, neighbors, (3, 4))  # cells of 30 pixels
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape
    node, *ends = [drawn[15 + 30 * (i // 4), 15 + 30 * (i % 4)] for i in (5, *neighbors)]
    assert node[0] > 180 > 60 > node[2]  # orange
    assert all(end[2] > 130 > 60 > end[0] for end in ends)  # blue
    assert np.all(drawn[75, 15] == 200)
    for i in neighbors:  # half of the way
        assert drawn[30 + 15 * (i // 4), 30 + 15 * (i % 4), 2] > 130
    untouched = (drawn == 200).all(axis=-1)
    assert untouched.mean() > 0.75


@pytest.mark.parametrize(("node", "neighbors"), [(12, []), (0, [3, -1])])
def test_draw_edges_refuses_cells_that_do_not_exist(node, neighbors):
    with pytest.raises(ValueError, match=r"`neighbors`: expected cells 0 to 11 of a map of 3x4"):
        viz.draw_edges(np.zeros((9, 12, 3)), node, neighbors, (3, 4))


def test_legend_shows_every_color_once_and_wraps():
    colors = [(10 * i, 0, 200) for i in range(9)]
    names = [f"class {i}" for i in range(9)]
    wide, narrow = viz.legend(names, colors, width=900), viz.legend(names, colors, width=200)
    for picture in (wide, narrow):
        shown = {tuple(c) for c in picture.reshape(-1, 3).tolist()}
        assert set(colors) <= shown
        assert (picture[:, -2:] == 255).all(), "clipped on the right"
    assert narrow.shape[0] > wide.shape[0]
    assert wide.shape[1] == 900


def test_legend_grows_for_a_long_name():
    picture = viz.legend(["w" * 60], [(0, 0, 0)], width=100)
    assert picture.shape[1] > 400
    assert (picture[:, -4:] == 255).all()


def test_legend_refuses_missing_names():
    with pytest.raises(ValueError, match="2 colours, received 1"):
        viz.legend(["a"], COLORS)


def test_side_by_side_keeps_every_image():
    images = [np.full((40, 60, 3), 10, "uint8"), np.full((30, 50, 3), 90, "uint8")]
    sheet = viz.side_by_side(images, ["image", "truth"])
    assert sheet.dtype == np.uint8
    assert (sheet == 10).all(axis=-1).sum() == 40 * 60
    assert (sheet == 90).all(axis=-1).sum() >= 30 * 50
    column = viz.side_by_side(images, ["image", "truth"], columns=1)
    assert column.shape[0] > sheet.shape[0]
    assert column.shape[1] < sheet.shape[1]


def test_side_by_side_cuts_a_title_that_does_not_fit():
    text, font = _fitted("a title that can never fit", width=60, size=20)
    assert text.endswith("…")
    assert font.getlength(text) <= 60
    assert _fitted("fits", width=200, size=20)[0] == "fits"


def test_side_by_side_refuses_missing_titles():
    with pytest.raises(ValueError, match="0 titles for 1 images"):
        viz.side_by_side([np.zeros((2, 2, 3))], [])


def test_stack_pads_to_the_widest():
    sheet = viz.stack([np.zeros((2, 5, 3), "uint8"), np.zeros((3, 4, 3), "uint8")])
    assert sheet.shape == (5, 5, 3)
    assert (sheet[2:, 4] == 255).all()


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1080, 1920), (540, 960)),
        ((120, 160), (240, 320)),
        ((360, 480), (360, 480)),
        ((1920, 1080), (720, 405)),
        ((1, 7), (46, 322)),
    ],
)
def test_labelled_frame_fits_a_screen(size, shown):
    image = np.full((*size, 3), 77, "uint8")
    labels = np.zeros(size, "uint8")
    labels[:, : size[1] // 2] = 1
    frame = viz.labelled_frame(image, labels, ("body", "tyre"), COLORS)
    assert frame.dtype == np.uint8
    assert frame.shape[1] == 2 * shown[1] + 24
    for color, share in (((77, 77, 77), 1), (COLORS[0], 0.5), (COLORS[1], 0.5)):
        found = (frame == color).all(axis=-1).sum() / (shown[0] * shown[1])
        assert share - 0.1 < found < share + 0.12, color


def test_labelled_frame_keeps_its_size_and_its_legend():
    frames = [
        viz.labelled_frame(np.zeros((40, 60, 3)), np.full((40, 60), label), NAMES[:2], COLORS)
        for label in (0, 1, 255)
    ]
    assert len({frame.shape for frame in frames}) == 1
    legends = [frame[-20:].tobytes() for frame in frames]
    assert len(set(legends)) == 1
    shown = {tuple(color) for color in frames[2][-50:].reshape(-1, 3).tolist()}
    assert set(COLORS) <= shown, "both classes stand in the legend of a frame that has neither"


def test_labelled_frame_refuses_labels_without_a_color_and_another_number_of_names():
    image, labels = np.zeros((4, 4, 3)), np.full((4, 4), 2)
    with pytest.raises(ValueError, match="received 2"):
        viz.labelled_frame(image, labels, NAMES[:2], COLORS)
    with pytest.raises(ValueError, match="`names`"):
        viz.labelled_frame(image, labels * 0, NAMES, COLORS)
    with pytest.raises(ValueError, match="`image`"):
        viz.labelled_frame(image[:3], labels * 0, NAMES[:2], COLORS)
