"""Visualisation of label maps, of learned pairwise terms, and of training runs."""

from keras_dpn.viz.contexts import (
    compatibility_matrix,
    context_maps,
    frame_kernels,
    label_affinity,
    strongest_contexts,
)
from keras_dpn.viz.figure import figure_png
from keras_dpn.viz.images import draw_edges, labelled_frame, legend, side_by_side, stack
from keras_dpn.viz.label_maps import IGNORE_COLOR, colorize, label_png, overlay
from keras_dpn.viz.label_plots import (
    plot_compatibility,
    plot_confusion,
    plot_contexts,
    plot_label_affinity,
)
from keras_dpn.viz.plots import (
    plot_crf_search,
    plot_curves,
    plot_feature_scales,
    plot_iterations,
    plot_receptive_field,
    plot_trimap,
)
from keras_dpn.viz.png import image_png

__all__ = [
    "IGNORE_COLOR",
    "colorize",
    "compatibility_matrix",
    "context_maps",
    "draw_edges",
    "figure_png",
    "frame_kernels",
    "image_png",
    "label_affinity",
    "label_png",
    "labelled_frame",
    "legend",
    "overlay",
    "plot_compatibility",
    "plot_confusion",
    "plot_contexts",
    "plot_crf_search",
    "plot_curves",
    "plot_feature_scales",
    "plot_iterations",
    "plot_label_affinity",
    "plot_receptive_field",
    "plot_trimap",
    "side_by_side",
    "stack",
    "strongest_contexts",
]
