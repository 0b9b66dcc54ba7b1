"""Layers and networks compiled by XLA, as Keras does by itself on a GPU; reproducible runs."""

import keras
import numpy as np
import pytest

from keras_dpn import crf, layers, losses, metrics, models, ops
from keras_dpn.inference import Predictor
from keras_dpn.ops.permutohedral import permutohedral_lattice
from keras_dpn.ops.permutohedral_sparse import SparseLattice
from keras_dpn.ops.permutohedral_static import StaticLattice
from tests.keras_dpn.support import assert_close, picture, random, tiny_backbone

pytestmark = pytest.mark.tensorflow_only

LABELS = 3


def one_batch(model, inputs, *targets, known):
    """A dataset of one batch whose sizes TensorFlow knows when it traces a step, or not."""
    import tensorflow as tf

    if known:
        return tf.data.Dataset.from_tensors((inputs, *targets))

    def of_targets(array):
        channels = array.shape[-1:] if array.dtype == "float32" else (None,)
        return tf.TensorSpec((*[None] * (array.ndim - 1), *channels), array.dtype)

    image = keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), model.input)
    return tf.data.Dataset.from_generator(
        lambda: iter([(inputs, *targets)]),
        output_signature=(image, *keras.tree.map_structure(of_targets, targets)),
    )


def segmentation():
    return {
        "loss": losses.SegmentationCrossEntropy(ignore_label=LABELS),
        "metrics": [metrics.SegmentationScores(LABELS, LABELS)],
    }


def check_xla_changes_nothing(model, inputs, targets, settings, known, also=()):
    """`fit` gives with XLA what it gives without, step by step; so do "predict" and "evaluate".

    A step of gradient descent at rate 1 makes the change of a weight its gradient. `known` says
    whether the sizes are known in `fit`; in `predict` it is the other way round.
    """
    start, found = model.get_weights(), {}
    for xla in (False, True):
        model.set_weights(start)
        rate = keras.optimizers.SGD(1.0)
        model.compile(rate, **settings, jit_compile=xla, run_eagerly=not xla)
        assert model.jit_compile is xla
        data = one_batch(model, inputs, targets, known=known)
        forward = []
        if "predict" in also:
            forward += [model.predict(one_batch(model, inputs, known=not known), verbose=0)]
        if "evaluate" in also:
            forward += [model.evaluate(data, verbose=0)]
        history = model.fit(data, verbose=0).history
        gradients = [a - b for a, b in zip(start, model.get_weights(), strict=True)]
        found[xla] = keras.tree.flatten([forward, history]), gradients
    for ours, plain in zip(found[True][0], found[False][0], strict=True):
        assert np.isfinite(plain).all()
        assert_close(ours, plain, rtol=1e-3, atol=1e-4)
    assert any(gradient.any() for gradient in found[False][1])
    for ours, plain in zip(found[True][1], found[False][1], strict=True):
        assert np.isfinite(plain).all()
        assert_close(ours, plain, rtol=1e-2, atol=1e-3 * np.abs(plain).max(initial=0) + 1e-5)


# === Layers ===


def learned(x, channels):
    """Features that learn, so that gradients run through the layer behind them."""
    return keras.layers.Dense(channels)(x)


def labels_and_guide(layer, activation="softmax"):
    """A layer of labels and of guide values, both of which learn."""

    def build(x):
        labels = keras.layers.Activation(activation)(learned(x, LABELS))
        return layer((labels, learned(x, 2)))

    return build


SIMPLE = {
    "block_min_pool": lambda: layers.BlockMinPool(2),
    "l2_norm_scale": lambda: layers.L2NormScale(5.0),
    "global_context": lambda: layers.GlobalContext((1, 2)),
    "resize": lambda: layers.Resize(factor=2),
    "resize_to_half_pixels": lambda: layers.Resize((11, 17)),
    "resize_to": lambda: layers.Resize((3, 7), align_corners=True),
}


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_layers_of_one_input(known):
    image = keras.Input((None, None, 3))
    x = learned(image, 4)
    model = keras.Model(image, {name: make()(x) for name, make in SIMPLE.items()})
    inputs = random(2, 4, 5, 3, low=-1.0)
    targets = {name: random(*y.shape, seed=1) for name, y in model(inputs).items()}
    check_xla_changes_nothing(model, inputs, targets, {"loss": dict.fromkeys(SIMPLE, "mse")}, known)


