import io

import numpy as np
import pytest
from PIL import Image

from keras_dpn import viz

COLORS = ((255, 0, 0), (0, 0, 255))
NAMES = ("body", "tyre", "a class with a rather long name")


def kernel_of(maps, mixtures=1):
    """The b13 kernel (n, n, v, u*K) whose first mixture has penalties (u, v, n, n), 0 elsewhere."""
    labels, _, n, _ = maps.shape
    kernel = np.zeros((n, n, labels, labels, mixtures))
    kernel[..., 0] = maps.transpose(2, 3, 1, 0)
    return kernel.reshape(n, n, labels, labels * mixtures)


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


def test_image_png_round_trip():
    image = np.arange(2 * 3 * 3, dtype="float32").reshape(2, 3, 3) * 20
    read = np.asarray(Image.open(io.BytesIO(viz.image_png(image))))
    np.testing.assert_array_equal(read, np.clip(image, 0, 255).astype("uint8"))


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
    text, font = viz._fitted("a title that can never fit", width=60, size=20)
    assert text.endswith("…")
    assert font.getlength(text) <= 60
    assert viz._fitted("fits", width=200, size=20)[0] == "fits"


def test_side_by_side_refuses_missing_titles():
    with pytest.raises(ValueError, match="0 titles for 1 images"):
        viz.side_by_side([np.zeros((2, 2, 3))], [])


def test_stack_pads_to_the_widest():
    sheet = viz.stack([np.zeros((2, 5, 3), "uint8"), np.zeros((3, 4, 3), "uint8")])
    assert sheet.shape == (5, 5, 3)
    assert (sheet[2:, 4] == 255).all()


def test_compatibility_sums_windows_and_takes_the_smallest_mixture():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    matrix = viz.compatibility_matrix(kernel, mixtures=2)
    for u in range(2):
        for v in range(2):
            sums = [kernel[:, :, v, 2 * u + k].sum() for k in range(2)]
            assert matrix[u, v] == pytest.approx(min(sums))


def test_compatibility_is_what_the_layers_answer():
    """b13 on a window full of label v, then b14's minimum, at the middle of the window."""
    kernel = np.random.default_rng(1).normal(size=(5, 5, 3, 6))
    for v in range(3):
        seen = np.zeros((5, 5, 3))
        seen[..., v] = 1
        b13 = np.einsum("yxv,yxvc->c", seen, kernel)
        b14 = b13.reshape(3, 2).min(axis=1)
        np.testing.assert_allclose(viz.compatibility_matrix(kernel, 2)[:, v], b14)


def test_context_maps_find_a_planted_relation_whatever_all_labels_share():
    maps = np.zeros((3, 3, 5, 5))
    maps[1, 0, :2] = -3.0  # label 0 above makes label 1 likely
    shared = np.random.default_rng(2).normal(size=(1, 3, 5, 5))
    found = viz.context_maps(kernel_of(maps + shared), mixtures=1)
    np.testing.assert_allclose(found[1, 0, :2], -2.0)
    np.testing.assert_allclose(found[[0, 2], 0, :2], 1.0)
    np.testing.assert_allclose(found[:, 0, 2:], 0.0, atol=1e-12)
    np.testing.assert_allclose(found[:, 1:], 0.0, atol=1e-12)
    assert viz.strongest_contexts(found, 1) == [(1, 0)]


def test_context_maps_see_every_mixture():
    kernel = np.zeros((3, 3, 2, 2, 2))
    kernel[0, 1, 1, 0, 0] = -4.0  # mixture 0: above
    kernel[2, 1, 1, 0, 1] = -4.0  # mixture 1: below
    found = viz.context_maps(kernel.reshape(3, 3, 2, 4), mixtures=2)
    assert found[0, 1, 0, 1] == found[0, 1, 2, 1] == -2.0
    assert found[0, 1, 1, 1] == 0.0


def test_strongest_contexts_limits_each_label_and_leaves_out_itself():
    maps = np.zeros((4, 4, 3, 3))
    maps[0] = -9.0
    maps[2, 3] = -1.0
    assert viz.strongest_contexts(maps, 3) == [(0, 1), (0, 2), (2, 3)]


def test_the_pixel_itself_is_no_context():
    maps = np.zeros((2, 2, 3, 3))
    maps[0, 1, 1, 1] = -9.0  # the middle
    maps[1, 0, 0, :2] = -1.0
    assert viz.strongest_contexts(maps, 1) == [(1, 0)]
    shown = viz.plot_contexts(maps, NAMES[:2], pairs=[(0, 1)]).axes[0].images[0]
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown.get_array())).sum() == 1
    assert shown.get_clim() == (-1.0, 1.0)
    single = viz.plot_contexts(np.full((2, 2, 1, 1), -3.0), NAMES[:2], pairs=[(0, 1)])
    assert single.axes[0].images[0].get_array().tolist() == [[-3.0]]


