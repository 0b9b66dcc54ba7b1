"""Keras 3 layers, networks and losses for segmentation with Markov random fields."""

from keras_dpn.version import __version__

try:
    import keras  # noqa: F401
except ModuleNotFoundError:  # it, or its backend: `keras_dpn.client` needs neither
    __all__ = ["__version__"]
else:
    from keras_dpn import crf, inference, layers, losses, metrics, models, ops, presets, viz
    from keras_dpn.classes import Classes
    from keras_dpn.models import load_pretrained
    from keras_dpn.segmenter import Segmenter

    __all__ = [
        "Classes",
        "Segmenter",
        "__version__",
        "crf",
        "inference",
        "layers",
        "load_pretrained",
        "losses",
        "metrics",
        "models",
        "ops",
        "presets",
        "viz",
    ]
