"""EdgeMeanField: mean field on a feature map's graph with any pairwise potentials."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dpn.layers.shape_from_spec import ShapeFromSpec
from keras_dpn.ops.checks import check_channels_last, check_positive_int
from keras_dpn.ops.edge_field import check_damping, edge_mean_field
from keras_dpn.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dpn")
class EdgeMeanField(ShapeFromSpec, keras.layers.Layer):
    """Infer the labels of a conditional random field with a node for each cell of a feature map.

    Mean field with potentials of all pairs of labels at the edges of `RangeBoxGraph`; several
    relations act together. All cells are updated at once (Lin et al., arXiv:1504.01013, sec. IV:
    two iterations). See `keras_dpn.ops.edge_mean_field`.

    Args:
        num_iterations: integer >= 1.
        damping: from 0 to below 1, the fraction of its old logits that a cell keeps in an update.

    Input shape:
        A triple (unary, edges, pairwise): logits `(B, h, w, L)`, and for each relation its edges,
        integers `(E, 2)` in row-major order of the map, and their logits `(B, E, L, L)`, 0 where an
        edge does not exist. One relation is a pair of tensors; several are two lists of the same
        length. A field without unary potential has a map of zeros. All sizes but L may be unknown.

    Output shape:
        `(B, h, w, L)`, float32: logits whose softmax are the marginals.

    Raises:
        ValueError: for values out of their range, channels first, and shapes that do not fit.

    Example:

    >>> unary, edges = keras.ops.ones((2, 5, 6, 3)), np.array([[0, 1], [7, 2]])
    >>> pairwise = keras.ops.ones((2, 2, 3, 3))
    >>> EdgeMeanField()((unary, edges, pairwise)).shape
    (2, 5, 6, 3)
    >>> EdgeMeanField()((unary, [edges, edges], [pairwise, pairwise])).shape
    (2, 5, 6, 3)
    """

    def __init__(self, num_iterations: int = 2, damping: float = 0.0, **kwargs: Any) -> None:
        # Logits of 32 bits would lose digits in half precision before `call` could save them.
        super().__init__(autocast=False, **kwargs)
        check_channels_last(type(self).__name__)
        self.num_iterations = check_positive_int("num_iterations", num_iterations)
        self.damping = check_damping(damping)

    def call(self, inputs: Sequence[Any]) -> Tensor:
        unary, edges, pairwise = _standardize(inputs)
        batch, height, width, labels = ops.shape(unary)
        logits = edge_mean_field(
            ops.reshape(unary, (batch, height * width, labels)),
            edges[0] if len(edges) == 1 else ops.concatenate(edges, axis=0),
            pairwise[0] if len(pairwise) == 1 else ops.concatenate(pairwise, axis=1),
            self.num_iterations,
            self.damping,
        )
        return ops.reshape(logits, (batch, height, width, labels))

    def compute_output_spec(self, inputs: Sequence[Any]) -> keras.KerasTensor:
        unary, _, _ = _standardize(inputs)
        return keras.KerasTensor(unary.shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_iterations": self.num_iterations,
            "damping": self.damping,
        }


def _standardize(inputs: Sequence[Any]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the unary map, and the relations' edges and pairwise logits as lists; or raise."""
    unary, edges, pairwise = inputs
    edges, pairwise = (list(x) if isinstance(x, (tuple, list)) else [x] for x in (edges, pairwise))
    if len(unary.shape) != 4 or not edges or len(edges) != len(pairwise):
        raise ValueError(
            "EdgeMeanField expects unary logits (B, h, w, L), and edges and pairwise logits of one "
            f"or several relations, received shape {tuple(unary.shape)}, {len(edges)} edge lists "
            f"and {len(pairwise)} times pairwise logits."
        )
    return unary, edges, pairwise
