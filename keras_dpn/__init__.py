"""Keras 3 layers, networks and losses for segmentation with Markov random fields."""

__version__ = "0.1.0"

try:
    import keras  # noqa: F401
except ModuleNotFoundError:  # it, or its backend: `keras_dpn.client` needs neither
    __all__ = ["__version__"]
else:
    from keras_dpn import crf, inference, layers, losses, metrics, models, ops, viz

    __all__ = [
        "__version__",
        "crf",
        "inference",
        "layers",
        "losses",
        "metrics",
        "models",
        "ops",
        "viz",
    ]
