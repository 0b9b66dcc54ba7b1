"""Keras 3 layers, networks and losses for segmentation with Markov random fields."""

from typing import TYPE_CHECKING

from keras_dpn.backend import choose_backend, is_installed
from keras_dpn.version import __version__

_missing = choose_backend()
if TYPE_CHECKING or _missing is None:
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
elif is_installed("grpc"):
    # For `keras_dpn.client`, which needs neither Keras nor a backend.
    __all__ = ["__version__"]

    def __getattr__(name: str) -> object:
        if name in ("client", "classes", "version") or name.startswith("_"):
            raise AttributeError(f"module 'keras_dpn' has no attribute {name!r}")
        raise ImportError(_missing)
else:
    raise ImportError(_missing)
