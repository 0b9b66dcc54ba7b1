"""Markov random fields with any pairwise potentials, on a list of edges."""

import numbers
from typing import Literal

from keras import backend, ops

from keras_dpn.ops.checks import check_one_of, check_positive_int, known_values, may_equal
from keras_dpn.ops.label_maps import read_labels
from keras_dpn.ops.matmul import small_matmul
from keras_dpn.ops.mean_field import mean_field_update
from keras_dpn.ops.segment_sum import segment_sum
from keras_dpn.typing import Shape, Tensor

ORDERS = ("parallel", "sequential")


def edge_messages(marginals: Tensor, edges: Tensor, pairwise: Tensor) -> Tensor:
    """Return the mean-field messages to each node, given the marginals of its neighbours.

        m_i(u) = sum_(i, j) sum_v theta_ij(u, v) q_j(v) + sum_(j, i) sum_v theta_ji(v, u) q_j(v)

    over the edges that begin, and those that end, at i. No array of all pairs of nodes is created.

    Args:
        marginals: `(B, N, L)`, q, of L labels at N nodes. All sizes but L may be unknown.
        edges: integers `(E, 2)`, indices of the nodes that each edge leads from and to. A pair
            of nodes may have several edges, also in both directions.
        pairwise: `(B, E, L, L)`, theta: finite logits (minus the cost) of the first node's label,
            in rows, and the second's; 0 for edges that don't count.

    Returns:
        float32 `(B, N, L)`, logits; 0 at nodes without edges.

    Raises:
        ValueError: if the shapes do not fit, or an edge leads to a node that does not exist (if
            the edges' values are known).

    Example:

    >>> q = keras.ops.array([[[1.0, 0.0], [0.5, 0.5]]])
    >>> pairwise = keras.ops.array([[[[0.0, -8.0], [-2.0, 0.0]]]])
    >>> edge_messages(q, [[0, 1]], pairwise)
    [[[-4. -1.]
      [ 0. -8.]]]
    """
    marginals, pairwise = _float32(marginals), _float32(pairwise)
    edges = standardize_edges(edges, marginals.shape[1])
    check_pairwise(pairwise.shape, edges, marginals.shape)
    first, second = edges[:, 0], edges[:, 1]
    here, there = ops.take(marginals, first, axis=1), ops.take(marginals, second, axis=1)
    to_first = small_matmul(pairwise, ops.expand_dims(there, -1))[..., 0]  # (B, E, L)
    to_second = small_matmul(ops.expand_dims(here, -2), pairwise)[..., 0, :]
    return sum_at_nodes(to_first, to_second, edges, ops.shape(marginals)[1])


def sum_at_nodes(
    to_first: Tensor, to_second: Tensor, edges: Tensor, num_nodes: int | Tensor
) -> Tensor:
    """Return at each node the sum `(B, N, C)` over its edges.

    Args:
        to_first: `(B, E, C)`, what each edge gives its first node.
        to_second: `(B, E, C)`, what it gives its second node.
        edges: integers `(E, 2)`.
        num_nodes: N.
    """
    both = ops.swapaxes(ops.concatenate([to_first, to_second], axis=1), 0, 1)  # (2E, B, C)
    ends = ops.concatenate([edges[:, 0], edges[:, 1]])
    return ops.swapaxes(segment_sum(both, ends, num_nodes), 0, 1)


