import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.metrics import SegmentationScores
from keras_dpn.models import PiecewiseCRF
from tests.keras_dpn.support import assert_close, picture, run, to_numpy, without_values

# JAX compiles each step of training for seconds: there, one of them must do.
TENSORFLOW = pytest.mark.tensorflow_only

LABELS, SIZE, MAP = 3, (23, 30), (6, 8)
IGNORE = 11


def tiny(**settings):
    """Networks of a few hundred weights on a map of 6 x 8 cells."""
    small = {"scales": (1.0,), "num_blocks": 2, "block6": ((1, 150),), "units": 200, "width": 0.04}
    return PiecewiseCRF(**{"num_classes": LABELS, **small, **settings})


def batch(seed=0):
    labels = np.random.default_rng(seed).integers(0, LABELS, (2, *SIZE))
    labels[:, :9, :12] = IGNORE
    return picture(*SIZE, seed=seed, batch=2), labels


def node_labels(labels):
    """Those of the pixels at the nodes' centres: (B, N)."""
    height, width = MAP
    rows = [int((i + 0.5) * SIZE[0] / height) for i in range(height)]
    columns = [int((j + 0.5) * SIZE[1] / width) for j in range(width)]
    return labels[:, rows][:, :, columns].reshape(2, -1)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return tiny()


def loss_of(learner, potentials):
    """The objective. On JAX of all networks' potentials: it compiles those of each learner anew."""
    image, labels = batch()
    if keras.backend.backend() == "jax":
        relations = {n: r for n, r in potentials["relations"].items() if n in learner.potentials}
        potentials = {**potentials, "relations": relations}
    else:
        potentials = learner(image)
    return float(learner.compute_loss(y=labels, y_pred=potentials))


@pytest.fixture(scope="module")
def potentials(model):
    return run(model.learner(), batch()[0])


def test_piecewise_is_a_mean_of_each_potential(model, potentials):
    labels = node_labels(batch()[1])
    counted = labels != IGNORE
    assert 0 < counted.sum() < counted.size
    unary = to_numpy(potentials["unary"]).reshape(2, -1, LABELS)
    total = to_numpy(ops.piecewise_loss(labels, unary, ignore=IGNORE))
    expected = {"unary": np.sum(total) / counted.sum()}
    for name, (edges, exist, pairwise) in potentials["relations"].items():
        total = to_numpy(ops.piecewise_loss(labels, None, edges, pairwise, IGNORE, exist))
        count = (counted[:, to_numpy(edges)].all(axis=-1) & to_numpy(exist)).sum()
        expected[name] = np.sum(total) / count
    for names in (("unary",), ("above",), ("unary", "surrounding"), None):
        learner = model.learner(names, ignore_label=IGNORE)
        chosen = [expected[name] for name in names or expected]
        assert_close(loss_of(learner, potentials), sum(chosen), rtol=1e-4)


def test_pseudo_likelihood_and_mean_field_are_means_over_nodes(model, potentials):
    labels = node_labels(batch()[1])
    unary = to_numpy(potentials["unary"]).reshape(2, -1, LABELS)
    relations = [map(to_numpy, relation) for relation in potentials["relations"].values()]
    edges, exist, pairwise = zip(*relations, strict=True)
    edges, exist = np.concatenate(edges), np.concatenate(exist)
    pairwise = np.concatenate(pairwise, axis=1)
    total = to_numpy(ops.pseudo_likelihood_loss(labels, unary, edges, pairwise, IGNORE, exist))
    field = ops.edge_mean_field(unary, edges, pairwise, num_iterations=2)
    expected = {
        "pseudo_likelihood": np.sum(total) / (labels != IGNORE).sum(),
        "mean_field": np.sum(to_numpy(ops.piecewise_loss(labels, field, ignore=IGNORE)))
        / (labels != IGNORE).sum(),
    }
    for objective, value in expected.items():
        learner = model.learner(objective=objective, ignore_label=IGNORE)
        assert_close(loss_of(learner, potentials), value, rtol=1e-4)


