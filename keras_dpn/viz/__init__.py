"""Pictures of label maps, of what the pairwise terms have learned, and of a training run."""

from keras_dpn.viz.contexts import (
    compatibility_matrix,
    context_maps,
    frame_kernels,
    strongest_contexts,
)
from keras_dpn.viz.pictures import (
    IGNORE_COLOR,
    colorize,
    image_png,
    label_png,
    labelled_frame,
    legend,
    overlay,
    side_by_side,
    stack,
)
from keras_dpn.viz.plots import (
    figure_png,
    plot_compatibility,
    plot_confusion,
    plot_contexts,
    plot_crf_search,
    plot_curves,
    plot_feature_scales,
    plot_receptive_field,
    plot_trimap,
)

__all__ = [
    "IGNORE_COLOR",
    "colorize",
    "compatibility_matrix",
    "context_maps",
    "figure_png",
    "frame_kernels",
    "image_png",
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
    "plot_receptive_field",
    "plot_trimap",
    "side_by_side",
    "stack",
    "strongest_contexts",
]
