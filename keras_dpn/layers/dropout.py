"""Dropout that a frozen layer leaves out."""

import keras

from keras_dpn.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class Dropout(keras.layers.Dropout):
    """Dropout while it is trainable; frozen it passes its input on, as in inference.

    `keras.layers.Dropout` drops features in training even with `trainable = False`, so what learns
    behind a frozen network learns from features that inference never gives it.
    `keras.layers.BatchNormalization` has the same rule as this layer.

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
