import numpy as np
import pytest

from keras_dpn import viz

pytestmark = pytest.mark.tensorflow_only  # draws arrays: on every backend alike

NAMES = ("body", "tyre", "a class with a rather long name")


def test_plot_compatibility_shows_each_column_less_its_mean():
    matrix = np.array([[0.0, 10.0, 5.0], [2.0, 12.0, 5.0], [4.0, 14.0, 5.0]])
    shown = viz.plot_compatibility(matrix, NAMES).axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, [[-2, -2, 0], [0, 0, 0], [2, 2, 0]])


def test_plot_label_affinity_is_blue_where_labels_like_each_other():
    matrix = np.array([[9.0, 2.0, 0.0], [-1.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    axes, bar = viz.plot_label_affinity(matrix, NAMES, "above").axes
    picture = axes.images[0]
    assert picture.get_clim() == (-2, 2)  # of what lies off the diagonal
    red, _, blue, _ = picture.cmap(picture.norm(2.0))
    assert blue > red + 0.2
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("label", "label above it")
    assert [text.get_text() for text in bar.get_yticklabels()] == ["unlikely", "neutral", "likely"]
    other = viz.plot_label_affinity(matrix, NAMES).axes[0]
    assert other.get_xlabel() == "label of its neighbour"


def test_plot_contexts_titles_read_a_colon_b():
    maps = np.zeros((3, 3, 3, 3))
    axes = viz.plot_contexts(maps, NAMES, pairs=[(1, 0)]).axes[0]
    assert axes.get_title() == "tyre : body"


def test_plots_name_the_frames_in_order_of_time():
    maps = np.zeros((3, 3, 3, 3, 3))
    maps[2] = 1.0
    figure = viz.plot_contexts(maps, NAMES, pairs=[(1, 0), (0, 1), (2, 0)])
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels[:3]] == ["t−1", "tyre : body\nt", "t+1"]
    assert [np.nanmax(axes.images[0].get_array()) for axes in panels[:3]] == [0, 0, 1]
    first, third = (panels[i].get_subplotspec().rowspan.start for i in (0, 6))
    assert (first, third) == (0, 1)  # two pairs in a row
    figure = viz.plot_compatibility(np.zeros((5, 3, 3)), NAMES)
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["t−2", "t−1", "t", "t+1", "t+2"]
    assert viz.plot_compatibility(np.zeros((3, 3)), NAMES).axes[0].get_title() == ""


def test_plot_confusion_shows_per_cent_of_the_truth():
    figure = viz.plot_confusion(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 8]]), NAMES)
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(np.ma.filled(shown[0], -1), [75, 25, 0])
    assert [t.get_text() for t in figure.axes[0].texts] == ["75", "25", "100"]
    assert np.isnan(np.ma.filled(shown[1], np.nan)).all()
