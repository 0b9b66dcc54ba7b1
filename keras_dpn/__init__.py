"""Keras 3 layers, networks and losses for segmentation with Markov random fields."""

from keras_dpn import crf, layers, losses, metrics, models, ops

__version__ = "0.1.0"

__all__ = ["__version__", "crf", "layers", "losses", "metrics", "models", "ops"]
