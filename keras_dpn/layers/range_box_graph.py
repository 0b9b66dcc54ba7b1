"""RangeBoxGraph: the edges of a field on a feature map, from each cell to those in a box."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.checks import check_channels_last, check_positive_int
from keras_dpn.ops.range_boxes import box_edges, count_neighbors, standardize_box
from keras_dpn.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class RangeBoxGraph(ShapeFromSpec, keras.layers.Layer):
    """Edges from each cell of a feature map to the cells in a box next to it.

    The graph of a conditional random field with a node for each cell (Lin et al.,
    arXiv:1504.01013, Fig. 3). It depends on the map's size only, and is the same for all images of
    a batch. An edge (p, q) leads from a cell to a neighbour in its box: in relation "above" q is
    above p.

    Args:
        relation: "surrounding", "above", "below", "left" or "right", or a box (top, left, bottom,
            right) as fractions of the map's shorter side, relative to the cell; downwards and to
            the right is positive.
        num_neighbors: M, how many neighbours of each cell are sampled in each training step,
            without replacement; None for all of them. Outside of training, and while the layer is
            not trainable, it returns all of them.
        seed: integer, of the sampling.

    Input shape:
        `(B, h, w, C)`; all sizes may be unknown.

    Output shape:
        A pair: int32 `(E, 2)`, the edges' two cells in row-major order of the map; and bool
        `(E,)`, which of them exist: edges that would leave the map don't. E is a multiple of h * w.

    Raises:
        ValueError: for an unknown relation, a box whose ends are in the wrong order,
            `num_neighbors` below 1, channels first, another rank; where a network is built for one
            size of the map, for a box smaller than a cell and one that gives the map no edges.

    Example:

    >>> edges, exist = RangeBoxGraph("above")(keras.ops.zeros((1, 5, 6, 16)))
    >>> edges.shape
    (90, 2)
    >>> int(keras.ops.sum(exist))
    64
    """

    def __init__(
        self,
        relation: str | Sequence[float],
        num_neighbors: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_channels_last(type(self).__name__)
        standardize_box(relation)
        if num_neighbors is not None:
            num_neighbors = check_positive_int("num_neighbors", num_neighbors)
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.relation = relation
        self.num_neighbors = num_neighbors
        self.seed = seed

    def call(self, feature_map: Tensor, training: bool | None = False) -> tuple[Tensor, Tensor]:
        _check(feature_map.shape)
        height, width = ops.shape(feature_map)[1:3]
        sampling: tuple[Any, ...] = ()
        if training and self.trainable and self.num_neighbors is not None:
            sampling = (self.num_neighbors, self.seed_generator)
        # A layer built for unknown sizes takes all of them, whether they are known in this call.
        return box_edges(height, width, self.relation, *sampling, allow_empty=True)

    def compute_output_spec(
        self, feature_map: Tensor, training: bool | None = False
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        _check(feature_map.shape)
        height, width = feature_map.shape[1:3]
        num_edges = None
        if height is not None and width is not None:
            each = count_neighbors(height, width, self.relation)
            if self.num_neighbors is None:  # otherwise training would have fewer than inference
                num_edges = height * width * each
        return (
            keras.KerasTensor((num_edges, 2), dtype="int32"),
            keras.KerasTensor((num_edges,), dtype="bool"),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "relation": self.relation,
            "num_neighbors": self.num_neighbors,
            "seed": self.seed,
        }


def _check(shape: Shape) -> None:
    if len(shape) != 4:
        raise ValueError(
            f"RangeBoxGraph expects a feature map (B, h, w, C), received shape {tuple(shape)}."
        )
