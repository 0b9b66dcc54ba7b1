"""Initial scales of normalised features, taken from images."""

from collections.abc import Iterable

import keras
import numpy as np

from keras_dpn.layers import L2NormScale


def adapt_scales(model: keras.Model, images: Iterable[np.ndarray]) -> dict[str, float]:
    """Set the scales of a network's `L2NormScale` layers to the mean length of their inputs.

    Normalised features then begin as long as those that the pretrained layers produce. A fixed
    scale shortens or lengthens them, which gradient descent at the papers' rates doesn't undo.

    Args:
        model: functional model of images (B, H, W, C), such as `keras_dpn.models.ParseNet`.
        images: images (H, W, C), 0-255, of any sizes.

    Returns:
        The scale of each layer, by the layer's name; empty for a network without such layers.

    Raises:
        ValueError: without an image.

    Example:

    >>> from keras_dpn.models import ParseNet
    >>> model = ParseNet(num_classes=3, width=0.05)
    >>> scales = adapt_scales(model, [np.random.uniform(0, 255, (32, 32, 3))])
    >>> list(scales)
    ['b10_norm', 'pool6_norm']
    """
    layers = [layer for layer in model.layers if isinstance(layer, L2NormScale)]
    images = list(images)
    scales: dict[str, float] = {}
    for layer in layers:  # in the order of the graph: one may depend on the scales of another
        features = keras.Model(model.input, layer.input)
        layer.adapt(features(image[None].astype("float32"), training=False) for image in images)
        scales[layer.name] = float(np.mean(layer.scale))
    return scales