def test_a_batch_without_a_node_that_counts(model, potentials):
    learner = model.learner(ignore_label=IGNORE)
    nothing = np.full((2, *SIZE), IGNORE)
    assert float(learner.compute_loss(y=nothing, y_pred=potentials)) == 0


@TENSORFLOW
def test_only_the_chosen_networks_are_there(model):
    learner = model.learner(("above",))
    assert {weight.path.split("_")[0] for weight in learner.weights} == {"above"}
    expected = model.head_model("above")(batch()[0])
    assert_close(learner(batch()[0])["logits"], to_numpy(expected), rtol=1e-4, atol=1e-3)


def test_fits_with_metrics():
    """On both backends; metrics see the prediction."""
    model = tiny(relations=("above",), num_neighbors=2)
    before = [to_numpy(weight) for weight in model.weights]
    learner = model.learner(ignore_label=IGNORE)
    learner.compile("sgd", metrics=[SegmentationScores(LABELS, IGNORE)], jit_compile=False)
    image, labels = batch()
    history = learner.fit(image, labels, verbose=0).history
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["miou"]).all()
    moved = [np.any(to_numpy(w) != b) for w, b in zip(model.weights, before, strict=True)]
    assert all(moved), [w.path for w, m in zip(model.weights, moved, strict=True) if not m]
    learner.reset_metrics()
    potentials = run(learner, image)
    found = learner.compute_metrics(image, labels, potentials)["scores"]["accuracy"]
    right = run(model, image).argmax(-1) == labels
    assert_close(found, right[labels != IGNORE].mean(), rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@TENSORFLOW
def test_one_after_another_is_together(optimizer):
    """With neighbours drawn anew in each step."""
    start = tiny(num_neighbors=2).get_weights()
    models = [tiny(num_neighbors=2), tiny(num_neighbors=2)]
    order = ((None,), (("above",), ("unary",), ("surrounding",)))
    for model, turns in zip(models, order, strict=True):
        model.set_weights(start)
        for names in turns:
            learner = model.learner(names, ignore_label=IGNORE)
            learner.compile(keras.optimizers.get(optimizer), run_eagerly=True)
            for step in range(2):
                learner.train_on_batch(*batch(step))
    together, apart = (model.get_weights() for model in models)
    for a, b, before in zip(together, apart, start, strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-6)
        assert np.any(a != before)


def test_neighbors_are_drawn_in_training_only():
    image = batch()[0]

    def drawn(learner, **training):
        return to_numpy(learner(image, **training)["relations"]["surrounding"][0])

    learner, again = (
        tiny(relations=("surrounding",), num_neighbors=3, seed=5).learner() for _ in range(2)
    )
    first, second = (drawn(learner, training=True) for _ in range(2))
    assert first.shape == (48 * 3, 2) and np.any(first != second)
    np.testing.assert_array_equal(drawn(again, training=True), first)
    assert drawn(learner).shape == (48 * 9, 2)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@TENSORFLOW
def test_checkpointing_changes_nothing(policy, monkeypatch):
    recomputations, remat = [], keras.remat
    monkeypatch.setattr(keras, "remat", lambda f: recomputations.append(f) or remat(f))
    keras.config.set_dtype_policy(policy)
    kept, recomputed = (tiny(relations=(), checkpointing=c) for c in (False, True))
    recomputed.set_weights(kept.get_weights())
    losses = []
    for model in (kept, recomputed):
        learner = model.learner(ignore_label=IGNORE)
        learner.compile(keras.optimizers.SGD(1e-3), jit_compile=False)
        losses.append([float(learner.train_on_batch(*batch(step))) for step in range(3)])
        assert bool(recomputations) == model.checkpointing
    assert_close(*losses, rtol=1e-5 if policy == "float32" else 1e-2)
    for a, b in zip(kept.get_weights(), recomputed.get_weights(), strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_what_lies_above_what_is_learnt_in_this_order():
    """Label 0 above label 1, of the same look: the edges' logits are no symmetric table."""
    model = tiny(unary=False, relations=("above",), num_classes=2)
    labels = np.zeros((1, *SIZE), int)
    labels[:, 12:] = 1
    learner = model.learner()
    learner.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    image = np.full((1, *SIZE, 3), 100.0, "float32")
    for _ in range(20):
        learner.train_on_batch(image, labels)
    _, exist, pairwise = learner(image)["relations"]["above"]
    table = to_numpy(pairwise)[0, to_numpy(exist)].mean(axis=0)  # (label, label above it)
    assert table[1, 0] > table[0, 1] + 2
    found = to_numpy(model(image)).argmax(-1)
    np.testing.assert_array_equal(found[:, :4], 0)
    np.testing.assert_array_equal(found[:, -4:], 1)


@TENSORFLOW
def test_the_loss_is_shared_by_the_devices(model, potentials, monkeypatch):
    """Keras adds up the devices' gradients."""
    import tensorflow as tf

    learner = model.learner(("unary",), ignore_label=IGNORE)
    alone = loss_of(learner, potentials)

    class Two:
        num_replicas_in_sync = 2

    monkeypatch.setattr(tf.distribute, "get_strategy", Two)
    assert_close(loss_of(learner, potentials), alone / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"potentials": ("below",)},
            r"`potentials`: expected some of \['unary', .*, received \('below',\)",
        ),
        ({"potentials": ()}, "`potentials`: expected some of"),
        ({"objective": "likelihood"}, "`objective`: expected one of .*'piecewise'.* 'likelihood'"),
        (
            {"potentials": ("above",), "objective": "mean_field"},
            "`potentials`: expected all with objective 'mean_field', received",
        ),
    ],
)
def test_refuses_arguments(arguments, message):
    model = without_values(tiny)
    with pytest.raises(ValueError, match=message):
        model.learner(**arguments)


