"""ShapeFromSpec: `compute_output_shape` of the layers that have `compute_output_spec`."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_dpn.ops.checks import holds_shapes
from keras_dpn.typing import Shape


class ShapeFromSpec:
    """Mixin of layers whose outputs differ in number or dtype, so that Keras asks for their spec.

    `keras.layers.TimeDistributed`, which runs a layer for images on the frames of a video, asks for
    the shape.
    """

    def compute_output_shape(self, input_shape: Shape | Sequence[Any]) -> Any:
        """Return the outputs' shapes, nested as the outputs are."""
        spec = self.compute_output_spec(_tensors(input_shape))  # type: ignore[attr-defined]
        return keras.tree.map_structure(lambda x: tuple(x.shape), spec)


def _tensors(shape: Shape | Sequence[Any]) -> Any:
    """Return a symbolic tensor for each shape of a nested sequence of them."""
    if holds_shapes(shape):
        return [_tensors(each) for each in shape]
    return keras.KerasTensor(tuple(shape))
