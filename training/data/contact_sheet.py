"""A contact sheet of augmented training images next to their labels."""

import numpy as np

from keras_dpn import viz
from keras_dpn.classes import Classes


def show(image: np.ndarray, labels: np.ndarray, classes: Classes) -> np.ndarray:
    """A picture, float (H, W, 3) 0..255, beside its labels (H, W) in colour: uint8 (H, 2W, 3)."""
    colors = viz.colorize(labels, classes.colors, classes.ignore)
    return np.concatenate([np.rint(image).astype("uint8"), colors], axis=1)
