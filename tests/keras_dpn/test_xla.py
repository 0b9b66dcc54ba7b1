"""Layers and networks compiled by XLA, as Keras does by itself on a GPU; reproducible runs."""

import keras
import numpy as np
import pytest

from keras_dpn import crf, layers, losses, metrics, models
from keras_dpn.inference import Predictor
from tests.keras_dpn.support import assert_close, picture, random

pytestmark = pytest.mark.tensorflow_only

LABELS = 3


def regression():
    return {"optimizer": keras.optimizers.SGD(0.01), "loss": "mse"}


def segmentation():
    return {
        "optimizer": keras.optimizers.SGD(1e-3),
        "loss": losses.SegmentationCrossEntropy(ignore_label=LABELS),
        "metrics": [metrics.SegmentationScores(LABELS, LABELS)],
    }


def fit(build, inputs, targets, settings=regression, jit_compile=True):
    """Losses, scores and predictions of a new model: all that `fit`, `evaluate`, `predict` give."""
    keras.utils.set_random_seed(0)
    model = build()
    model.compile(**settings(), jit_compile=jit_compile)
    assert model.jit_compile is jit_compile
    history = model.fit(
        inputs, targets, epochs=2, batch_size=2, verbose=0, validation_data=(inputs, targets)
    ).history
    predictions = keras.tree.flatten(model.predict(inputs, batch_size=2, verbose=0))
    return [np.array(values) for values in history.values()] + predictions + model.get_weights()


def check_xla_changes_nothing(*arguments, rtol=1e-4, atol=1e-4):
    plain, compiled = (fit(*arguments, jit_compile=xla) for xla in (False, True))
    assert len(plain) == len(compiled)
    for ours, expected in zip(compiled, plain, strict=True):
        assert np.isfinite(expected).all()
        assert_close(ours, expected, rtol=rtol, atol=atol)


# === Layers ===


def learned(x, channels):
    """Features that learn, so that gradients run through the layer behind them."""
    return keras.layers.Dense(channels, name="learned")(x)


def one_input(make, channels=4):
    def build(x):
        return make()(learned(x, channels))

    return build


def two_inputs(make, activation="softmax"):
    """A layer of labels and of guide values, both of which learn."""

    def build(x):
        labels = keras.layers.Activation(activation)(learned(x, LABELS))
        return make()((labels, keras.layers.Dense(2)(x)))

    return build


def linked(x):
    """Dynamic node linking along a flow that is made of the frames, and the triple penalty."""
    p = keras.layers.Softmax()(learned(x, LABELS))
    flow = keras.layers.Dense(2)(x)[:, 1:]
    link = layers.DynamicNodeLink(3, threshold=2.0)
    p, _ = link((p, flow, -flow))
    colors, _ = link((x, flow, -flow))
    return layers.LocalConv3D((3, 2, 3))((p, colors))


def edge_field(x):
    features = learned(x, 4)
    edges, exist = layers.RangeBoxGraph((-0.4, -0.4, 0.4, 0.4))(features)
    pairwise = layers.PairwisePotential(LABELS, units=5)((features, edges, exist))
    return layers.EdgeMeanField()((keras.layers.Dense(LABELS)(x), edges, pairwise))


def mean_field(**settings):
    return two_inputs(lambda: layers.MeanFieldCRF(num_iterations=2, **settings), "linear")


def parsing_field(**settings):
    settings = {"window": 4, "context_window": 3, "mixtures": 2, **settings}
    return two_inputs(lambda: layers.DeepParsingField(**settings), "linear")


