import functools
import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_dpn import layers, ops
from keras_dpn.ops.gaussian_kernels import FILTERS, NORMALIZATIONS
from tests.keras_dpn.support import (
    assert_close,
    direct_gaussian,
    direct_lattice,
    direct_mean_field,
    direct_softmax,
    dot,
    finite_differences,
    gradients,
    jitted,
    random,
    run_layer_test,
    to_numpy,
)

# JAX takes seconds to compile a filter: there, most tests must do with exact kernels.
TENSORFLOW = pytest.mark.tensorflow_only
LATTICE, WINDOW = (pytest.param(name, marks=TENSORFLOW) for name in ("permutohedral", "window"))
SOME_FILTERS = [LATTICE, WINDOW, "exact"]
SIZES = [(7,), (4, 5), (2, 3, 4)]
BILATERAL, SPATIAL = (4.0, 3.3, 60.0), (3.0, 1.7)


def crf(filter="exact", size=(4, 5), **settings):
    """A layer whose kernels fit small images; a window covers all of them."""
    window = tuple(2 * n - 1 for n in size) if filter == "window" else None
    defaults = {"num_iterations": 3, "bilateral": BILATERAL, "spatial": SPATIAL, "window": window}
    return layers.MeanFieldCRF(filter=filter, **(defaults | settings))


def pair(*size, labels=3, channels=3, batch=2):
    logits = random(batch, *size, labels, low=-2.0, high=2.0)
    return logits, random(batch, *size, channels, seed=1, high=255.0)


def marginals(layer, logits, guide, training=None):
    if not layer.built:
        layer.build([logits.shape, guide.shape])
    variables = layer.trainable_variables, layer.non_trainable_variables
    values = [[keras.ops.convert_to_tensor(v) for v in group] for group in variables]
    out = to_numpy(call(layer, training)(*values, logits, guide))
    return direct_softmax(out.astype("float64"))


@functools.cache
def call(layer, training):
    """A layer's call, compiled once."""

    def function(trainable, non_trainable, logits, guide):
        out, _ = layer.stateless_call(trainable, non_trainable, (logits, guide), training=training)
        return out

    return jitted(function)


def reference(logits, guide, kernels=(BILATERAL, SPATIAL), iterations=3, **settings):
    images = zip(logits, guide, strict=True)
    out = [direct_mean_field(*i, kernels, iterations=iterations, **settings) for i in images]
    return np.stack(out)


@pytest.mark.parametrize(
    ("filter", "size", "channels", "learns", "counts"),
    [
        pytest.param("permutohedral", (4, 5), 3, (), (0, 1), marks=TENSORFLOW),
        pytest.param("window", (6,), 1, ("weights", "bandwidths"), (3, 0), marks=TENSORFLOW),
        ("exact", (2, 2, 3), 4, ("compatibility",), (1, 1)),
    ],
)
def test_layer(filter, size, channels, learns, counts):
    settings = {"num_iterations": 2, "filter": filter, "trainable_weights_of": learns}
    settings |= {"window": 3} if filter == "window" else {}
    settings |= {"compatibility": "matrix"} if "compatibility" in learns else {}
    run_layer_test(
        layers.MeanFieldCRF,
        settings,
        input_shape=((2, *size, 4), (2, *size, channels)),
        expected_output_shape=(2, *size, 4),
        expected_output_dtype="float32",
        expected_num_trainable_weights=counts[0],
        expected_num_non_trainable_weights=counts[1],
    )