@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (3, 3, 2), (3, 3, 4, 4)])
def test_kernel_of_another_shape_is_refused(shape):
    for function in (viz.compatibility_matrix, viz.context_maps):
        with pytest.raises(ValueError, match="`b13_kernel`.*with 2 mixtures"):
            function(np.zeros(shape), mixtures=2)


def history():
    epochs = [("unary", 1), ("unary", 2), ("triple", 0), ("triple", 1), ("contexts", 1)]
    rows = [
        {"stage": s, "epoch": e, "loss": 1 / (i + 1), "miou": 0.1 * i}
        for i, (s, e) in enumerate(epochs)
    ]
    rows[1] |= {"val_loss": None, "val_miou": float("nan")}
    rows[2] = {"stage": "triple", "epoch": 0, "val_miou": 0.3}
    rows[3] |= {"val_loss": 0.4, "val_miou": 0.35}
    return rows


def plots():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(5, 5, 3, 6))
    matrix = viz.compatibility_matrix(kernel, 2)
    maps = viz.context_maps(kernel, 2)
    return {
        "compatibility": lambda: viz.plot_compatibility(matrix, NAMES),
        "no compatibility": lambda: viz.plot_compatibility(np.zeros((1, 1)), NAMES[:1]),
        "contexts": lambda: viz.plot_contexts(maps, NAMES),
        "one context": lambda: viz.plot_contexts(maps, NAMES, pairs=[(2, 1)]),
        "no context": lambda: viz.plot_contexts(maps[:1, :1], NAMES[:1]),
        "confusion": lambda: viz.plot_confusion(np.diag([5, 0, 2]), NAMES),
        "curves": lambda: viz.plot_curves(history()),
    }


@pytest.mark.parametrize("name", plots())
def test_plots_draw_within_their_edges(name):
    """Text that is cut off would leave ink on the picture's border."""
    figure = plots()[name]()
    picture = Image.open(io.BytesIO(viz.figure_png(figure, dpi=60)))
    pixels = np.asarray(picture.convert("L"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert border.min() == 255
    if name != "no context":
        assert pixels.min() < 100, "nothing was drawn"


def test_plot_compatibility_shows_each_column_less_its_mean():
    matrix = np.array([[0.0, 10.0, 5.0], [2.0, 12.0, 5.0], [4.0, 14.0, 5.0]])
    shown = viz.plot_compatibility(matrix, NAMES).axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, [[-2, -2, 0], [0, 0, 0], [2, 2, 0]])


def test_plot_contexts_titles_read_a_colon_b():
    maps = np.zeros((3, 3, 3, 3))
    axes = viz.plot_contexts(maps, NAMES, pairs=[(1, 0)]).axes[0]
    assert axes.get_title() == "tyre : body"


def test_plot_confusion_shows_per_cent_of_the_truth():
    figure = viz.plot_confusion(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 8]]), NAMES)
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(np.ma.filled(shown[0], -1), [75, 25, 0])
    assert [t.get_text() for t in figure.axes[0].texts] == ["75", "25", "100"]
    assert np.isnan(np.ma.filled(shown[1], np.nan)).all()


def test_plot_curves_names_the_stages_and_counts_their_epochs():
    upper, lower = viz.plot_curves(history()).axes
    assert [t.get_text() for t in upper.texts] == ["unary", "triple", "contexts"]
    drawn = [line.get_xydata().round(6).tolist() for line in lower.get_lines()]
    assert [[2, 30], [3, 35]] in drawn  # the stage's validation starts where the last one ended
    assert [[4, 40]] in drawn
    assert [[1, 1.0], [2, 0.5]] in [line.get_xydata().tolist() for line in upper.get_lines()]


def test_plots_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="`matrix`.*3 names"):
        viz.plot_compatibility(np.zeros((2, 2)), NAMES)
    with pytest.raises(ValueError, match="`confusion`"):
        viz.plot_confusion(np.zeros((2, 3)), NAMES)
    with pytest.raises(ValueError, match="`maps`"):
        viz.plot_contexts(np.zeros((2, 2, 3, 3)), NAMES)
    with pytest.raises(ValueError, match="`history`"):
        viz.plot_curves([])