LEARNED = {
    "compatibility": "matrix_per_kernel",
    "trainable_weights_of": ("weights", "compatibility"),
    "bilateral": (2.0, 2.0, 0.3),
}
BANDWIDTHS = {"trainable_weights_of": ("weights", "bandwidths"), "bilateral": (2.0, 2.0, 0.3)}
LAYERS = {
    "block_min_pool": ((4, 5), one_input(lambda: layers.BlockMinPool(2))),
    "l2_norm_scale": ((4, 5), one_input(lambda: layers.L2NormScale(5.0))),
    "global_context": ((4, 5), one_input(lambda: layers.GlobalContext((1, 2)))),
    "resize": ((4, 5), one_input(lambda: layers.Resize(factor=2))),
    "resize to": ((4, 5), one_input(lambda: layers.Resize((3, 7), align_corners=True))),
    "local_conv_1d": ((9,), two_inputs(lambda: layers.LocalConv1D(3))),
    "local_conv_2d": ((4, 5), two_inputs(lambda: layers.LocalConv2D(4, position_weight=0.1))),
    "local_conv_3d": ((2, 4, 3), two_inputs(lambda: layers.LocalConv3D(3))),
    "gaussian local_conv": (
        (4, 5),
        two_inputs(lambda: layers.LocalConv2D((2, 3), kernel="gaussian", position_weight=0.1)),
    ),
    "linked local_conv": ((3, 4, 5), linked),
    "deep parsing field": ((4, 5), parsing_field()),
    "coarse deep parsing field": ((4, 5), parsing_field(stride=2, num_iterations=2)),
    "edge_mean_field": ((4, 5), edge_field),
    "permutohedral": ((4, 5), mean_field(**LEARNED)),
    "window": ((4, 5), mean_field(filter="window", window=3, **BANDWIDTHS)),
    "exact": ((4, 5), mean_field(filter="exact", **BANDWIDTHS)),
}


def check_layer(size, input_size, build):
    inputs = random(4, *size, 3, low=-1.0)
    image = keras.Input((*input_size, 3))
    targets = random(4, *build(image).shape[1:], seed=1) if None not in input_size else None
    if targets is None:
        targets = random(4, *build(keras.Input((*size, 3))).shape[1:], seed=1)

    def model():
        image = keras.Input((*input_size, 3))
        return keras.Model(image, build(image))

    check_xla_changes_nothing(model, inputs, targets)


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, known):
    size, build = LAYERS[name]
    check_layer(size, size if known else (None,) * len(size), build)


def test_learned_local_conv():
    check_layer((4, 5), (4, 5), two_inputs(lambda: layers.LocalConv2D(3, kernel="learned")))


def test_dropout():
    def build():
        return keras.Sequential([keras.Input((50, 50)), layers.Dropout(0.3)])

    x = np.ones((4, 50, 50), "float32")
    model = build()
    model.compile(loss="mse", jit_compile=True)
    loss = model.fit(x, 0 * x, verbose=0).history["loss"][0]
    assert abs(loss * 0.7 - 1) < 0.05  # of 1 / 0.7 where a unit is kept
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


def test_lattice_of_one_size_after_another():
    model = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Dense(3), SelfGuidedCRF(num_iterations=1)]
    )
    model.jit_compile = True
    for size in ((4, 5), (1, 1), (7, 3)):
        x = random(2, *size, 3, high=255.0)
        assert_close(model.predict_on_batch(x), model(x), rtol=1e-4, atol=1e-5)


class SelfGuidedCRF(layers.MeanFieldCRF):
    """Takes one tensor for both."""

    def build(self, shape):
        super().build([shape, shape])

    def call(self, x, training=None):
        return super().call((x, x), training)

    def compute_output_spec(self, x, training=None):
        return super().compute_output_spec((x, x), training)


# === Networks ===

TINY_DPN = {
    "num_classes": LABELS,
    "width": 0.05,
    "dropout": 0.0,
    "backbone": {"fc6_kernel": 1, "fc_width": 100},
    "local_conv": {"window": 4},
    "contexts": {"window": 3, "mixtures": 2},
}
NETWORKS = {
    "dpn": lambda **size: models.DPN(**TINY_DPN, **size),
    "deeplab": lambda **size: models.DeepLab(
        num_classes=LABELS, width=0.03, dropout=0.0, crf={"num_iterations": 1}, **size
    ),
    "parsenet": lambda **size: models.ParseNet(LABELS, width=0.02, dropout=0.0, **size),
    "fcn": lambda **size: models.FCN(LABELS, width=0.01, dropout=0.0, **size),
}


