"""Types that the annotations of several modules share.

Neither Keras nor its backends have a common type for tensors: `Tensor` says what is meant, a type
checker takes it for `Any`.
"""

from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

import keras

# A tensor of the backend, or a `keras.KerasTensor` while a model is made.
Tensor: TypeAlias = Any
# Of a tensor, with the batch's axis: an integer per axis, None where a size is unknown. Which sizes
# are known differs from layer to layer: a type can't say it.
Shape: TypeAlias = tuple[Any, ...]
# A network, or several whose probabilities are averaged.
Models: TypeAlias = keras.Model | Sequence[keras.Model]
# The label of pixels that don't count, several such labels, or None if all pixels count.
IgnoreLabel: TypeAlias = int | Collection[int] | None
