import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.ops.crf_likelihood import conditional_losses, pairwise_losses, unary_losses
from tests.keras_dpn.enumeration import (
    direct_energy,
    direct_log_partition,
    direct_piecewise_loss,
    direct_pseudo_likelihood_loss,
    random_field,
    without_nodes,
)
from tests.keras_dpn.support import assert_close, finite_differences, gradients, jitted, to_numpy

TENSORFLOW = pytest.mark.tensorflow_only
FIELDS = [(6, 4, 12), pytest.param((2, 2, 3), marks=TENSORFLOW)]  # nodes, labels, edges
LOSSES = {
    "piecewise": (jitted(ops.piecewise_loss, static=("ignore",)), direct_piecewise_loss),
    "pseudo": (
        jitted(ops.pseudo_likelihood_loss, static=("ignore",)),
        direct_pseudo_likelihood_loss,
    ),
}
loss_names = pytest.mark.parametrize("name", LOSSES)


def labels_of(unary, seed=0):
    batch, nodes, labels = unary.shape
    return np.random.default_rng(seed).integers(0, labels, (batch, nodes)).astype("int32")


@loss_names
@pytest.mark.parametrize("size", FIELDS)
def test_equals_the_enumeration(size, name):
    unary, edges, pairwise = random_field(0, *size)
    labels = labels_of(unary)
    ours, reference = LOSSES[name]
    expected = [reference(labels[b], unary[b], edges, pairwise[b]) for b in range(2)]
    assert_close(ours(labels, unary, edges, pairwise), expected, rtol=0, atol=1e-5)


@loss_names
def test_is_the_likelihood_of_a_field_without_edges(name):
    unary, _, pairwise = random_field(1, nodes=5)
    labels, no_edges = labels_of(unary), np.zeros((0, 2), "int32")
    found = LOSSES[name][0](labels, unary, no_edges, pairwise[:, :0])
    for b in range(2):
        field = unary[b], no_edges, pairwise[b, :0]
        exact = direct_energy(labels[b : b + 1], *field)[0] + direct_log_partition(*field)
        assert_close(found[b], exact, rtol=0, atol=1e-5)


@loss_names
@pytest.mark.parametrize("masked", [False, True])
def test_gradient(name, masked):
    unary, edges, pairwise = random_field(2, batch=1)
    labels, exist = labels_of(unary), np.ones(6, bool)
    if masked:
        exist[3] = False
        labels[0, 1] = 255
    ours, reference = LOSSES[name]

    def remaining(unary, pairwise):
        kept = labels[0], unary[0], edges[exist], pairwise[0][exist]
        return reference(*without_nodes(np.flatnonzero(labels[0] == 255), *kept))

    found = gradients(
        lambda unary, pairwise: ours(labels, unary, edges, pairwise, ignore=255, exist=exist)[0],
        unary,
        pairwise,
    )
    for mine, theirs in zip(found, finite_differences(remaining, unary, pairwise), strict=True):
        assert_close(mine, theirs, rtol=0, atol=1e-5)
    assert np.any(found[0][0, 1]) != masked and np.any(found[1][0, 3]) != masked


@loss_names
@pytest.mark.parametrize("per_image", [False, True])
def test_leaves_out_ignored_nodes_and_their_edges(name, per_image):
    unary, edges, pairwise = random_field(3, nodes=6, edges=14, batch=3)
    labels = labels_of(unary) % 2
    labels[0, [1, 4]] = 2  # the ignore label, one of the field's
    labels[2] = 2
    exist = np.random.default_rng(0).random((3, 14) if per_image else 14) > 0.3
    ours, reference = LOSSES[name]
    found = to_numpy(ours(labels, unary, edges, pairwise, ignore=2, exist=exist))
    for b in range(3):
        there = exist[b] if per_image else exist
        field = unary[b], edges[there], pairwise[b][there]
        rest = without_nodes(np.flatnonzero(labels[b] == 2), labels[b], *field)
        assert_close(found[b], reference(*rest), rtol=0, atol=1e-5)
    assert found[2] == 0


@TENSORFLOW
def test_one_potential_alone():
    unary, edges, pairwise = random_field(4)
    labels = labels_of(unary)
    both = to_numpy(ops.piecewise_loss(labels, unary, edges, pairwise))
    alone = ops.piecewise_loss(labels, unary), ops.piecewise_loss(labels, None, edges, pairwise)
    assert_close(keras.ops.add(*alone), both)
    with pytest.raises(ValueError, match="`unary` and `pairwise`: expected at least one"):
        ops.piecewise_loss(labels)


