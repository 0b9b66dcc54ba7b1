"""PairwisePotential: a network that rates pairs of labels of two cells."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.checks import check_channels_last, check_positive_int, holds_shapes
from keras_dpn.ops.edge_field import check_exist, standardize_edges
from keras_dpn.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class PairwisePotential(ShapeFromSpec, layers.Layer):
    """Logits of all pairs of labels for each edge, from the features of its two ends.

    Two fully connected layers on the concatenated features of both cells, `[f_p ++ f_q]`
    (Lin et al., arXiv:1504.01013, Fig. 4): a general potential, which is not symmetric, as the
    cells' order counts. The first layer is computed as `W_p f_p + W_q f_q + b`, once per cell
    rather than per edge, and no array of all pairs of cells is created.

    Args:
        num_classes: L, integer >= 1.
        units: of the first layer, integer >= 1.

    Input shape:
        A triple (features, edges, exist): `(B, h, w, C)`, and the output of `RangeBoxGraph`,
        integers `(E, 2)` and bool `(E,)` or `(B, E)`. All sizes but C may be unknown.

    Output shape:
        `(B, E, L, L)`, float32 logits (minus a cost) of the first cell's label, in rows, and the
        second's; 0 for edges that do not exist.

    Raises:
        ValueError: for values out of their range, channels first, and shapes that do not fit.

    Example:

    >>> from keras_dpn.layers import RangeBoxGraph
    >>> features = keras.ops.ones((2, 5, 6, 16))
    >>> edges, exist = RangeBoxGraph("above")(features)
    >>> PairwisePotential(num_classes=3)((features, edges, exist)).shape
    (2, 90, 3, 3)
    """

    def __init__(self, num_classes: int, units: int = 512, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_channels_last(type(self).__name__)
        self.num_classes = check_positive_int("num_classes", num_classes)
        self.units = check_positive_int("units", units)
        # The halves of one layer on [f_p ++ f_q], initialised as that layer: he_normal of 2C.
        half = {"kernel_initializer": "lecun_normal", "dtype": self.dtype_policy}
        self.fc1_first = layers.Dense(units, name="fc1_first", **half)
        self.fc1_second = layers.Dense(units, use_bias=False, name="fc1_second", **half)
        self.fc2 = layers.Dense(
            num_classes**2,
            # VGG16's features are in the tens and hundreds: this makes the first logits about 1.
            kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3),
            dtype="float32",
            name="fc2",
        )

    def build(self, input_shape: Sequence[Shape]) -> None:
        _check(input_shape)
        features_shape = input_shape[0]
        self.fc1_first.build(features_shape)
        self.fc1_second.build(features_shape)
        self.fc2.build((*features_shape[:-1], self.units))
        self.built = True

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        features, edges, exist = inputs
        batch, height, width = ops.shape(features)[:3]
        edges = standardize_edges(edges, _product(features.shape[1:3]))
        nodes = (batch, height * width, self.units)
        first = ops.reshape(self.fc1_first(features), nodes)
        second = ops.reshape(self.fc1_second(features), nodes)
        hidden = ops.relu(
            ops.take(first, edges[:, 0], axis=1) + ops.take(second, edges[:, 1], axis=1)
        )  # (B, E, units)
        exist = ops.expand_dims(ops.cast(exist, "bool"), -1)
        logits = ops.where(exist, self.fc2(hidden), 0.0)
        labels = (self.num_classes, self.num_classes)
        return ops.reshape(logits, (*ops.shape(logits)[:2], *labels))  # (B, E, L, L)

    def compute_output_spec(self, inputs: Sequence[Tensor]) -> keras.KerasTensor:
        features, edges, exist = inputs
        _check([tuple(x.shape) for x in inputs])
        shape = (features.shape[0], edges.shape[0], self.num_classes, self.num_classes)
        return keras.KerasTensor(shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes, "units": self.units}


def _product(sizes: Shape) -> int | None:
    return None if None in sizes else math.prod(sizes)


def _check(shapes: Sequence[Shape]) -> None:
    is_triple = len(shapes) == 3 and holds_shapes(shapes)
    if not is_triple or len(shapes[0]) != 4 or len(shapes[1]) != 2 or len(shapes[2]) not in (1, 2):
        raise ValueError(
            "PairwisePotential expects a triple (features, edges, exist) of shapes (B, h, w, C), "
            f"(E, 2), and (E,) or (B, E) as input, received shapes {shapes}."
        )
    check_exist(shapes[2], shapes[1][0])
