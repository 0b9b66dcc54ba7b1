import keras
import numpy as np
import pytest

from keras_dpn import ops
from tests.keras_dpn.enumeration import (
    direct_energy,
    direct_free_energy,
    direct_log_partition,
    direct_marginals,
    labellings,
    random_field,
)
from tests.keras_dpn.support import (
    assert_close,
    direct_softmax,
    dot,
    finite_differences,
    gradients,
    jitted,
    random,
    to_numpy,
)

TENSORFLOW = pytest.mark.tensorflow_only
FIELDS = [(6, 4, 12), pytest.param((2, 2, 3), marks=TENSORFLOW)]  # nodes, labels, edges
mean_field = jitted(ops.edge_mean_field, static=("num_iterations", "damping", "order"))
free_energy = jitted(ops.edge_free_energy)


def images(*arrays):
    """Each image's unary logits, edges and pairwise logits."""
    unary, edges, pairwise = arrays
    return [(unary[b], edges, pairwise[b]) for b in range(len(unary))]


def direct_mean_field(unary, edges, pairwise, iterations, damping=0.0, order="parallel"):
    """Logits of one image, one node after the other."""
    logits = np.asarray(unary, "float64").copy()
    for _ in range(iterations):
        seen = logits if order == "sequential" else logits.copy()
        for node in range(len(unary)):
            new = np.asarray(unary[node], "float64").copy()
            for (first, second), theta in zip(edges, pairwise, strict=True):
                if first == node:
                    new += theta @ direct_softmax(seen[second])
                if second == node:
                    new += direct_softmax(seen[first]) @ theta
            logits[node] = damping * logits[node] + (1 - damping) * new
    return logits


@pytest.mark.parametrize("size", FIELDS)
def test_energy_of_all_labellings(size):
    unary, edges, pairwise = random_field(0, *size, batch=1)
    labels = labellings(*size[:2])
    repeated = (np.repeat(x, len(labels), axis=0) for x in (unary, pairwise))
    found = ops.edge_energy(labels, next(repeated), edges, next(repeated))
    expected = direct_energy(labels, unary[0], edges, pairwise[0])
    assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", FIELDS)
def test_free_energy_is_that_of_the_joint_distribution(size):
    unary, edges, pairwise = random_field(1, *size)
    marginals = direct_softmax(2 * random(2, *size[:2], seed=1))
    found = to_numpy(free_energy(marginals, unary, edges, pairwise))
    for b, field in enumerate(images(unary, edges, pairwise)):
        assert_close(found[b], direct_free_energy(marginals[b], *field), rtol=0, atol=1e-5)
        assert found[b] > -direct_log_partition(*field)


