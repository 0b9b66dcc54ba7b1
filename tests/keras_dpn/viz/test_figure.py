import numpy as np
import pytest

from keras_dpn import viz

pytestmark = pytest.mark.tensorflow_only  # draws arrays: on every backend alike


def test_names_are_no_formulas():
    names = ["$x^2_{$", "5 $ to 10 $", r"\$\frac$"]
    counts = np.eye(3)
    figures = [
        viz.plot_confusion(counts, names),
        viz.plot_compatibility(counts, names),
        viz.plot_label_affinity(counts, names),
        viz.plot_contexts(np.zeros((3, 3, 3, 3)), names, pairs=[(0, 1)]),
        viz.plot_curves([{"stage": names[0], "epoch": 1, "loss": 1.0}]),
        viz.plot_trimap({names[0]: [0.5]}),
        viz.plot_feature_scales({names[0]: (1.0, 2.0, 3.0)}),
    ]
    for figure in figures:
        viz.figure_png(figure, dpi=20)