def edge_mean_field(
    unary: Tensor,
    edges: Tensor,
    pairwise: Tensor,
    num_iterations: int,
    damping: float = 0.0,
    order: Literal["parallel", "sequential"] = "parallel",
) -> Tensor:
    """Run mean field on a graph with any pairwise potentials.

    Each update sets the logits of a node to `unary + edge_messages`, which minimises the free
    energy while the other nodes are fixed. The initial marginals are softmax(unary).

    Args:
        unary: `(B, N, L)`, logits of each node alone. All sizes but L may be unknown.
        edges: integers `(E, 2)`, as in `edge_messages`.
        pairwise: `(B, E, L, L)`, as in `edge_messages`.
        num_iterations: integer >= 0, number of updates of each node.
        damping: from 0 to below 1, the fraction of its old logits that a node keeps in an update.
            Parallel updates may oscillate; damping prevents it.
        order: "parallel", all nodes at once; or "sequential", one after the other in the order of
            their indices, each with the updated marginals of those before it: the free energy never
            increases, but an iteration costs N times as much.

    Returns:
        float32 `(B, N, L)`, logits whose softmax are the marginals.

    Raises:
        ValueError: as `edge_messages`, for numbers out of their range and an unknown order.

    Example:

    >>> unary = keras.ops.array([[[2.0, 0.0], [0.0, 0.0]]])
    >>> alike = keras.ops.array([[[[9.0, 0.0], [0.0, 9.0]]]])
    >>> logits = edge_mean_field(unary, [[0, 1]], alike, num_iterations=5)
    >>> keras.ops.round(keras.ops.softmax(logits), 3)
    [[[1. 0.]
      [1. 0.]]]
    """
    check_positive_int("num_iterations", num_iterations, minimum=0)
    check_damping(damping)
    check_one_of("order", order, ORDERS)
    unary = _float32(unary)
    nodes = ops.arange(ops.shape(unary)[1])[:, None]  # (N, 1)

    def update(logits: Tensor) -> Tensor:
        new = mean_field_update(unary, logits, lambda q: -edge_messages(q, edges, pairwise))
        return damping * logits + (1 - damping) * new

    def update_node(node: Tensor, logits: Tensor) -> Tensor:
        return ops.where(nodes == node, update(logits), logits)

    logits = unary
    for _ in range(num_iterations):
        if order == "parallel":
            logits = update(logits)
        else:
            logits = ops.fori_loop(0, ops.shape(unary)[1], update_node, logits)
    return logits


def edge_energy(labels: Tensor, unary: Tensor, edges: Tensor, pairwise: Tensor) -> Tensor:
    """Return the energy of a labelling, whose probability is `exp(-E) / Z`.

        E(y) = -sum_i unary_i(y_i) - sum_(i, j) theta_ij(y_i, y_j)

    Args:
        labels: integers `(B, N)`, 0 to L-1.
        unary: `(B, N, L)`, logits.
        edges: integers `(E, 2)`, as in `edge_messages`.
        pairwise: `(B, E, L, L)`, as in `edge_messages`.

    Returns:
        float32 `(B,)`.

    Raises:
        ValueError: as `edge_messages`, and for a label out of range.

    Example:

    >>> unary = keras.ops.zeros((1, 2, 2))
    >>> pairwise = keras.ops.array([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> edge_energy([[1, 0]], unary, [[0, 1]], pairwise)
    [-2.]
    """
    labels, _, _ = read_labels(ops.convert_to_tensor(labels), unary.shape[-1], None, name="labels")
    marginals = ops.one_hot(labels, unary.shape[-1], dtype="float32")
    return _expected_energy(marginals, unary, edges, pairwise)


def edge_free_energy(marginals: Tensor, unary: Tensor, edges: Tensor, pairwise: Tensor) -> Tensor:
    """Return the free energy of independent marginals: expected energy minus entropy.

        F(q) = sum_y q(y) E(y) + sum_i sum_u q_i(u) ln q_i(u),  q(y) = prod_i q_i(y_i)

    Mean field minimises it; it is an upper bound of -ln Z.

    Args:
        marginals: `(B, N, L)`, q; the sum over L is 1.
        unary: `(B, N, L)`, logits.
        edges: integers `(E, 2)`, as in `edge_messages`, none from a node to itself that counts.
        pairwise: `(B, E, L, L)`, as in `edge_messages`.

    Returns:
        float32 `(B,)`.

    Raises:
        ValueError: as `edge_messages`.

    Example:

    >>> even = keras.ops.array([[[0.5, 0.5]]])  # one node, uniform
    >>> no_edge = np.zeros((0, 2), "int32"), keras.ops.zeros((1, 0, 2, 2))
    >>> edge_free_energy(even, keras.ops.zeros((1, 1, 2)), *no_edge)  # -ln 2
    [-0.6931472]
    """
    marginals = _float32(marginals)
    negative_entropy = marginals * ops.log(ops.maximum(marginals, 1e-30))
    energy = _expected_energy(marginals, unary, edges, pairwise)
    return energy + ops.sum(negative_entropy, axis=(1, 2))