@pytest.mark.parametrize("damping", [pytest.param(0.0, marks=TENSORFLOW), 0.3])
@pytest.mark.parametrize("order", ["parallel", "sequential"])
def test_updates_are_those_of_the_definition(order, damping):
    unary, edges, pairwise = random_field(2)
    settings = {"damping": damping, "order": order}
    found = mean_field(unary, edges, pairwise, num_iterations=3, **settings)
    expected = [
        direct_mean_field(*field, 3, **settings) for field in images(unary, edges, pairwise)
    ]
    assert_close(found, np.stack(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ["parallel", "sequential"])
@pytest.mark.parametrize("size", FIELDS)
def test_exact_where_the_nodes_are_independent(size, order):
    """Potentials a(u) + b(v) couple no labels, in a graph with any loops."""
    unary, edges, pairwise = random_field(3, *size)
    pairwise = pairwise[..., :1] + pairwise[..., :1, :]
    logits = mean_field(unary, edges, pairwise, num_iterations=1, order=order)
    marginals = to_numpy(keras.ops.softmax(logits))
    bound = -to_numpy(free_energy(marginals, unary, edges, pairwise))
    for b, field in enumerate(images(unary, edges, pairwise)):
        assert_close(marginals[b], direct_marginals(*field), rtol=0, atol=1e-5)
        assert_close(bound[b], direct_log_partition(*field), rtol=0, atol=2e-5)


def test_exact_on_a_tree_whose_inner_nodes_are_certain():
    """A star with a middle that is certain, whose leaves are then independent; and the reverse."""
    edges = np.array([[0, 1], [2, 0], [0, 3], [0, 4]], "int32")
    unary, _, pairwise = random_field(4, nodes=5, edges=4, batch=2)
    unary[0, 0, 1] += 60.0
    unary[1, 1:, 2] += 60.0
    marginals = to_numpy(keras.ops.softmax(mean_field(unary, edges, pairwise, num_iterations=2)))
    for b, field in enumerate(images(unary, edges, pairwise)):
        assert_close(marginals[b], direct_marginals(*field), rtol=0, atol=1e-5)
    assert marginals[0, 1:].max() < 0.999 and marginals[1, 0].max() < 0.999


@TENSORFLOW
def test_a_fixed_point_is_stationary():
    """Along every direction that keeps sums of 1, the enumerated free energy has slope 0."""
    unary, edges, pairwise = random_field(5, scale=0.7)
    logits = to_numpy(mean_field(unary, edges, pairwise, num_iterations=40, damping=0.3))
    for b, field in enumerate(images(unary, edges, pairwise)):
        (slope,) = finite_differences(
            lambda z, field=field: direct_free_energy(direct_softmax(z), *field), logits[b]
        )
        assert_close(slope, np.zeros(slope.shape), atol=1e-5)


@TENSORFLOW  # JAX compiles every number of iterations
def test_free_energy_never_rises_one_node_after_the_other():
    field = random_field(6, nodes=6, labels=4, edges=15, batch=8, scale=4.0)
    change = {}
    for order in ("parallel", "sequential"):
        logits = [ops.edge_mean_field(*field, n, order=order) for n in (0, 1, 2, 3, 6)]
        energies = [to_numpy(ops.edge_free_energy(keras.ops.softmax(x), *field)) for x in logits]
        change[order] = np.diff(energies, axis=0)
    assert change["sequential"].max() < 1e-4 and change["sequential"].min() < -1
    assert change["parallel"].max() > 1
    bounds = [-direct_log_partition(*image) for image in images(*field)]
    assert np.all(energies[-1] > np.array(bounds) - 1e-4)


@TENSORFLOW
def test_damping_ends_swings():
    """Two nodes that are not to be alike, and start alike."""
    unary = np.array([[[0.1, 0.0], [0.1, 0.0]]], "float32")
    edges, differ = np.array([[0, 1]]), np.array([[[[-6.0, 0.0], [0.0, -6.0]]]], "float32")
    swings, settled = (
        [
            to_numpy(mean_field(unary, edges, differ, num_iterations=n, damping=damping))[0, 0]
            for n in (20, 21)
        ]
        for damping in (0.0, 0.6)
    )
    assert np.ptp(swings, axis=0).max() > 5
    assert np.ptp(settled, axis=0).max() < 1e-3


@pytest.mark.parametrize("order", [pytest.param("parallel", marks=TENSORFLOW), "sequential"])
def test_gradient(order):
    unary, edges, pairwise = random_field(7, nodes=3, labels=2, edges=4, batch=1)
    upstream = random(1, 3, 2, low=-1.0)

    def ours(unary, pairwise):
        return dot(ops.edge_mean_field(unary, edges, pairwise, 2, 0.2, order), upstream)

    def reference(unary, pairwise):
        return (direct_mean_field(unary[0], edges, pairwise[0], 2, 0.2, order) * upstream).sum()

    expected = finite_differences(reference, unary, pairwise)
    for found, theirs in zip(gradients(ours, unary, pairwise), expected, strict=True):
        assert_close(found, theirs, rtol=0, atol=1e-5)


@TENSORFLOW
def test_half_precision_is_summed_in_full():
    unary, edges, pairwise = random_field(8)
    half = [keras.ops.cast(x, "bfloat16") for x in (unary, pairwise)]
    wide = [keras.ops.cast(x, "float32") for x in half]
    found = ops.edge_mean_field(half[0], edges, half[1], 2)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert_close(found, to_numpy(ops.edge_mean_field(wide[0], edges, wide[1], 2)))


def test_many_nodes_need_no_array_of_all_pairs():
    count = 60000  # of whose pairs one float each takes 14 GB
    edges = np.stack([np.arange(count), np.roll(np.arange(count), 1)], axis=1)
    alike = keras.ops.broadcast_to(keras.ops.eye(2), (1, count, 2, 2))
    logits = mean_field(random(1, count, 2), edges, alike, num_iterations=2)
    assert logits.shape == (1, count, 2)


@TENSORFLOW
def test_a_field_without_edges():
    unary = random(2, 4, 3)
    no_edge = np.zeros((0, 2), "int32"), np.zeros((2, 0, 3, 3), "float32")
    assert_close(ops.edge_mean_field(unary, *no_edge, num_iterations=3), unary)


@TENSORFLOW
@pytest.mark.parametrize("order", ["parallel", "sequential"])
def test_unknown_sizes(order):
    import tensorflow as tf

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 3]),
            tf.TensorSpec([None, 2], "int32"),
            tf.TensorSpec([None, None, 3, 3]),
        ]
    )
    def run(unary, edges, pairwise):
        logits = ops.edge_mean_field(unary, edges, pairwise, 2, order=order)
        return logits, ops.edge_free_energy(keras.ops.softmax(logits), unary, edges, pairwise)

    for nodes, edges, batch in [(3, 4, 1), (5, 9, 2)]:
        field = random_field(9, nodes, 3, edges, batch)
        logits, energy = run(*field)
        expected = ops.edge_mean_field(*field, 2, order=order)
        assert_close(logits, to_numpy(expected))
        assert_close(energy, to_numpy(ops.edge_free_energy(keras.ops.softmax(expected), *field)))


