"""Types that the annotations of several modules share.

Keras and its backends have no common type for tensors: `Tensor` documents the annotation and is
`Any` for type checkers.
"""

from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

import keras

# A tensor of the backend, or a `keras.KerasTensor` while a model is built.
Tensor: TypeAlias = Any
# Of a tensor, with the batch's axis: an integer per axis, None for an unknown size. Which sizes are
# known differs from layer to layer, which a type can't express.
Shape: TypeAlias = tuple[Any, ...]
# A network, or several whose probabilities are averaged.
Models: TypeAlias = keras.Model | Sequence[keras.Model]
# The label of pixels that don't count, several such labels, or None if all pixels count.
IgnoreLabel: TypeAlias = int | Collection[int] | None