def label_maps(*shape):
    return np.random.default_rng(0).integers(0, LABELS + 1, shape)


@pytest.mark.parametrize("size", [(None, None), (13, 9)], ids=["unknown", "known"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, size):
    def build():
        return NETWORKS[name](input_shape=(*size, 3))

    data = picture(13, 9, batch=4), label_maps(4, 13, 9)
    check_xla_changes_nothing(build, *data, segmentation, rtol=1e-3, atol=1e-3)


def test_spatial_temporal_dpn():
    clips = {
        "frames": picture(13, 9, batch=12).reshape(4, 3, 13, 9, 3),
        "forward_flow": random(4, 2, 13, 9, 2, low=-1.0),
        "backward_flow": random(4, 2, 13, 9, 2, low=-1.0, seed=1),
    }
    data = clips, label_maps(4, 13, 9)

    def build():
        return models.SpatialTemporalDPN(**TINY_DPN)

    check_xla_changes_nothing(build, *data, segmentation, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("objective", ["piecewise", "mean_field"])
def test_piecewise_crf(objective):
    def build():
        network = models.PiecewiseCRF(
            LABELS, scales=(1.0,), num_blocks=2, block6=((1, 150),), units=200, width=0.04
        )
        return network.learner(objective=objective, ignore_label=LABELS)

    data = picture(24, 30, batch=4), label_maps(4, 24, 30)

    def settings():
        return {**segmentation(), "loss": None}

    check_xla_changes_nothing(build, *data, settings, rtol=1e-3, atol=1e-3)


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


def plain_network():
    return keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(LABELS, 1)])


def test_auto_compiles_on_a_gpu(gpu):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.MeanFieldCRF()((plain_network()(image), image)))
    model.compile(loss="mse")
    assert model.jit_compile


def traced(monkeypatch):
    """Whether XLA compiled each function that was made for `predict`, in a list."""
    import tensorflow as tf

    found, function = [], tf.function

    def recorded(*args, jit_compile=None, **kwargs):
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


def test_predictor_does_not_compile_clips(gpu, monkeypatch):
    found = traced(monkeypatch)
    model = models.SpatialTemporalDPN(**TINY_DPN, linking="static")
    next(Predictor(model).video(picture(13, 9, batch=3)))
    assert found and not any(found)


def test_predictor_leaves_what_was_compiled(gpu):
    model = Subclassed()
    model.compile(loss="mse", jit_compile=True)
    Predictor(model).labels(picture(4, 5)[0])
    assert model.jit_compile


def test_refine_does_not_compile_each_size(gpu, monkeypatch):
    crf._model.cache_clear()
    found = traced(monkeypatch)
    crf.refine(picture(4, 5)[0], np.full((4, 5, 2), 0.5), num_iterations=1)
    assert found and not any(found)


# === Reproducible runs ===


@pytest.fixture
def deterministic():
    import tensorflow as tf
    from tensorflow.python.framework.config import disable_op_determinism

    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["dpn", "deeplab"])
def test_two_runs_are_equal(deterministic, name, policy):
    keras.config.set_dtype_policy(policy)
    data = picture(13, 9, batch=4), label_maps(4, 13, 9)

    def build():
        return NETWORKS[name]()

    runs = [fit(build, *data, segmentation, jit_compile=False) for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_policies_with_xla(policy):
    """Half-precision features in front of layers that compute in float32."""
    keras.config.set_dtype_policy(policy)
    size, build = LAYERS["permutohedral"]
    inputs, image = random(4, *size, 3, low=-1.0), keras.Input((None, None, 3))
    model = keras.Model(image, build(image))
    model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=True)
    model.fit(inputs, random(4, *size, LABELS), verbose=0)
    weights = model.get_weights()
    assert all(np.isfinite(w).all() for w in weights)
    plain = keras.Model(image, build(image))
    plain.set_weights(weights)
    out = model.predict(inputs, verbose=0)
    assert out.dtype == "float32"
    assert_close(out, plain.predict(inputs, verbose=0), rtol=2e-2, atol=2e-2)