FIELD = random_field(10)


@pytest.mark.parametrize(
    ("edges", "pairwise", "settings", "message"),
    [
        ([[0, 4]], FIELD[2][:, :1], {}, "`edges`: expected nodes 0 to 3, received 4"),
        ([[-1, 2]], FIELD[2][:, :1], {}, "`edges`: expected nodes 0 to 3, received -1"),
        ([[0.0, 1.0]], FIELD[2][:, :1], {}, r"`edges`: expected integers .*received float32"),
        ([0, 1], FIELD[2][:, :1], {}, r"`edges`: expected .*\(E, 2\), received int32 .*\(2,\)"),
        (FIELD[1], FIELD[2][:, :1], {}, r"`pairwise`: .*\(2, 6, 3, 3\), received \(2, 1, 3, 3\)"),
        (FIELD[1], FIELD[2][..., :2], {}, "`pairwise`: expected shape"),
        (FIELD[1], FIELD[2][:1], {}, "`pairwise`: expected shape"),
        (*FIELD[1:], {"num_iterations": -1}, "`num_iterations`: .* at least 0, received -1"),
        (*FIELD[1:], {"damping": 1.0}, "`damping`: .* 0 to below 1, received 1.0"),
        (*FIELD[1:], {"damping": -0.1}, "`damping`"),
        (*FIELD[1:], {"damping": "0.5"}, "`damping`"),
        (*FIELD[1:], {"order": "random"}, r"`order`: expected one of \['parallel', 'sequential'\]"),
    ],
)
def test_errors(edges, pairwise, settings, message):
    with pytest.raises(ValueError, match=message):
        ops.edge_mean_field(FIELD[0], edges, pairwise, **{"num_iterations": 2, **settings})


@pytest.mark.parametrize(
    ("labels", "unary", "message"),
    [
        ([[0, 3, 0, 0]] * 2, FIELD[0], "`labels`: expected integers 0 ... 2, received 3"),
        ([[0, 1, 0]] * 2, FIELD[0], r"for each node .*received shapes \(2, 3, 3\) and \(2, 4, 3\)"),
        ([[0, 1, 0, 0]] * 2, FIELD[0][:, :1], "for each node of `unary`"),
    ],
)
def test_energies_refuse_what_does_not_fit(labels, unary, message):
    with pytest.raises(ValueError, match=message):
        ops.edge_energy(labels, unary, *FIELD[1:])
