"""Losses of conditional random fields on a list of edges, computed without inference."""

from keras import ops

from keras_dpn.ops.checks import may_equal
from keras_dpn.ops.edge_field import check_exist, check_pairwise, edge_messages, standardize_edges
from keras_dpn.ops.label_maps import read_labels
from keras_dpn.typing import IgnoreLabel, Shape, Tensor


def piecewise_loss(
    labels: Tensor,
    unary: Tensor | None = None,
    edges: Tensor | None = None,
    pairwise: Tensor | None = None,
    ignore: IgnoreLabel = None,
    exist: Tensor | None = None,
) -> Tensor:
    """Return minus the piecewise log-likelihood of a labelling: each potential has its normaliser.

        -sum_p ln softmax(unary_p)(y_p) - sum_(p, q) ln softmax(theta_pq)(y_p, y_q)

    with the second softmax over all L * L pairs of labels (Lin et al., arXiv:1504.01013, eq. 12).
    One of the two potentials may be left out.

    Args:
        labels: integers `(B, N)`, 0 to L-1 or `ignore`. In a compiled step, where no error can be
            raised, the node of another label does not count.
        unary: logits `(B, N, L)`, or None. All sizes but L may be unknown.
        edges: integers `(E, 2)`, indices of the nodes that each edge leads from and to, or None.
        pairwise: finite logits `(B, E, L, L)`, theta, with the first node's label in rows; or None.
        ignore: label of nodes that don't count, nor their edges; a tuple of several; None if all
            count.
        exist: bool `(E,)` or `(B, E)`, which edges exist; None if all.

    Returns:
        float32 `(B,)`, the sum over an image's terms.

    Raises:
        ValueError: without any potential, if shapes do not fit, a label is out of range or a
            fraction, or an edge leads to a node that does not exist (if the edges' values are
            known).

    Example:

    >>> unary, pairwise = keras.ops.zeros((1, 2, 3)), keras.ops.zeros((1, 1, 3, 3))
    >>> keras.ops.round(piecewise_loss([[2, 0]], unary, [[0, 1]], pairwise), 3)  # 4 ln 3
    [4.394]
    """
    if unary is None and pairwise is None:
        raise ValueError(
            "Invalid values for arguments `unary` and `pairwise`: expected at least one, received "
            "None."
        )
    if pairwise is not None and edges is None:
        raise ValueError("Invalid value for argument `edges`: expected those of `pairwise`.")
    loss = 0.0
    if unary is not None:
        loss = loss + ops.sum(unary_losses(labels, unary, ignore)[0], axis=1)
    if pairwise is not None:
        loss = loss + ops.sum(pairwise_losses(labels, edges, pairwise, ignore, exist)[0], axis=1)
    return loss


def pseudo_likelihood_loss(
    labels: Tensor,
    unary: Tensor,
    edges: Tensor,
    pairwise: Tensor,
    ignore: IgnoreLabel = None,
    exist: Tensor | None = None,
) -> Tensor:
    """Return minus the pseudo-log-likelihood of a labelling: each node given all other labels.

        -sum_p ln softmax(unary_p + sum_(p, q) theta_pq(., y_q) + sum_(q, p) theta_qp(y_q, .))(y_p)

    (Lin et al., arXiv:1504.01013, appendix, eq. 15). Unlike the piecewise loss it trains the
    sum of the potentials, but conditions on the true labels of the neighbours.

    Args:
        labels: as in `piecewise_loss`.
        unary: logits `(B, N, L)`. All sizes but L may be unknown.
        edges: as in `piecewise_loss`.
        pairwise: as in `piecewise_loss`.
        ignore: label of nodes that don't count, nor their edges; their neighbours count. A tuple of
            several; None if all count.
        exist: as in `piecewise_loss`.

    Returns:
        float32 `(B,)`, the sum over an image's nodes.

    Raises:
        ValueError: if shapes do not fit, a label is out of range or a fraction, or an edge leads to
            a node that does not exist (if the edges' values are known).

    Example:

    >>> unary = keras.ops.zeros((1, 2, 2))
    >>> alike = keras.ops.array([[[[2.0, 0.0], [0.0, 2.0]]]])
    >>> keras.ops.round(pseudo_likelihood_loss([[1, 1]], unary, [[0, 1]], alike), 3)
    [0.254]
    """
    return ops.sum(conditional_losses(labels, unary, edges, pairwise, ignore, exist)[0], axis=1)