@pytest.mark.parametrize(
    ("filter", "size"),
    [("permutohedral", (4, 5)), ("window", (4, 5)), *(("exact", size) for size in SIZES)]
    + [
        pytest.param(filter, size, marks=TENSORFLOW)
        for filter, size in itertools.product(("permutohedral", "window"), ((7,), (2, 3, 4)))
    ],
)
def test_equals_mean_field(filter, size):
    logits, guide = pair(*size)
    gaussian = direct_lattice if filter == "permutohedral" else direct_gaussian
    expected = reference(logits, guide, gaussian=gaussian)
    assert np.abs(expected - direct_softmax(logits)).max() > 0.2
    assert_close(marginals(crf(filter, size), logits, guide), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("filter", [LATTICE, "exact"])
def test_normalizations(filter, normalization):
    logits, guide = pair(4, 5)
    settings = {"normalization": normalization}
    gaussian = direct_lattice if filter == "permutohedral" else direct_gaussian
    expected = reference(logits, guide, gaussian=gaussian, **settings)
    assert_close(marginals(crf(filter, **settings), logits, guide), expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize(
    ("channels", "bilateral", "spatial"),
    [
        (1, (2.0, 3.3, 60.0), None),
        (3, None, (3.0, 1.7)),
        (4, (2.0, (1.3, 3.7), 60.0), (1.0, (2.1, 0.8))),  # rows, columns
        (3, (2.0, 2.5, (30.0, 60.0, 1000.0)), None),
        (2, [(2.0, 3.3, 60.0), (1.5, (5.1, 1.1), (20.0, 99.0))], (3.0, 1.7)),
        (3, [(0.0, 3.3, 60.0)], (0, 1)),
    ],
)
@pytest.mark.parametrize("filter", [LATTICE, "exact"])
def test_kernels(filter, channels, bilateral, spatial):
    logits, guide = pair(4, 5, channels=channels)
    several = isinstance(bilateral, list)
    kernels = [] if bilateral is None else bilateral if several else [bilateral]
    kernels = kernels + ([] if spatial is None else [spatial])
    layer = crf(filter, bilateral=bilateral, spatial=spatial)
    gaussian = direct_lattice if filter == "permutohedral" else direct_gaussian
    expected = reference(logits, guide, kernels, gaussian=gaussian)
    assert_close(marginals(layer, logits, guide), expected, rtol=0, atol=3e-5)


def test_a_window_cuts_kernels_off():
    logits, guide = random(1, 7, 2, low=-2.0), np.zeros((1, 7, 1), "float32")
    layer = layers.MeanFieldCRF(
        num_iterations=4, bilateral=(2.0, 1e6, 1.0), spatial=None, filter="window", window=3
    )
    near = np.abs(np.subtract.outer(np.arange(7), np.arange(7))) <= 1
    kernels = [(2.0, 1e6, 1.0)]
    expected = reference(logits, guide, kernels, iterations=4, gaussian=lambda features: 1.0 * near)
    assert_close(marginals(layer, logits, guide), expected)


def costs(*shape):
    return random(*shape, seed=5, low=-1.0)


@pytest.mark.parametrize(
    ("compatibility", "matrices"),
    [
        ("matrix", [-np.eye(3), -np.eye(3)]),
        ("matrix_per_kernel", [-np.eye(3), -np.eye(3)]),
        (costs(3, 3), [costs(3, 3), costs(3, 3)]),
        (costs(3, 3).tolist(), [costs(3, 3), costs(3, 3)]),
    ],
)
def test_compatibilities(compatibility, matrices):
    logits, guide = pair(4, 5)
    expected = reference(logits, guide, compatibilities=matrices)
    layer = crf(compatibility=compatibility)
    assert_close(marginals(layer, logits, guide), expected, rtol=0, atol=1e-5)


def test_learnt_compatibilities_are_costs_beside_a_label():
    logits, guide = pair(4, 5)
    for compatibility, matrices in [
        ("matrix", costs(3, 3)),
        ("matrix_per_kernel", costs(2, 3, 3)),
    ]:
        layer = crf(compatibility=compatibility, trainable_weights_of=("compatibility",))
        layer.build([logits.shape, guide.shape])
        layer.compatibilities.assign(matrices)
        expected = reference(logits, guide, compatibilities=np.broadcast_to(matrices, (2, 3, 3)))
        assert_close(marginals(layer, logits, guide), expected, rtol=0, atol=1e-5)


@TENSORFLOW
def test_images_of_a_batch_do_not_mix():
    logits, guide = pair(4, 5, batch=3)
    layer = crf("permutohedral")
    together = marginals(layer, logits, guide)
    for i in range(3):
        alone = marginals(layer, logits[i : i + 1], guide[i : i + 1])
        assert_close(together[i], alone[0])


def test_image_types():
    logits, _ = pair(4, 5)
    image = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3), "uint8")
    layer = crf()
    expected = reference(logits, image)
    assert_close(marginals(layer, logits, image), expected, rtol=0, atol=1e-5)
    inputs = keras.Input((4, 5, 3)), keras.Input((4, 5, 3), dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    assert_close(direct_softmax(model.predict([logits, image], verbose=0)), expected, 0, 1e-5)


@pytest.mark.parametrize("filter", SOME_FILTERS)
def test_unknown_sizes(filter):
    inputs = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    layer = crf(filter)
    out = layer(inputs)
    assert out.shape == (None, None, None, 3) and out.dtype == "float32"
    model = keras.Model(inputs, out)
    for size in [(3, 6), (5, 2)]:
        logits, guide = pair(*size)
        expected = marginals(layer, logits, guide)
        out = direct_softmax(model.predict([logits, guide], verbose=0))
        assert_close(out, expected, rtol=0, atol=1e-5)


def test_iterations():
    logits, guide = pair(4, 5)
    layer = crf(num_iterations=2, inference_iterations=6)
    for settings, iterations in [({"training": True}, 2), ({"training": False}, 6), ({}, 6)]:
        expected = reference(logits, guide, iterations=iterations)
        assert_close(marginals(layer, logits, guide, **settings), expected, rtol=0, atol=1e-5)
    expected = reference(logits, guide, iterations=2)
    assert_close(marginals(crf(num_iterations=2), logits, guide, training=False), expected, 0, 1e-5)


def test_min_probability():
    logits, guide = pair(4, 5)
    probabilities = direct_softmax(4 * logits)
    assert 0.1 < np.mean(probabilities < 0.2) < 0.9
    unary = np.log(np.maximum(probabilities, 0.2))
    layer = crf(min_probability=0.2)
    assert_close(marginals(layer, 4 * logits, guide), reference(unary, guide), rtol=0, atol=1e-5)


@pytest.mark.parametrize("filter", SOME_FILTERS)
def test_labels_follow_the_image(filter):
    truth = np.zeros((16, 18), int)
    truth[4:12, 5:14] = 1
    noise = np.random.default_rng(0).normal(size=(2, *truth.shape, 2))
    image = np.where(truth[..., None], [200.0, 50.0, 50.0], [60.0, 90.0, 160.0])
    image = image + 5 * noise[0, ..., :1]
    logits = np.eye(2)[truth] + noise[1]
    window = {"window": 11} if filter == "window" else {}
    layer = crf(filter, num_iterations=5, bilateral=(5.0, 20.0, 13.0), **window)
    logits, image = logits[None].astype("float32"), image[None].astype("float32")
    before = (logits[0].argmax(-1) == truth).mean()
    after = (marginals(layer, logits, image)[0].argmax(-1) == truth).mean()
    assert before < 0.85 and after > 0.99


# ----------------------------------------------------------------------------- pruned labels


def unlikely(*size, labels=5, batch=2):
    """Logits whose labels 1 and 3 have probabilities below 0.05; 0 as well in the second image."""
    logits, guide = pair(*size, labels=labels, batch=batch)
    logits[..., [1, 3]] -= 6
    logits[1:, ..., 0] -= 6
    return logits.astype("float32"), guide


@TENSORFLOW
@pytest.mark.parametrize("filter", [LATTICE, "exact"])
def test_pruned_labels_get_no_messages(filter):
    logits, guide = unlikely(4, 5)
    pruned = crf(filter, prune_below=0.05)((logits, guide))
    assert pruned.shape == (2, 4, 5, 5)
    for i, kept in enumerate(([1, 0, 1, 0, 1], [0, 0, 1, 0, 1])):  # image by image
        costs = -np.diag(np.array(kept, "float32"))
        expected = crf(filter, compatibility=costs)((logits[i : i + 1], guide[i : i + 1]))
        assert_close(pruned[i : i + 1], to_numpy(expected), rtol=1e-5, atol=1e-5)
    unpruned = crf(filter)((logits, guide))
    assert np.abs(to_numpy(pruned) - to_numpy(unpruned)).max() > 1e-3
    layer = layers.MeanFieldCRF.from_config(crf(filter, prune_below=0.05).get_config())
    in_training = layer((logits, guide), training=True)
    assert layer.prune_below == 0.05
    assert_close(in_training, to_numpy(unpruned), rtol=0, atol=1e-5)


@TENSORFLOW
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("iterations", [1, 4])
def test_pruning_stays_within_its_bound(normalization, iterations):
    logits, guide = unlikely(4, 5, batch=1)
    kernels = (0.9, 3.3, 60.0), (0.4, 1.7)
    if normalization == "none":
        kernels = (0.09, 3.3, 60.0), (0.04, 1.7)
    settings = {"bilateral": kernels[0], "spatial": kernels[1], "normalization": normalization}
    layer = crf(num_iterations=iterations, **settings)
    exact = direct_softmax(to_numpy(layer((logits, guide))).astype("float64"))
    p = direct_softmax(logits.astype("float64"))
    threshold, rest = p[..., [1, 3]].max() * 1.001, p[..., [1, 3]].sum(axis=-1).max()
    pruned = crf(num_iterations=iterations, prune_below=threshold, **settings)((logits, guide))
    error = np.abs(direct_softmax(to_numpy(pruned).astype("float64")) - exact).max()
    certain = np.where(np.arange(5) == 0, 30.0, 0.0) + np.zeros_like(logits)
    messages = to_numpy(crf(num_iterations=1, **settings)((certain.astype("float32"), guide)))
    strength = (messages[..., 0] - messages[..., 1]).max() - 30 + 1e-4
    bound = ops.pruning_error_bound(threshold, rest, strength, iterations)
    assert 1e-6 < error < bound < 0.01


@TENSORFLOW
def test_pruning_with_unknown_sizes():
    inputs = keras.Input((None, None, 5)), keras.Input((None, None, 3))
    model = keras.Model(inputs, crf("permutohedral", prune_below=0.05)(inputs))
    for size in ((4, 5), (2, 3)):
        logits, guide = unlikely(*size)
        expected = crf("permutohedral", prune_below=0.05)((logits, guide))
        assert_close(model.predict_on_batch([logits, guide]), to_numpy(expected), 1e-4, 1e-4)

    one_label = np.full((1, 4, 5, 5), -30.0, "float32")
    one_label[..., 2] = 0
    out = model.predict_on_batch([one_label, unlikely(4, 5, batch=1)[1]])
    assert (out.argmax(axis=-1) == 2).all() and np.isfinite(out).all()


# ---------------------------------------------------------------------------------- training


def weights_by_name(layer):
    return {weight.name: weight for weight in layer.trainable_weights}


@pytest.mark.parametrize(
    ("learns", "compatibility", "names"),
    [
        ((), "potts", []),
        (("weights",), "potts", ["kernel_weights"]),
        (["compatibility"], "matrix", ["compatibility"]),
        (("bandwidths",), "matrix", ["log_bandwidths_0", "log_bandwidths_1"]),
        (
            ("weights", "compatibility", "bandwidths"),
            "matrix_per_kernel",
            ["compatibility", "kernel_weights", "log_bandwidths_0", "log_bandwidths_1"],
        ),
    ],
)
def test_trainable_weights(learns, compatibility, names):
    layer = crf(trainable_weights_of=learns, compatibility=compatibility)
    logits, guide = pair(4, 5)
    layer.build([logits.shape, guide.shape])
    assert sorted(weights_by_name(layer)) == names
    # Whatever learns, it starts as the same CRF.
    assert_close(marginals(layer, logits, guide), reference(logits, guide), rtol=0, atol=1e-5)


def gradient_case(filter, compatibility, learns):
    """A layer with unlike weights, inputs, and a projection of its logits."""
    logits, guide = pair(2, 3, batch=1)
    kernels = {"bilateral": (2.0, (1.3, 2.2), (90.0, 120.0, 200.0)), "spatial": (1.5, (0.8, 1.9))}
    layer = crf(filter, (2, 3), trainable_weights_of=learns, compatibility=compatibility, **kernels)
    layer.build([logits.shape, guide.shape])
    if compatibility != "potts":
        layer.compatibilities.assign(costs(*layer.compatibilities.shape))
    return layer, logits, guide, random(1, 2, 3, 3, seed=2, low=-1.0)


@pytest.mark.parametrize(
    ("filter", "compatibility"),
    [
        pytest.param("permutohedral", "matrix_per_kernel", marks=TENSORFLOW),
        ("window", "potts"),
        pytest.param("exact", "matrix", marks=TENSORFLOW),
        ("exact", "matrix_per_kernel"),
    ],
)
def test_gradients_equal_finite_differences(filter, compatibility):
    lattice = filter == "permutohedral"
    learns = ["weights", *([] if lattice else ["bandwidths"])]
    learns += [] if compatibility == "potts" else ["compatibility"]
    layer, logits, guide, projection = gradient_case(filter, compatibility, learns)
    gaussian = direct_lattice if lattice else direct_gaussian
    names = [weight.name for weight in layer.trainable_weights]

    def projected(logits, *weights):
        out, _ = layer.stateless_call(list(weights), layer.non_trainable_variables, (logits, guide))
        return dot(keras.ops.softmax(out), projection)

    def expected(logits, *weights):
        weights = dict(zip(names, weights, strict=True))
        sigmas = [np.exp(weights[n]) for n in names if n.startswith("log_")]
        if lattice:
            sigmas = [np.array([2.2, 1.3, 90.0, 120.0, 200.0]), np.array([1.9, 0.8])]
        kernels = [
            (weight, sigma[1::-1], *([sigma[2:]] if len(sigma) > 2 else []))
            for weight, sigma in zip(weights["kernel_weights"], sigmas, strict=True)
        ]
        matrices = weights.get("compatibility", 1 - np.eye(3))
        matrices = np.broadcast_to(matrices, (2, 3, 3))
        out = reference(logits, guide, kernels, compatibilities=matrices, gaussian=gaussian)
        return (out * projection).sum()

    arguments = logits, *(to_numpy(weight) for weight in layer.trainable_weights)
    ours, theirs = gradients(projected, *arguments), finite_differences(expected, *arguments)
    assert len(ours) == len(names) + 1
    for name, one, other in zip(["logits", *names], ours, theirs, strict=True):
        assert np.abs(other).max() > 1e-3, name
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("filter", ["window", "exact"])
def test_exact_kernels_have_gradients_for_the_guide(filter):
    layer, logits, guide, projection = gradient_case(filter, "potts", ())
    kernels = (2.0, (1.3, 2.2), (90.0, 120.0, 200.0)), (1.5, (0.8, 1.9))

    def projected(guide):
        return dot(keras.ops.softmax(layer((logits, guide))), projection)

    [expected] = finite_differences(
        lambda guide: (reference(logits, guide, kernels) * projection).sum(), guide, eps=1e-3
    )
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(gradients(projected, guide)[0], expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("filter", "learns"),
    [
        pytest.param("permutohedral", ("weights", "compatibility"), marks=TENSORFLOW),
        ("window", ("weights", "compatibility", "bandwidths")),
    ],
)
def test_trains_end_to_end(filter, learns, tmp_path):
    inputs = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(2, 3, padding="same", name="network")(inputs)
    layer = crf(
        filter, num_iterations=2, compatibility="matrix_per_kernel", trainable_weights_of=learns
    )
    model = keras.Model(inputs, layer((logits, inputs)))
    model.compile(
        keras.optimizers.SGD(1e-5), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    images = random(2, 6, 7, 3, high=255.0)
    labels = (images[..., 0] > 128).astype("int32")
    before = [to_numpy(weight).copy() for weight in model.trainable_weights]
    history = model.fit(images, labels, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert len(before) == 2 + (4 if "bandwidths" in learns else 2)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.isfinite(to_numpy(weight)).all()
        assert np.abs(to_numpy(weight) - old).max() > 0, weight.path

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = random(1, 3, 8, 3, high=255.0)
    assert_close(loaded.predict(images, verbose=0), model.predict(images, verbose=0), 1e-4, 1e-5)


# ---------------------------------------------------------------------------------- export

# Calls SavedModels in a process for which keras is not installed.
SERVE = """
import sys
from importlib.machinery import PathFinder

HIDDEN, find = {"keras", "tf_keras", "keras_dpn"}, PathFinder.find_spec
PathFinder.find_spec = lambda name, *a: None if name.split(".")[0] in HIDDEN else find(name, *a)

import numpy as np
import tensorflow as tf

for directory in sys.argv[1:]:
    inputs = np.load(f"{directory}/inputs.npz")
    model = tf.saved_model.load(f"{directory}/model")
    out = {size: model.serve((inputs["logits" + size], inputs["guide" + size])) for size in "ab"}
    np.savez(f"{directory}/outputs.npz", **out)
assert not HIDDEN & set(sys.modules)
"""
# What a SavedModel of the layer holds, its lattice, variables and their files.
OPERATIONS = """
AddV2 AssignVariableOp Cast ConcatV2 Const Cumprod Cumsum DisableCopyOnRead Equal ExpandDims Fill
FloorDiv GatherV2 GreaterEqual Identity IdentityN Less LogSoftmax LowerBound MatMul Max Maximum
MergeV2Checkpoints Min Minimum Mul Neg NoOp OnesLike Pack PartitionedCall Placeholder Prod Range
ReadVariableOp RealDiv Reshape RestoreV2 Round SaveV2 ScatterNd Select SelectV2 Shape
ShardedFilename Size Softmax SparseTensorDenseMatMul SplitV Sqrt StatefulPartitionedCall
StaticRegexFullMatch StopGradient StridedSlice StringJoin Sub Sum TensorScatterUpdate Tile TopKV2
Transpose Unique Unpack VarHandleOp VarIsInitializedOp Where
"""


def operations_of(saved_model):
    """Every operation of a SavedModel's graph and of its functions."""
    from tensorflow.core.protobuf import saved_model_pb2

    data = (saved_model / "saved_model.pb").read_bytes()
    [graph] = saved_model_pb2.SavedModel.FromString(data).meta_graphs
    functions = graph.graph_def.library.function
    found = {node.op for node in graph.graph_def.node}
    found |= {node.op for function in functions for node in function.node_def}
    return found - {function.signature.name for function in functions}


@TENSORFLOW
def test_saved_models_need_tensorflow_only(tmp_path):
    import tensorflow as tf

    pairs = {"a": pair(4, 5), "b": pair(2, 7, batch=1)}
    arrays = {"logits" + size: p[0] for size, p in pairs.items()}
    arrays |= {"guide" + size: p[1] for size, p in pairs.items()}
    exported = {}
    for filter in FILTERS:
        inputs = keras.Input((None, None, 3)), keras.Input((None, None, 3))
        layer = crf(filter, num_iterations=2, compatibility="matrix_per_kernel")
        model = keras.Model(inputs, layer(inputs))
        model.export(tmp_path / filter / "model", verbose=False)
        np.savez(tmp_path / filter / "inputs.npz", **arrays)
        exported[tmp_path / filter] = model

        operations = operations_of(tmp_path / filter / "model")
        if filter == "permutohedral":
            assert "SparseTensorDenseMatMul" in operations
            assert sorted(operations - set(OPERATIONS.split())) == []
        # tf.raw_ops holds what TensorFlow itself defines.
        assert sorted(name for name in operations if not hasattr(tf.raw_ops, name)) == []
        assert not [name for name in operations if "PyFunc" in name]

    command = [sys.executable, "-c", SERVE, *map(str, exported)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for directory, model in exported.items():
        served = np.load(directory / "outputs.npz")
        for size, p in pairs.items():
            assert_close(served[size], to_numpy(model(p)), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------ odd values


def assert_finite(layer, logits, guide):
    """Outputs and gradients are numbers, and marginals sum to 1."""
    out = marginals(layer, logits, guide)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)
    weights = [to_numpy(weight) for weight in layer.trainable_weights]
    for gradient in gradients(loss(layer), logits, *weights, guide):
        assert np.isfinite(gradient).all()
    return out


@functools.cache
def loss(layer):
    """A function of logits, trainable weights and guide."""

    def function(logits, *arguments):
        *weights, guide = arguments
        out, _ = layer.stateless_call(weights, list(layer.non_trainable_variables), (logits, guide))
        out = keras.ops.softmax(out)
        # The lattice has no gradient for the guide: TensorFlow would give None.
        return keras.ops.sum(out * out) + keras.ops.sum(keras.ops.clip(guide, 0, 0))

    return function


ODD_LOGITS = {
    "certain": [[0.0, -np.inf], [-np.inf, 0.0], [0.0, -np.inf]],  # log of 1 and 0
    "one infinite": [[1.0, 2.0], [np.inf, 0.0], [-3.0, 4.0]],
    "several": [[np.inf, -np.inf], [np.inf, 3.0], [-np.inf, 2.0]],
    "all": [[-np.inf, -np.inf], [np.inf, np.inf], [np.inf, -np.inf]],
    "large": [[3e38, -3e38], [1e30, 0.0], [-3e38, -3e38]],
}


@pytest.mark.parametrize("filter", SOME_FILTERS)
def test_odd_logits(filter):
    _, guide = pair(3)
    layer = crf(filter, (3,))
    clipped = crf(filter, (3,), min_probability=0.1)
    for name, logits in ODD_LOGITS.items():
        logits = np.repeat(np.array(logits, "float32")[None], 2, axis=0)
        for one in (layer, clipped):
            out = assert_finite(one, logits, guide)
        if name == "certain":
            out = marginals(layer, logits, guide)
            np.testing.assert_array_equal(out[0].argmax(-1), [0, 1, 0])


@pytest.mark.parametrize("filter", [LATTICE, "window", "exact"])
def test_odd_images(filter):
    logits, guide = pair(3, 4)
    layer = crf(filter, (2, 2), num_iterations=2)
    assert_finite(layer, logits, 0 * guide)
    for value in (255.0, 1e30, -3e38, np.inf):
        image = guide.copy()
        image[:, 0] = value
        assert_finite(layer, logits, image)
        assert_finite(layer, logits, np.full_like(guide, value))


@pytest.mark.parametrize("filter", SOME_FILTERS)
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1 of a tensor")
def test_odd_sizes(filter):
    layer = crf(filter, (2, 2), num_iterations=2)
    logits, guide = pair(1, 1)
    assert_finite(layer, logits, guide)
    logits, guide = pair(3, 4, labels=1)
    out = assert_finite(crf(filter, (2, 2), num_iterations=2), logits, guide)
    np.testing.assert_array_equal(out, 1)


@pytest.mark.parametrize(
    ("filter", "sigmas"),
    [
        pytest.param("permutohedral", (1e-30, 1e30), marks=TENSORFLOW),
        pytest.param("permutohedral", (1e-300, 1e300), marks=TENSORFLOW),
        pytest.param("window", (1e-30, 1e30), marks=TENSORFLOW),
        pytest.param("window", (1e-300, 1e300), marks=TENSORFLOW),
        pytest.param("exact", (1e-30, 1e30), marks=TENSORFLOW),
        ("exact", (1e-300, 1e300)),
    ],
)
def test_odd_bandwidths(filter, sigmas):
    logits, guide = pair(3, 4)
    guide[:, 0] = guide[:, 1]
    learns = () if filter == "permutohedral" else ("bandwidths",)
    for sigma in sigmas:
        bilateral = [(4.0, sigma, 60.0), (4.0, 3.0, sigma)]
        settings = {"bilateral": bilateral, "spatial": (3.0, sigma)}
        layer = crf(filter, (2, 2), num_iterations=2, trainable_weights_of=learns, **settings)
        assert_finite(layer, logits, guide)


@pytest.mark.parametrize("filter", SOME_FILTERS)
def test_narrow_and_wide_kernels(filter):
    logits, guide = pair(3, 4)
    q = direct_softmax(logits)
    for sigma in (1e-1, 1e-3, 1e-30):  # each point's only neighbour is itself
        narrow = crf(filter, (3, 4), bilateral=None, spatial=(1.0, sigma), num_iterations=1)
        out = marginals(narrow, logits, guide)
        assert_close(out, direct_softmax(logits + q), rtol=0, atol=1e-5)
    kernels = {"bilateral": (1.0, 1e30, 1e30), "spatial": None}
    out = marginals(crf(filter, (3, 4), num_iterations=1, **kernels), logits, guide)
    mean = q.mean(axis=(1, 2), keepdims=True)  # all points are neighbours
    assert_close(out, direct_softmax(logits + mean), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("filter", "policy"),
    [
        pytest.param("permutohedral", "mixed_bfloat16", marks=TENSORFLOW),
        ("window", "mixed_float16"),
        ("exact", "float16"),
    ],
)
def test_half_precision_policies_lose_nothing(filter, policy):
    logits, guide = pair(4, 5)
    guide = guide + 1 / 3  # not a number of half precision
    half = crf(filter, compatibility="matrix", trainable_weights_of=["weights"], dtype=policy)
    inputs = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    model = keras.Model(inputs, half(inputs))
    assert {weight.dtype for weight in half.weights} == {"float32"}
    out = model.predict([logits, guide], verbose=0)
    assert out.dtype == "float32"
    expected = marginals(crf(filter, compatibility="matrix"), logits, guide)
    assert_close(direct_softmax(out), expected, rtol=0, atol=1e-5)


def test_half_precision_logits():
    logits, guide = pair(4, 5)
    logits = logits.astype("float16")
    out = marginals(crf(), logits, guide)
    assert_close(out, reference(logits, guide), rtol=0, atol=1e-5)


# ------------------------------------------------------------------------------ arguments


def test_keeps_arguments_as_given():
    settings = {
        "num_iterations": 7,
        "bilateral": ((1.0, (2.0, 3.0), 4.0), (5.0, 6.0, 7.0)),
        "spatial": None,
        "compatibility": [[0.0, 1.0], [2.0, 0.0]],
        "filter": "window",
        "normalization": "row",
        "trainable_weights_of": ("weights", "bandwidths"),
        "inference_iterations": 3,
        "window": (3, 5),
        "min_probability": 0.01,
    }
    layer = layers.MeanFieldCRF(**settings, name="crf")
    config = layer.get_config()
    assert {name: config[name] for name in settings} == settings
    assert layers.MeanFieldCRF.from_config(config).get_config() == config
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    logits, guide = pair(4, 5, labels=2)
    assert_close(marginals(again, logits, guide), marginals(layer, logits, guide))


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="MeanFieldCRF supports the image data format 'channels_l"):
        layers.MeanFieldCRF()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 4, 2), (2, 4, 4, 3)), "expects logits .* and a guide .* one to three spatial axes"),
        (((2, 2), (2, 3)), "one to three spatial axes S, received shapes"),
        (((2, 1, 1, 1, 1, 2), (2, 1, 1, 1, 1, 3)), "one to three spatial axes S, received"),
        (((2, 4, 4, 2), (2, 5, 4, 3)), r"same batch and spatial sizes.*`keras_dpn.layers.Resize`"),
        (((2, 4, 4, 2), (1, 4, 4, 3)), "same batch and spatial sizes"),
        (((2, 4, 4, 0), (2, 4, 4, 3)), "at least one point"),
        (((2, 0, 4, 2), (2, 0, 4, 3)), "at least one point"),
        (((2, 4, 4, 2), (2, 4, 4, 0)), "known numbers of labels and guide channels"),
        (((2, 4, 4, 2), (2, 4, 4, 5)), "`filter`: .* at most 6 dimensions, .* filter='window'"),
        (((2, 4, 4, 4, 2), (2, 4, 4, 4, 4)), "received 3 spatial axes and 4 guide channels"),
    ],
)
def test_refuses_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        layers.MeanFieldCRF()([np.ones(shape, "float32") for shape in shapes])


