"""Random fields of a few nodes, all of whose labellings are counted, in float64."""

import itertools

import numpy as np


def random_field(seed, nodes=4, labels=3, edges=6, batch=2, scale=1.5):
    """Unary logits (B, N, L), edges (E, 2) and pairwise logits (B, E, L, L).

    The first edges are two of the same nodes, and one back.
    """
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.permutations(range(nodes), 2)))
    chosen = rng.integers(0, len(pairs), edges)
    chosen[1] = chosen[0]
    drawn = pairs[chosen].astype("int32")
    drawn[2] = drawn[0, ::-1]
    unary = rng.normal(scale=scale, size=(batch, nodes, labels))
    pairwise = rng.normal(scale=scale, size=(batch, edges, labels, labels))
    return unary.astype("float32"), drawn, pairwise.astype("float32")


def labellings(nodes, labels):
    """All labellings, (L^N, N)."""
    return np.array(list(itertools.product(range(labels), repeat=nodes)))


def direct_energy(labels, unary, edges, pairwise):
    """Energies of labellings (Y, N) of one image: unary (N, L), pairwise (E, L, L)."""
    unary, pairwise = np.asarray(unary, "float64"), np.asarray(pairwise, "float64")
    energy = -unary[np.arange(len(unary)), labels].sum(axis=1)
    for (first, second), theta in zip(edges, pairwise, strict=True):
        energy -= theta[labels[:, first], labels[:, second]]
    return energy


def direct_log_partition(unary, edges, pairwise):
    """The logarithm of Z, of one image."""
    labels = labellings(*np.shape(unary))
    return np.logaddexp.reduce(-direct_energy(labels, unary, edges, pairwise))


def direct_marginals(unary, edges, pairwise):
    """Probabilities (N, L) of each node's labels, of one image."""
    labels = labellings(*np.shape(unary))
    log_joint = -direct_energy(labels, unary, edges, pairwise)
    joint = np.exp(log_joint - np.logaddexp.reduce(log_joint))
    return np.stack([joint @ (labels == u) for u in range(np.shape(unary)[1])], axis=1)


def direct_free_energy(marginals, unary, edges, pairwise):
    """Expected energy minus entropy of independent marginals (N, L), of one image."""
    labels = labellings(*np.shape(unary))
    joint = np.prod(np.asarray(marginals)[np.arange(len(unary)), labels], axis=1)
    log_joint = np.log(np.maximum(joint, 1e-300))
    return joint @ (direct_energy(labels, unary, edges, pairwise) + log_joint)


def direct_piecewise_loss(labels, unary, edges, pairwise):
    """Each node and each edge is a field of its own; labels (N,), of one image."""
    labels, no_edges = np.asarray(labels), (np.zeros((0, 2), int), np.zeros((0, 1, 1)))
    loss = 0.0
    for label, theta in zip(labels, unary, strict=True):
        piece = theta[None], *no_edges
        loss += direct_energy(label[None, None], *piece)[0] + direct_log_partition(*piece)
    for ends, theta in zip(edges, pairwise, strict=True):
        piece = np.zeros((2, len(theta))), [(0, 1)], theta[None]
        loss += direct_energy(labels[ends][None], *piece)[0] + direct_log_partition(*piece)
    return loss


def direct_pseudo_likelihood_loss(labels, unary, edges, pairwise):
    """Each node's label among those it could have instead, of one image; labels (N,)."""
    loss = 0.0
    for node in range(len(labels)):
        others = np.repeat(np.asarray(labels)[None], np.shape(unary)[1], axis=0)
        others[:, node] = np.arange(np.shape(unary)[1])
        energies = direct_energy(others, unary, edges, pairwise)
        loss += energies[labels[node]] + np.logaddexp.reduce(-energies)
    return loss


def without_nodes(left_out, labels, unary, edges, pairwise):
    """What remains of one image's field and labels without some nodes and their edges."""
    nodes = np.setdiff1d(np.arange(len(labels)), left_out)
    kept = np.isin(edges, nodes).all(axis=1)
    renumbered = np.searchsorted(nodes, edges[kept])
    return np.asarray(labels)[nodes], unary[nodes], renumbered, pairwise[kept]