def unary_losses(
    labels: Tensor, unary: Tensor, ignore: IgnoreLabel = None
) -> tuple[Tensor, Tensor]:
    """Return the unary terms of the piecewise loss, one per node.

    Args:
        labels: as in `piecewise_loss`.
        unary: as in `piecewise_loss`.
        ignore: as in `piecewise_loss`.

    Returns:
        Pair of float32 `(B, N)`: the losses, 0 where a node doesn't count; and 1 where it does.

    Raises:
        ValueError: if shapes do not fit, or a label is out of range or a fraction.
    """
    labels, counted = _read_labels(labels, unary.shape, ignore)
    return _cross_entropy(labels, unary, counted)


def pairwise_losses(
    labels: Tensor,
    edges: Tensor,
    pairwise: Tensor,
    ignore: IgnoreLabel = None,
    exist: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the pairwise terms of the piecewise loss, one per edge.

    Args:
        labels: as in `piecewise_loss`.
        edges: as in `piecewise_loss`.
        pairwise: as in `piecewise_loss`.
        ignore: as in `piecewise_loss`.
        exist: as in `piecewise_loss`.

    Returns:
        Pair of float32 `(B, E)`: the losses, 0 where an edge doesn't count; and 1 where it does.

    Raises:
        ValueError: as `piecewise_loss`.
    """
    labels, num_labels = ops.convert_to_tensor(labels), pairwise.shape[-1]
    edges = standardize_edges(edges, labels.shape[1])
    check_pairwise(pairwise.shape, edges, labels.shape)
    labels, counted, _ = read_labels(labels, num_labels, ignore, name="labels")
    ends = ops.take(labels, edges, axis=1)  # (B, E, 2)
    counted = ops.all(ops.take(counted, edges, axis=1), axis=-1)
    if exist is not None:
        check_exist(ops.convert_to_tensor(exist).shape, edges.shape[0])
        counted = ops.logical_and(counted, ops.cast(exist, "bool"))
    pairs = ends[..., 0] * num_labels + ends[..., 1]
    logits = ops.reshape(pairwise, (*ops.shape(pairwise)[:2], num_labels**2))
    return _cross_entropy(pairs, logits, counted)


def conditional_losses(
    labels: Tensor,
    unary: Tensor,
    edges: Tensor,
    pairwise: Tensor,
    ignore: IgnoreLabel = None,
    exist: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the terms of the pseudo-likelihood, one per node.

    Args:
        labels: as in `pseudo_likelihood_loss`.
        unary: as in `pseudo_likelihood_loss`.
        edges: as in `pseudo_likelihood_loss`.
        pairwise: as in `pseudo_likelihood_loss`.
        ignore: as in `pseudo_likelihood_loss`.
        exist: as in `pseudo_likelihood_loss`.

    Returns:
        Pair of float32 `(B, N)`: the losses, 0 where a node doesn't count; and 1 where it does.

    Raises:
        ValueError: as `pseudo_likelihood_loss`.
    """
    labels, counted = _read_labels(labels, unary.shape, ignore)
    known = ops.one_hot(ops.where(counted, labels, -1), unary.shape[-1], dtype="float32")
    if exist is not None:
        check_exist(ops.convert_to_tensor(exist).shape, pairwise.shape[1])
        pairwise = ops.where(ops.cast(exist, "bool")[..., None, None], pairwise, 0.0)
    logits = ops.cast(unary, "float32") + edge_messages(known, edges, pairwise)
    return _cross_entropy(labels, logits, counted)


def _cross_entropy(labels: Tensor, logits: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    num_labels = logits.shape[-1]
    losses = ops.sparse_categorical_crossentropy(
        ops.reshape(labels, (-1,)),
        ops.cast(ops.reshape(logits, (-1, num_labels)), "float32"),
        from_logits=True,
    )
    losses = ops.reshape(losses, ops.shape(labels))
    return ops.where(counted, losses, 0.0), ops.cast(counted, "float32")


def _read_labels(labels: Tensor, unary_shape: Shape, ignore: IgnoreLabel) -> tuple[Tensor, Tensor]:
    """Return labels (B, N) as int32 and which count; raise ValueError for another shape."""
    labels = ops.convert_to_tensor(labels)
    if len(unary_shape) != 3 or not may_equal(labels.shape, unary_shape[:-1]):
        raise ValueError(
            "Invalid value for argument `labels`: expected shape (B, N) for `unary` (B, N, L) of "
            f"shape {tuple(unary_shape)}, received {tuple(labels.shape)}."
        )
    return read_labels(labels, unary_shape[-1], ignore, name="labels")[:2]