def _expected_energy(marginals: Tensor, unary: Tensor, edges: Tensor, pairwise: Tensor) -> Tensor:
    if not may_equal(marginals.shape, unary.shape):
        raise ValueError(
            "Expected labels or marginals for each node of `unary` (B, N, L), received shapes "
            f"{tuple(marginals.shape)} and {tuple(unary.shape)}."
        )
    # Each edge sends a message to both of its ends: half of their sum is the edge's energy.
    logits = _float32(unary) + 0.5 * edge_messages(marginals, edges, pairwise)
    return -ops.sum(marginals * logits, axis=(1, 2))


def check_damping(damping: float) -> float:
    """Return `damping`; raise ValueError unless it is from 0 to below 1."""
    if not isinstance(damping, numbers.Real) or not 0 <= damping < 1:
        raise ValueError(
            "Invalid value for argument `damping`: expected a number from 0 to below 1, received "
            f"{damping!r}."
        )
    return damping


def standardize_edges(edges: Tensor, num_nodes: int | None = None) -> Tensor:
    """Return `edges` as int32 `(E, 2)`; raise ValueError unless they are edges of N nodes.

    Args:
        edges: the argument.
        num_nodes: N, or None if unknown.
    """
    edges = ops.convert_to_tensor(edges)
    if len(edges.shape) != 2 or edges.shape[1] != 2 or not backend.is_int_dtype(edges.dtype):
        raise ValueError(
            "Invalid value for argument `edges`: expected integers of shape (E, 2), received "
            f"{backend.standardize_dtype(edges.dtype)} of shape {tuple(edges.shape)}."
        )
    known = known_values(edges, "int64")
    if known is not None and num_nodes is not None:
        wrong = known[(known < 0) | (known >= num_nodes)]
        if wrong.size:
            raise ValueError(
                f"Invalid value for argument `edges`: expected nodes 0 to {num_nodes - 1}, "
                f"received {wrong[0]}."
            )
    return ops.cast(edges, "int32")


def check_pairwise(shape: Shape, edges: Tensor, nodes_shape: Shape) -> None:
    """Raise ValueError unless a shape is `(B, E, L, L)` and fits the edges and the nodes.

    Args:
        shape: of the pairwise logits.
        edges: `(E, 2)`.
        nodes_shape: `(B, N, L)`, or `(B, N)` of labels.
    """
    labels = nodes_shape[2] if len(nodes_shape) == 3 else shape[-1]
    expected = (nodes_shape[0], edges.shape[0], labels, labels)
    if not may_equal(shape, expected):
        raise ValueError(
            f"Invalid value for argument `pairwise`: expected shape (B, E, L, L), here {expected}, "
            f"received {tuple(shape)}."
        )


def check_exist(shape: Shape, num_edges: int | None) -> None:
    """Raise ValueError unless a shape is `(E,)` or `(B, E)`.

    Args:
        shape: of the argument `exist`.
        num_edges: E, or None if unknown.
    """
    if len(shape) not in (1, 2) or not may_equal(shape[-1:], (num_edges,)):
        raise ValueError(
            f"Invalid value for argument `exist`: expected shape (E,) or (B, E), E {num_edges} "
            f"here, received {tuple(shape)}."
        )


def _float32(x: Tensor) -> Tensor:
    return ops.cast(x, "float32")