def test_any_dimension_without_the_lattice():
    logits, guide = pair(2, 3, 2, channels=5, batch=1)
    out = marginals(crf(bilateral=(2.0, 3.3, 90.0)), logits, guide)
    expected = reference(logits, guide, [(2.0, 3.3, 90.0), SPATIAL])
    assert_close(out, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4, 4, 2), (4, 2)])
def test_refuses_a_single_input(shape):
    with pytest.raises(ValueError, match=r"MeanFieldCRF expects a pair \(logits, guide\)"):
        layers.MeanFieldCRF()(np.ones(shape, "float32"))
    with pytest.raises(ValueError, match=r"MeanFieldCRF expects a pair \(logits, guide\)"):
        layers.MeanFieldCRF()(keras.Input(shape[1:]))


def test_refuses_unknown_numbers_of_channels():
    inputs = keras.Input((4, 4, None)), keras.Input((4, 4, 3))
    with pytest.raises(ValueError, match="known numbers of labels and guide channels"):
        layers.MeanFieldCRF()(inputs)


@TENSORFLOW
def test_pruning_with_nan_and_without_an_image():
    logits, guide = unlikely(4, 5)
    expected = to_numpy(crf("exact", prune_below=0.05)((logits, guide)))
    spoilt = logits.copy()
    spoilt[0, 0, 0] = np.nan
    found = to_numpy(crf("exact", prune_below=0.05)((spoilt, guide)))
    assert np.isnan(found[0]).any()
    assert_close(found[1], expected[1])
    inputs = keras.Input((None, None, 5)), keras.Input((None, None, 3))
    model = keras.Model(inputs, crf("exact", prune_below=0.05)(inputs))
    assert model.predict_on_batch([logits[:0], guide[:0]]).shape == (0, 4, 5, 5)