GAUSSIAN = {"kernel": "gaussian", "position_weight": 0.1}
EXACT = {
    "num_iterations": 1,
    "trainable_weights_of": ("weights", "bandwidths"),
    "bilateral": (2.0, 2.0, 0.3),
    "spatial": None,
}
# Sizes, whether `fit` knows them, and the layer.
LAYERS = {
    "local_conv_1d": ((5,), True, lambda: layers.LocalConv1D(3)),
    "local_conv_2d": ((3, 4), True, lambda: layers.LocalConv2D(2, position_weight=0.1)),
    "local_conv_3d": ((2, 3, 2), True, lambda: layers.LocalConv3D((1, 2, 2))),
    "gaussian": ((3, 4), False, lambda: layers.LocalConv2D((2, 3), **GAUSSIAN)),
    "crf_window": ((3, 4), False, lambda: layers.MeanFieldCRF(filter="window", window=2, **EXACT)),
    "crf_exact": (
        (3, 4),
        False,
        lambda: layers.MeanFieldCRF(filter="exact", compatibility="matrix_per_kernel", **EXACT),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_labels_and_guide(name):
    size, known, make = LAYERS[name]
    image = keras.Input((*[None] * len(size), 3))
    activation = "linear" if name.startswith("crf") else "softmax"
    model = keras.Model(image, labels_and_guide(make(), activation)(image))
    inputs, targets = random(2, *size, 3, low=-1.0), random(2, *size, LABELS, seed=1)
    check_xla_changes_nothing(model, inputs, targets, {"loss": "mse"}, known)


def test_learned_local_conv():
    """Its filters need known sizes."""
    image = keras.Input((3, 4, 3))
    model = keras.Model(image, labels_and_guide(layers.LocalConv2D(2, kernel="learned"))(image))
    data = random(2, 3, 4, 3), random(2, 3, 4, LABELS, seed=1)
    check_xla_changes_nothing(model, *data, {"loss": "mse"}, known=True)


def test_dropout():
    x = np.ones((4, 50, 50), "float32")
    model = keras.Sequential([keras.Input((50, 50)), layers.Dropout(0.3)])
    model.compile(loss="mse", jit_compile=True)
    loss = model.fit(x, 0 * x, verbose=0).history["loss"][0]
    assert abs(loss * 0.7 - 1) < 0.05  # of 1 / 0.7 where a unit is kept
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


def test_lattice_of_unknown_size():
    import tensorflow as tf

    shapes = [tf.TensorSpec((None, None, 2)), tf.TensorSpec((None, None, 3))]
    compiled = tf.function(ops.permutohedral_filter, shapes, jit_compile=True)
    for size in ((1, 1), (2, 9)):
        x, features = random(*size, 2), random(*size, 3, high=3.0)
        assert_close(compiled(x, features), ops.permutohedral_filter(x, features))


# === Networks ===


def label_maps(*shape):
    return np.random.default_rng(0).integers(0, LABELS + 1, shape)


def test_the_readmes_crf():
    """The model of "Add a fully connected CRF", as a user compiles and trains it."""
    image = keras.Input((None, None, 3))  # RGB, 0-255
    logits = keras.layers.Conv2D(21, 9, padding="same")(image)
    crf = layers.MeanFieldCRF(num_iterations=5, trainable_weights_of=("weights",))
    model = keras.Model(image, crf((logits, image)))
    x, y = picture(6, 5), np.random.default_rng(0).integers(0, 21, (1, 6, 5))
    start, losses_of = model.get_weights(), {}
    for xla in (False, True):
        model.set_weights(start)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(1e-6), loss, jit_compile=xla, run_eagerly=not xla)
        losses_of[xla] = model.fit(x, y, epochs=2, verbose=0).history["loss"]
    assert losses_of[True][0] != losses_of[True][1]
    assert_close(losses_of[True], losses_of[False], rtol=1e-3)


TINY_DPN = {
    "num_classes": LABELS,
    "width": 0.05,
    "dropout": 0.0,
    "local_conv": {"window": 4},
    "contexts": {"window": 3, "mixtures": 2},
}
NETWORKS = {
    "dpn": (models.DPN, TINY_DPN),
    "deeplab": (models.DeepLab, {"width": 0.03, "crf": {"num_iterations": 1}}),
    "parsenet": (models.ParseNet, {"width": 0.02}),
    "fcn": (models.FCN, {"width": 0.01}),
}


def network(name, **settings):
    """A network behind a few convolutions, which compile faster than VGG16, which FCN has."""
    build, tiny = NETWORKS[name]
    if name != "fcn":
        settings["backbone"] = tiny_backbone()
    return build(**{"num_classes": LABELS, "dropout": 0.0, **tiny, **settings})


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    """`fit` on unknown sizes, `predict` on known ones."""
    data = picture(13, 9, batch=2), label_maps(2, 13, 9)
    also = ("predict", "evaluate") if name == "fcn" else ("predict",)
    check_xla_changes_nothing(network(name), *data, segmentation(), known=False, also=also)


def test_spatial_temporal_dpn():
    clips = {
        "frames": picture(13, 9, batch=3)[None],
        "forward_flow": random(1, 2, 13, 9, 2, low=-1.0),
        "backward_flow": random(1, 2, 13, 9, 2, low=-1.0, seed=1),
    }
    data = clips, label_maps(1, 13, 9)
    model = models.SpatialTemporalDPN(**TINY_DPN, backbone=tiny_backbone())
    check_xla_changes_nothing(model, *data, segmentation(), known=False, also=("predict",))


@pytest.mark.parametrize("objective", ["piecewise", "mean_field"])
def test_piecewise_crf(objective):
    potentials = models.PiecewiseCRF(
        LABELS,
        scales=(1.0,),
        num_blocks=2,
        block6=((1, 150),),
        units=200,
        width=0.04,
    )
    model = potentials.learner(objective=objective, ignore_label=LABELS)
    data = picture(32, 33, batch=2), label_maps(2, 32, 33)
    settings = {**segmentation(), "loss": None}
    known = objective == "piecewise"
    check_xla_changes_nothing(model, *data, settings, known, also=("predict",) * known)


# === What Keras chooses by itself ===


@pytest.fixture
def gpu(monkeypatch):
    """TensorFlow lists a GPU; none is used."""
    import tensorflow as tf

    devices = tf.config.list_physical_devices()
    listed = [*devices, tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: [d for d in listed if kind in (None, d.device_type)],
    )


@pytest.fixture
def deterministic():
    import tensorflow as tf
    from tensorflow.python.framework.config import disable_op_determinism

    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()


def plain_network():
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(LABELS, 1)])