def test_refuses_labels_of_another_size(model, potentials):
    learner = model.learner(("unary",))
    with pytest.raises(ValueError, match=r"`y_true`: expected shape \(2, 23, 30\)"):
        learner.compute_loss(y=np.zeros((2, 6, 8), int), y_pred=potentials)


def test_potentials_were_called_pieces(model):
    with pytest.warns(DeprecationWarning, match="`pieces` .* Use `potentials` instead"):
        assert model.pieces == model.potentials
    with pytest.warns(DeprecationWarning, match="`pieces=` .* Use `potentials=` instead"):
        learner = model.learner(pieces=("above",))
    assert learner.potentials == ("above",)


def test_penalties_of_the_weights_are_added(model, potentials):
    learner, labels = model.learner(("unary",), ignore_label=IGNORE), batch()[1]
    plain = float(learner.compute_loss(y=labels, y_pred=potentials))
    kernel = learner.trainable_variables[0]
    kernel.regularizer = keras.regularizers.L2(10.0)
    try:
        penalty = 10 * np.square(to_numpy(kernel)).sum()
        assert_close(float(learner.compute_loss(y=labels, y_pred=potentials)), plain + penalty)
    finally:
        kernel.regularizer = None


def test_refuses_weights_of_samples_and_no_labels(model, potentials):
    learner = model.learner(("unary",))
    with pytest.raises(ValueError, match="`sample_weight`: PiecewiseLearner takes none"):
        learner.compute_loss(y=batch()[1], y_pred=potentials, sample_weight=np.ones(2))
    with pytest.raises(ValueError, match="`y`: expected label maps, received None"):
        learner.compute_loss(y_pred=potentials)


@TENSORFLOW
def test_heads_that_recompute_are_saved_but_learners_are_not(tmp_path):
    network = tiny(relations=(), checkpointing=True)
    head, image = network.head_model("unary"), batch()[0]
    head.save(tmp_path / "head.keras")
    assert_close(run(keras.saving.load_model(tmp_path / "head.keras"), image), run(head, image))
    with pytest.raises(NotImplementedError, match="save its PiecewiseCRF"):
        network.learner().save(tmp_path / "learner.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["head.keras"]
