import io

import numpy as np
import pytest
from PIL import Image

from keras_dpn import viz

pytestmark = pytest.mark.tensorflow_only  # draws arrays: on every backend alike

NAMES = ("body", "tyre", "a class with a rather long name")


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


CURVES = {
    "unary": [None, 0.4, 0.5],
    "unary+crf": [0.45, 0.5, 0.55],
    "final": [0.5, 0.55, 0.6],
}
SCALES = {"conv3_3": [300.0, 500.0, 900.0], "pool6": [0.0, 2.5, 3.0]}
SETTINGS = [((5, 60, 3), 0.6), ((5, 60, 6), 0.62), ((5, 120, 6), 0.61), ((10, 60, 6), 0.59)]


def plots():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(5, 5, 3, 6))
    matrix = viz.compatibility_matrix(kernel, 2)
    maps = viz.context_maps(kernel, 2)
    return {
        "compatibility": lambda: viz.plot_compatibility(matrix, NAMES),
        "compatibility of frames": lambda: viz.plot_compatibility(np.stack([matrix] * 3), NAMES),
        "no compatibility": lambda: viz.plot_compatibility(np.zeros((1, 1)), NAMES[:1]),
        "affinity": lambda: viz.plot_label_affinity(matrix, NAMES, "surrounding"),
        "contexts": lambda: viz.plot_contexts(maps, NAMES),
        "contexts of frames": lambda: viz.plot_contexts(np.stack([maps] * 3), NAMES),
        "contexts of many frames": lambda: viz.plot_contexts(np.stack([maps] * 7), NAMES),
        "one context": lambda: viz.plot_contexts(maps, NAMES, pairs=[(2, 1)]),
        "no context": lambda: viz.plot_contexts(maps[:1, :1], NAMES[:1]),
        "confusion": lambda: viz.plot_confusion(np.diag([5, 0, 2]), NAMES),
        "curves": lambda: viz.plot_curves(history()),
        "trimap": lambda: viz.plot_trimap(CURVES),
        "search": lambda: viz.plot_crf_search(SETTINGS, 0.58),
        "search of one": lambda: viz.plot_crf_search(SETTINGS[:1], 0.58),
        "receptive field": lambda: viz.plot_receptive_field(
            np.zeros((30, 50, 3), "uint8"), np.eye(4, 7), 8, (0, 5, 25, 50), (12, 30), "a title"
        ),
        "iterations": lambda: viz.plot_iterations([1, 2, 5], {"the network": [0.6, 0.62, None]}),
        "feature scales": lambda: viz.plot_feature_scales(SCALES),
        "wide search": lambda: viz.plot_crf_search(
            [((w, 10 * w, w + b), 0.1 * w) for w in range(1, 5) for b in range(5)], 0.58
        ),
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


def test_plot_curves_names_the_stages_and_counts_their_epochs():
    upper, lower = viz.plot_curves(history()).axes
    assert [t.get_text() for t in upper.texts] == ["unary", "triple", "contexts"]
    drawn = [line.get_xydata().round(6).tolist() for line in lower.get_lines()]
    assert [[2, 30], [3, 35]] in drawn  # the stage's validation starts where the last one ended
    assert [[4, 40]] in drawn
    assert [[1, 1.0], [2, 0.5]] in [line.get_xydata().tolist() for line in upper.get_lines()]


def test_plot_trimap_pairs_each_stage_with_its_crf():
    axes = viz.plot_trimap(CURVES, "boundary").axes[0]
    unary, refined, final = axes.get_lines()
    assert unary.get_color() == refined.get_color() != final.get_color()
    assert [line.get_linestyle() for line in axes.get_lines()] == ["--", "-", "--"]
    np.testing.assert_allclose(unary.get_xydata(), [[1, np.nan], [2, 40], [3, 50]])
    assert "class boundaries" in axes.get_xlabel()
    (alone,) = viz.plot_trimap({"final": [0.5]}).axes[0].get_lines()
    assert alone.get_linestyle() == "-"


def test_plot_crf_search_has_a_heat_map_a_weight_and_frames_the_best():
    figure = viz.plot_crf_search(SETTINGS, 0.58)
    five, ten, _ = figure.axes
    assert [axes.get_title() for axes in (five, ten)] == ["w1 = 5", "w1 = 10"]
    shown = np.ma.filled(five.images[0].get_array(), np.nan)
    np.testing.assert_allclose(shown, [[60, 62], [np.nan, 61]])  # sigma_alpha in rows
    assert [line.get_xydata().tolist() for line in five.get_lines()] == [[[1, 0]]]
    assert not ten.get_lines()
    assert "62.00% at w1 5, sigma_alpha 60, sigma_beta 6\n58.00%" in figure.get_suptitle()


def test_plot_receptive_field_frames_the_theoretical_field():
    figure = viz.plot_receptive_field(
        np.zeros((30, 50, 3), "uint8"), np.eye(4, 7), 8, (0, 5, 25, 50), (12, 30), "a title"
    )
    for axes in figure.axes[:2]:
        (frame,) = axes.patches
        assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (4.5, -0.5, 45, 25)
        assert axes.get_lines()[0].get_xydata().tolist() == [[30, 12]]
        assert (*axes.get_xlim(), *axes.get_ylim()) == (-0.5, 49.5, 29.5, -0.5)
    assert list(figure.axes[1].images[1].get_extent()) == [-0.5, 55.5, 31.5, -0.5]


def test_plot_feature_scales_has_a_bar_and_a_dot_a_layer():
    axes = viz.plot_feature_scales(SCALES).axes[0]
    drawn = [line.get_xydata().tolist() for line in axes.get_lines()]
    assert drawn[:2] == [[[300, 0], [900, 0]], [[500, 0]]] and axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == list(SCALES)


def test_plots_refuse_what_does_not_fit():
    for scales in ({}, {"fc7": [0.0, 0.0, 0.0]}):
        with pytest.raises(ValueError, match="`scales`"):
            viz.plot_feature_scales(scales)
    with pytest.raises(ValueError, match="`curves`.*near the void"):
        viz.plot_trimap({"final": [None, None]})
    with pytest.raises(ValueError, match="`settings`"):
        viz.plot_crf_search([], 0.5)
    with pytest.raises(ValueError, match="`matrix`.*3 names"):
        viz.plot_compatibility(np.zeros((2, 2)), NAMES)
    with pytest.raises(ValueError, match="`matrix`.*3 names"):
        viz.plot_label_affinity(np.zeros((2, 2)), NAMES)
    with pytest.raises(ValueError, match="`confusion`"):
        viz.plot_confusion(np.zeros((2, 3)), NAMES)
    with pytest.raises(ValueError, match="`maps`"):
        viz.plot_contexts(np.zeros((2, 2, 3, 3)), NAMES)
    with pytest.raises(ValueError, match="`history`"):
        viz.plot_curves([])


def test_plot_iterations_draws_a_score_per_number():
    curves = {"the network": [0.5, 0.6], "and a dense CRF": [0.55, 0.61]}
    lines = viz.plot_iterations([1, 5], curves).axes[0].lines
    assert [line.get_xydata().tolist() for line in lines] == [
        [[1, 50], [5, 60]],
        [[1, pytest.approx(55)], [5, 61]],
    ]
    with pytest.raises(ValueError, match="`curves`: expected 1 scores for 'the network'"):
        viz.plot_iterations([1], curves)