def test_auto_compiles_on_a_gpu(gpu):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.MeanFieldCRF()((plain_network()(image), image)))
    model.compile(loss="mse")
    assert model.jit_compile


def test_auto_does_not_compile_deterministic_steps(gpu, deterministic):
    """Keras's choice, for which training programs of this repository don't compile."""
    model = plain_network()
    model.compile(loss="mse")
    assert not model.jit_compile


def traced(monkeypatch):
    """Whether XLA compiles each function that is made for `predict`, in a list."""
    import tensorflow as tf

    found, function = [], tf.function

    def recorded(*args, jit_compile=None, **kwargs):
        if args:  # Keras decorates the convolution of groups with one that XLA compiles
            found.append(bool(jit_compile))
        return function(*args, jit_compile=jit_compile, **kwargs)

    monkeypatch.setattr(tf, "function", recorded)
    return found


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(LABELS, 1)

    def call(self, x):
        return self.conv(x)


@pytest.mark.parametrize("build", [plain_network, Subclassed])
def test_predictor_does_not_compile_each_size(gpu, monkeypatch, build):
    found = traced(monkeypatch)
    Predictor(build()).labels(picture(4, 5)[0])
    assert found and not any(found)


class Traced(keras.layers.Layer):
    """Counts how often TensorFlow traces a network for a size."""

    count = 0

    def call(self, x):
        self.count += 1
        return x