@TENSORFLOW
def test_terms_and_which_of_them_count():
    unary, edges, pairwise = random_field(5, edges=5)
    edges = np.array([[0, 1], [1, 0], [2, 3], [3, 3], [1, 2]], "int32")
    labels, exist = labels_of(unary), np.array([True, True, True, False, True])
    labels[0, 1] = 255
    nodes, there = np.ones((2, 4)), np.array([[0, 0, 1, 0, 0], [1, 1, 1, 0, 1]])
    nodes[0, 1] = 0
    field = labels, unary, edges, pairwise
    for (losses, counted), expected, total in [
        (unary_losses(labels, unary, 255), nodes, ops.piecewise_loss(labels, unary, ignore=255)),
        (
            pairwise_losses(labels, edges, pairwise, 255, exist),
            there,
            ops.piecewise_loss(labels, None, edges, pairwise, 255, exist),
        ),
        (
            conditional_losses(*field, 255, exist),
            nodes,
            ops.pseudo_likelihood_loss(*field, 255, exist),
        ),
    ]:
        np.testing.assert_array_equal(to_numpy(counted), expected)
        np.testing.assert_array_equal(to_numpy(losses) != 0, expected)
        assert_close(keras.ops.sum(losses, axis=1), to_numpy(total))


@loss_names
def test_several_ignore_labels(name):
    unary, edges, pairwise = random_field(3, nodes=6, edges=14, batch=2)
    labels = labels_of(unary) % 2
    labels[0, [1, 4]] = -1, 255
    labels[1, [0, 2]] = 255, 2
    ours, reference = LOSSES[name]
    found = to_numpy(ours(labels, unary, edges, pairwise, ignore=(255, -1, 2)))
    for b, ignored in enumerate(([1, 4], [0, 2])):
        rest = without_nodes(ignored, labels[b], unary[b], edges, pairwise[b])
        assert_close(found[b], reference(*rest), rtol=0, atol=1e-5)


@loss_names
@pytest.mark.parametrize("label", [-1, 3, 0.5])
def test_labels_out_of_range(name, label):
    """An error where they are known; in a compiled step their nodes don't count."""
    unary, edges, pairwise = random_field(6, nodes=6)
    labels = labels_of(unary).astype("float32")
    labels[0, edges[0, 0]] = label
    ours = {"piecewise": ops.piecewise_loss, "pseudo": ops.pseudo_likelihood_loss}[name]
    message = rf"`labels`: expected integers 0 ... 2, received {label} \(pixels out of range: 1"
    with pytest.raises(ValueError, match=message):
        ours(labels, unary, edges, pairwise, ignore=255)
    if keras.backend.backend() == "torch":  # traces no step
        return
    found = to_numpy(_compiled(ours)(labels, unary, edges, pairwise, ignore=255))
    labels[0, edges[0, 0]] = 255
    assert_close(found, to_numpy(ours(labels, unary, edges, pairwise, ignore=255)))


def _compiled(function):
    if keras.backend.backend() == "jax":
        return jitted(function, static=("ignore",))
    import tensorflow as tf

    return tf.function(function)


@TENSORFLOW
@loss_names
def test_unknown_sizes(name):
    import tensorflow as tf

    specs = [
        tf.TensorSpec([None, None], "int32"),
        tf.TensorSpec([None, None, 3]),
        tf.TensorSpec([None, 2], "int32"),
        tf.TensorSpec([None, None, 3, 3]),
        tf.TensorSpec([None], "bool"),
    ]
    ours = LOSSES[name][0]
    run = tf.function(lambda *field, exist: ours(*field, ignore=2, exist=exist))
    traced = run.get_concrete_function(*specs[:4], exist=specs[4])
    for nodes, edges, batch in [(3, 4, 1), (5, 9, 2)]:
        field = random_field(7, nodes, 3, edges, batch)
        inputs = [tf.constant(x) for x in (labels_of(field[0]), *field)]
        exist = tf.constant(np.arange(edges) % 3 > 0)
        expected = ours(*inputs, ignore=2, exist=exist)
        assert_close(traced(*inputs, exist=exist), to_numpy(expected))


FIELD = random_field(8)
LABELS = labels_of(FIELD[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LABELS[:, :3], *FIELD), r"`labels`: expected .*\(2, 4, 3\), received \(2, 3\)"),
        ((LABELS[0], *FIELD), "`labels`"),
        ((LABELS, FIELD[0], FIELD[1] + 1, FIELD[2]), "`edges`: expected nodes 0 to 3, received 4"),
        ((LABELS, *FIELD[:2], FIELD[2][:, :2]), "`pairwise`: expected shape"),
        ((LABELS, *FIELD, None, [True, True]), r"`exist`: expected shape .*E 6 here, .* \(2,\)"),
    ],
)
@loss_names
def test_errors(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(ops, {"piecewise": "piecewise_loss", "pseudo": "pseudo_likelihood_loss"}[name])(
            *arguments
        )


def test_pairwise_logits_need_edges():
    with pytest.raises(ValueError, match="`edges`: expected those of `pairwise`"):
        ops.piecewise_loss(LABELS, None, None, FIELD[2])
