"""The marginals that single edges of a graph give their nodes."""

from keras import ops

from keras_dpn.ops.edge_field import sum_at_nodes
from keras_dpn.typing import Tensor


def mean_edge_marginals(
    edges: Tensor, exist: Tensor, pairwise: Tensor, num_nodes: int | Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean of the marginals that each node has at its edges.

    An edge alone has the distribution softmax(theta) over its L x L pairs of labels, whose sums
    over either label are marginals of its two nodes. Mean field adds up the messages of all edges
    as if they were independent, but neighbours see much the same pixels: the more edges, the more
    confident the sum. A mean isn't.

    Args:
        edges: integers `(E, 2)`, as in `edge_messages`.
        exist: bool `(E,)` or `(B, E)`, which edges count.
        pairwise: `(B, E, L, L)`, theta, logits.
        num_nodes: N.

    Returns:
        float32 `(B, N, L)`, the mean, 0 at nodes without edges; and `(B, N, 1)` or `(1, N, 1)`, 1
        at nodes with edges, 0 at the others.

    Example:

    >>> pairwise = keras.ops.log([[[[0.1, 0.2], [0.3, 0.4]], [[0.0, 0.0], [1.0, 0.0]]]])
    >>> mean, counted = mean_edge_marginals([[0, 1], [1, 2]], [True, True], pairwise, 4)
    >>> print(np.round(np.array(mean), 2))
    [[[0.3 0.7]
      [0.2 0.8]
      [1.  0. ]
      [0.  0. ]]]
    >>> counted[0, :, 0]
    [1. 1. 1. 0.]
    """
    pairwise = ops.cast(pairwise, "float32")
    edges = ops.cast(edges, "int32")
    batch, count, labels = ops.shape(pairwise)[0], ops.shape(pairwise)[1], pairwise.shape[-1]
    pairs = ops.softmax(ops.reshape(pairwise, (batch, count, labels * labels)), axis=-1)
    pairs = ops.reshape(pairs, (batch, count, labels, labels))
    weights = ops.cast(exist, "float32")
    weights = ops.reshape(weights, (-1, count, 1))  # (B, E, 1) or (1, E, 1)
    first, second = weights * ops.sum(pairs, axis=-1), weights * ops.sum(pairs, axis=-2)
    sums = sum_at_nodes(first, second, edges, num_nodes)
    counts = sum_at_nodes(weights, weights, edges, num_nodes)
    return sums / ops.maximum(counts, 1.0), ops.cast(counts > 0, "float32")