def test_predictor_traces_once_for_all_sizes(gpu):
    image = keras.Input((None, None, 3))
    layer = Traced()
    predictor = Predictor(keras.Model(image, keras.layers.Conv2D(LABELS, 1)(layer(image))))
    before, counts = layer.count, []
    for size in ((4, 5), (6, 3), (5, 5), (1, 9), (8, 2)):
        assert predictor.labels(picture(*size)[0]).shape == size
        counts.append(layer.count - before)
    assert counts == [1] * 5


def test_predictor_does_not_compile_clips(gpu, monkeypatch):
    found = traced(monkeypatch)
    model = models.SpatialTemporalDPN(**TINY_DPN, backbone=tiny_backbone(), linking="static")
    next(Predictor(model).video(picture(13, 9, batch=3)))
    assert found and not any(found)


def test_predictor_leaves_what_was_compiled(gpu):
    model = Subclassed()
    model.compile(loss="mse", jit_compile=True)
    Predictor(model).labels(picture(4, 5)[0])
    assert model.jit_compile


def test_refine_does_not_compile_each_size(gpu, monkeypatch):
    crf._MODELS.clear()
    found = traced(monkeypatch)
    crf.refine(picture(4, 5)[0], np.full((4, 5, 2), 0.5), num_iterations=1)
    assert found and not any(found)


# === Reproducible runs ===


@pytest.mark.parametrize(
    ("name", "policy"),
    [("fcn", "float32"), ("deeplab", "mixed_float16"), ("dpn", "mixed_bfloat16")],
)
def test_two_runs_are_equal(deterministic, name, policy):
    """Initial weights, the order of images, dropout and steps depend on the seed alone."""
    keras.config.set_dtype_policy(policy)
    data, runs = (picture(13, 9, batch=3), label_maps(3, 13, 9)), []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        model = network(name, input_shape=(13, 9, 3), dropout=0.3)
        model.compile(keras.optimizers.SGD(1e-3), **segmentation(), jit_compile=False)
        history = model.fit(*data, epochs=2, batch_size=1, verbose=0).history
        runs.append([*history["loss"], *model.get_weights()])
    for first, second in zip(*runs, strict=True):
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, second)


def test_a_deterministic_lattice_needs_no_sparse_products_on_a_gpu(gpu, deterministic):
    """TensorFlow has no deterministic kernel for them there."""
    x, features = random(1, 9, 2), random(1, 9, 2)
    lattice = permutohedral_lattice(features)
    assert isinstance(lattice, StaticLattice)
    assert_close(lattice.filter(keras.ops.convert_to_tensor(x)), SparseLattice(features).filter(x))


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_policies_with_xla(policy):
    """Half-precision features in front of layers that compute in float32."""
    keras.config.set_dtype_policy(policy)
    image = keras.Input((None, None, 3))
    logits, guide = learned(image, LABELS), learned(image, 2)
    p = layers.LocalConv2D(2)((keras.layers.Softmax()(logits), guide))
    refined = layers.MeanFieldCRF(1, filter="exact")((p, guide))
    model = keras.Model(image, layers.BlockMinPool(3)(layers.L2NormScale(5.0)(refined)))
    data = random(2, 3, 4, 3), random(2, 3, 4, 1, seed=1)
    model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=True)
    model.fit(*data, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    compiled = model.predict(data[0], verbose=0).astype("float32")
    model.compile(run_eagerly=True)
    plain = model.predict(data[0], verbose=0).astype("float32")
    assert_close(compiled, plain, rtol=2e-2, atol=2e-2)
