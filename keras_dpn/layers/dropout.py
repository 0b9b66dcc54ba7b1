"""Dropout that does nothing while the layer is frozen."""

import keras

from keras_dpn.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class Dropout(keras.layers.Dropout):
    """Dropout while the layer is trainable; when frozen, it returns its input as in inference.

    `keras.layers.Dropout` drops features in training even with `trainable = False`, so the
    layers after a frozen network would be trained on features that never occur in inference.
    `keras.layers.BatchNormalization` treats `trainable` in the same way as this layer.

    Args:
        rate: fraction of the features to drop, 0 to 1.
        noise_shape: as in `keras.layers.Dropout`.
        seed: as in `keras.layers.Dropout`.

    Input shape:
        Any.

    Output shape:
        As the input.

    Raises:
        ValueError: if `rate` is not within 0 and 1.

    Example:

    >>> layer = Dropout(0.5)
    >>> layer.trainable = False
    >>> layer(keras.ops.ones((1, 4)), training=True)
    [[1. 1. 1. 1.]]
    """

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        return super().call(inputs, training=training and self.trainable)
