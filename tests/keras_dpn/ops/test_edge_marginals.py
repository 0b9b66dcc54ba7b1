import numpy as np

from keras_dpn.ops.edge_marginals import mean_edge_marginals
from tests.keras_dpn.support import assert_close, direct_softmax, random, to_numpy

EDGES = np.array([[0, 1], [2, 1], [1, 3], [3, 3]])
EXIST = np.array([[True, True, True, False], [False, True, False, False]])


def test_equals_a_loop():
    pairwise = random(2, 4, 3, 3, low=-2.0, high=2.0)
    mean, counted = mean_edge_marginals(EDGES, EXIST, pairwise, 5)
    for b in range(2):
        for node in range(5):
            seen = []
            for edge, exists, theta in zip(EDGES, EXIST[b], pairwise[b], strict=True):
                joint = direct_softmax(theta.reshape(-1)).reshape(3, 3)
                for end, axis in ((0, 1), (1, 0)):
                    if exists and edge[end] == node:
                        seen.append(joint.sum(axis=axis))
            expected = np.mean(seen, axis=0) if seen else np.zeros(3)
            assert_close(mean[b, node], expected)
            assert to_numpy(counted)[b, node, 0] == bool(seen)


def test_edges_of_all_images():
    pairwise = random(2, 4, 3, 3)
    each = np.broadcast_to(EXIST[0], (2, 4))
    mean, counted = mean_edge_marginals(EDGES, EXIST[0], pairwise, 5)
    assert counted.shape == (1, 5, 1)
    assert_close(mean, to_numpy(mean_edge_marginals(EDGES, each, pairwise, 5)[0]))
