import keras
import numpy as np
import pytest

from keras_dpn import layers, ops
from tests.keras_dpn.support import (
    assert_close,
    direct_linked_local_conv,
    direct_local_conv,
    dot,
    finite_differences,
    gradients,
    offsets,
    random,
    run_layer_test,
    to_numpy,
)

LAYERS = [
    (layers.LocalConv1D, (5,)),
    (layers.LocalConv2D, (5, 4)),
    (layers.LocalConv3D, (2, 3, 4)),
]
KERNELS = ["squared_distance", "gaussian", "learned"]


@pytest.mark.parametrize(
    ("layer_class", "size"),
    [LAYERS[1], *(pytest.param(*LAYERS[i], marks=pytest.mark.tensorflow_only) for i in (0, 2))],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_layer(layer_class, size, kernel):
    run_layer_test(
        layer_class,
        {"window": 3, "kernel": kernel, "position_weight": 0.1},
        input_shape=((2, *size, 4), (2, *size, 3)),
        expected_output_shape=(2, *size, 4),
        expected_output_dtype="float32",
        expected_num_trainable_weights=4,
        expected_num_non_trainable_weights=0,
    )


@pytest.mark.parametrize(("layer_class", "size"), LAYERS)
def test_equals_the_op(layer_class, size):
    p, features = random(2, *size, 4), random(2, *size, 3, seed=1)
    layer = layer_class(4, color_weight=2.0, position_weight=0.5, gate=False, normalize=False)
    expected = ops.local_conv(p, features, 4, color_weight=2.0, position_weight=0.5)
    assert_close(layer((p, features)), to_numpy(expected))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("layer_class", "size", "spacing"),
    [(layers.LocalConv1D, (5,), 2), (layers.LocalConv3D, (2, 3, 4), (3.0, 1.0, 0.5))],
)
def test_spacing_scales_positions(layer_class, size, spacing, kernel):
    p, features = random(2, *size, 2), random(2, *size, 3, seed=1)
    settings = {"kernel": kernel, "position_weight": 0.5}
    layer = layer_class(3, gate=False, normalize=False, spacing=spacing, **settings)
    settings |= {"kernel": "squared_distance"} if kernel == "learned" else {}
    window = (3,) * len(size)
    expected = direct_local_conv(p, features, window, spacing=spacing, **settings)
    assert_close(layer((p, features)), expected, rtol=2e-5)
    again = layer_class.from_config(layer.get_config())
    assert again.spacing == layer.spacing == tuple(np.broadcast_to(spacing, len(size)))


def linked(*size, labels=2, channels=3):
    """Probabilities and colours of frames laid over each other, (B, T, H, W, K)."""
    return random(*size, labels), random(*size, channels, seed=1)


@pytest.mark.parametrize(
    "kernel", [pytest.param("squared_distance", marks=pytest.mark.tensorflow_only), "gaussian"]
)
def test_linked_layer(kernel):
    run_layer_test(
        layers.LocalConv3D,
        {"window": (3, 2, 3), "kernel": kernel, "position_weight": 0.1, "spacing": (2, 1, 1)},
        input_shape=((2, 2, 3, 4, 3, 4), (2, 2, 3, 4, 3, 3)),
        expected_output_shape=(2, 2, 3, 4, 4),
        expected_output_dtype="float32",
        expected_num_trainable_weights=4,
        expected_num_non_trainable_weights=0,
    )


@pytest.mark.parametrize("kernel", ["squared_distance", "gaussian"])
@pytest.mark.parametrize(
    ("gate", "normalize"),
    [(True, True), (False, False)]
    + [pytest.param(gate, not gate, marks=pytest.mark.tensorflow_only) for gate in (True, False)],
)
def test_linked_equals_the_definition(kernel, gate, normalize):
    p, features = linked(1, 2, 3, 4, 5)
    settings = {"kernel": kernel, "color_weight": 0.5, "position_weight": 0.2, "spacing": (3, 1, 1)}
    expected = direct_linked_local_conv(p, features, (5, 2, 3), **settings)
    expected = 3 * expected * (p[..., 2, :] if gate else 1) / (30 if normalize else 1) - 1
    settings |= {"gate": gate, "normalize": normalize, "scale": 3.0, "offset": -1.0}
    layer = layers.LocalConv3D((5, 2, 3), **settings)
    assert_close(layer((p, features)), expected, rtol=2e-5, atol=1e-5)


def defined(p, features, a, b, color_weight, position_weight, kernel, gate, normalize):
    """A g sum_z k(j, z) p_z / n + b with windows of 3x2."""
    out = direct_local_conv(p, features, (3, 2), kernel, color_weight, position_weight)
    return a * out * (p if gate else 1) / (6 if normalize else 1) + b


@pytest.mark.parametrize("kernel", ["squared_distance", "gaussian"])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_equals_the_definition(kernel, gate, normalize):
    p, features = random(2, 4, 3, 2), random(2, 4, 3, 3, seed=1)
    settings = {"kernel": kernel, "gate": gate, "normalize": normalize}
    layer = layers.LocalConv2D(
        (3, 2), color_weight=0.5, position_weight=0.2, scale=3.0, offset=-1.0, **settings
    )
    expected = defined(p, features, 3.0, -1.0, 0.5, 0.2, **settings)
    assert_close(layer((p, features)), expected, rtol=2e-5)


@pytest.mark.parametrize("kernel", ["squared_distance", "gaussian"])
def test_gradients_reach_inputs_and_weights(kernel):
    settings = {"kernel": kernel, "gate": True, "normalize": True}
    p, features = random(1, 3, 2, 2), random(1, 3, 2, 2, seed=1)
    projection = random(1, 3, 2, 2, seed=2, low=-1.0)
    layer = layers.LocalConv2D((3, 2), **settings)
    layer.build([p.shape, features.shape])
    assert [w.name for w in layer.trainable_weights] == ["a", "b", "color_weight"] + [
        "position_weight"
    ]

    def projected(p, features, *weights):
        out, _ = layer.stateless_call(list(weights), [], (p, features))
        return dot(out, projection)

    arguments = p, features, 1.5, 0.3, 0.7, 0.2
    expected = finite_differences(
        lambda *x: (defined(*x, **settings) * projection).sum(), *arguments
    )
    for ours, theirs in zip(gradients(projected, *arguments), expected, strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_learned_kernel_starts_as_the_squared_distance():
    inputs = random(2, 5, 4, 3), random(2, 5, 4, 3, seed=1)
    settings = {"window": (3, 4), "color_weight": 0.7, "position_weight": 0.2}
    learned = layers.LocalConv2D(kernel="learned", **settings)
    assert_close(learned(inputs), to_numpy(layers.LocalConv2D(**settings)(inputs)))
    assert learned.filters.shape == (5, 4, 12)


def test_learned_kernel_of_linked_frames():
    p, features = linked(2, 2, 4, 5, 3)
    settings = {"window": (3, 2, 3), "position_weight": 0.2, "spacing": (4, 1, 1)}
    learned = layers.LocalConv3D(kernel="learned", **settings)
    expected = to_numpy(layers.LocalConv3D(**settings)((p, features)))
    assert_close(learned((p, features)), expected, rtol=1e-4)
    assert learned.filters.shape == (4, 5, 18)
    changes = random(4, 5, 18, seed=2)
    learned.filters.assign_add(changes)
    added = np.zeros_like(expected)
    for o, (k, y, x) in enumerate(offsets((3, 2, 3))):
        for i, j in np.ndindex(4, 5):
            if 0 <= i + y < 4 and 0 <= j + x < 5:
                added[:, :, i, j] += changes[i, j, o] * p[:, :, i + y, j + x, k + 1]
    expected = expected + added / 18 * p[:, :, :, :, 1]
    assert_close(learned((p, features)), expected, rtol=1e-4)


def test_learned_kernel_trains():
    p, image = keras.Input((4, 5, 2)), keras.Input((4, 5, 3))
    layer = layers.LocalConv2D(3, kernel="learned", normalize=False)
    model = keras.Model([p, image], layer((p, image)))
    before = layer.filters.numpy() if hasattr(layer.filters, "numpy") else to_numpy(layer.filters)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    data = [random(4, 4, 5, 2), random(4, 4, 5, 3, seed=1)]
    target = random(4, 4, 5, 2, seed=2)
    first, *_, last = model.fit(data, target, epochs=4, verbose=0).history["loss"]
    assert last < first
    assert np.all(np.ptp(to_numpy(layer.filters) - before, axis=(0, 1)) > 0)  # untied


@pytest.mark.parametrize(
    "policy",
    ["mixed_float16"]
    + [pytest.param(p, marks=pytest.mark.tensorflow_only) for p in ("mixed_bfloat16", "float16")],
)
@pytest.mark.parametrize(
    ("kernel", "color_weight"), [("squared_distance", 1.0), ("gaussian", 1.234e-4)]
)
def test_half_precision_policies_lose_nothing(policy, kernel, color_weight):
    inputs = random(1, 20, 20, 2), random(1, 20, 20, 3, seed=1, high=255.0)
    settings = {"window": 20, "kernel": kernel, "color_weight": color_weight, "scale": 1.001}
    settings |= {"normalize": False}
    expected = to_numpy(layers.LocalConv2D(**settings)(inputs))
    assert np.isfinite(expected).all()
    half = layers.LocalConv2D(**settings, dtype=policy)
    p, image = keras.Input((None, None, 2)), keras.Input((None, None, 3))
    model = keras.Model([p, image], half((p, image)))
    for out in (half(inputs), model(list(inputs))):
        assert keras.backend.standardize_dtype(out.dtype) == "float32"
        assert_close(out, expected)


@pytest.mark.parametrize("kernel", ["squared_distance", "gaussian"])
def test_unknown_sizes_train_and_save(kernel, tmp_path):
    model = functional_model(kernel)
    model.compile("sgd", "mse")
    inputs, target = [random(2, 5, 4, 2), random(2, 5, 4, 3, seed=1)], random(2, 5, 4, 2, seed=2)
    model.fit(inputs, target, verbose=0)
    assert np.isfinite(model.get_weights()).all()
    assert not np.allclose(model.get_weights(), functional_model(kernel).get_weights(), atol=1e-6)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [random(1, 2, 9, 2), random(1, 2, 9, 3, seed=1)]
    assert_close(loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0))


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("kernel", ["squared_distance", "gaussian"])
def test_unknown_sizes_export(kernel, tmp_path):
    import tensorflow as tf

    model = functional_model(kernel)
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    for size in [(1, 1), (3, 7), (2, 600)]:
        inputs = [random(2, *size, 2), random(2, *size, 3, seed=1)]
        assert_close(loaded.serve(inputs), to_numpy(model(inputs)))


def functional_model(kernel):
    p, image = keras.Input((None, None, 2)), keras.Input((None, None, 3))
    layer = layers.LocalConv2D((3, 4), kernel=kernel, position_weight=0.1)
    return keras.Model([p, image], layer((p, image)))


def test_keeps_arguments_as_given():
    layer = layers.LocalConv2D((3, 5), kernel="gaussian", color_weight=2.0, name="b12")
    config = layer.get_config()
    assert (config["window"], config["kernel"], config["color_weight"]) == ((3, 5), "gaussian", 2.0)
    assert layers.LocalConv2D.from_config(config).get_config() == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "`window`: expected an integer of at least 1, received 0"),
        ({"window": (3, 3, 3)}, "`window`: expected an integer or 2 integers"),
        ({"kernel": "box"}, r"`kernel`: expected one of \['gaussian', .*received 'box'"),
        ({"spacing": (1, 2, 3)}, "`spacing`: expected a positive number or 2, one per axis"),
        ({"spacing": -1}, "`spacing`: expected a positive number or 2, one per axis, received -1"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.LocalConv2D(**{"window": 3, **settings})


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="LocalConv2D supports the image data format 'channels_la"):
        layers.LocalConv2D(3)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 4, 2), (2, 4, 3)), "LocalConv2D expects inputs with 2 spatial axes, received"),
        (((2, 4, 4, 2), (2, 4, 3)), r"expected shapes \(B, \*S, L\) and \(B, \*S, F\)"),
        (((2, 4, 4, 2), (2, 5, 4, 3)), "expected the same batch and spatial sizes"),
        (((2, 4, 4, 2), (1, 4, 4, 3)), "expected the same batch and spatial sizes"),
        (((2, 4, 0, 2), (2, 4, 0, 3)), "expected at least one position"),
    ],
)
def test_refuses_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        layers.LocalConv2D(3)([np.ones(shape, "float32") for shape in shapes])


@pytest.mark.parametrize("shape", [(2, 4, 4, 2), (4, 2)])
def test_refuses_a_single_input(shape):
    with pytest.raises(ValueError, match=r"LocalConv2D expects a pair \(p, features\)"):
        layers.LocalConv2D(3)(np.ones(shape, "float32"))


def test_learned_kernel_refuses_unknown_sizes():
    inputs = keras.Input((None, 4, 2)), keras.Input((None, 4, 3))
    with pytest.raises(ValueError, match=r"expects known spatial sizes, received \(None, 4\)"):
        layers.LocalConv2D(3, kernel="learned")(inputs)


@pytest.mark.parametrize(
    ("layer", "shapes", "message"),
    [
        (layers.LocalConv3D(3), ((1, 2, 4, 4, 3, 2), (1, 2, 4, 4, 3)), "expected linked frames"),
        (layers.LocalConv3D(3), ((1, 2, 4, 4, 5, 2), (1, 2, 4, 4, 5, 3)), "for K linked frames"),
        (layers.LocalConv3D(2), ((1, 2, 4, 4, 2, 2), (1, 2, 4, 4, 2, 3)), "K odd, received"),
        (layers.LocalConv2D(3), ((1, 2, 4, 4, 3, 2), (1, 2, 4, 4, 3, 3)), "with one to three axes"),
    ],
)
def test_refuses_linked_shapes(layer, shapes, message):
    with pytest.raises(ValueError, match=message):
        layer([np.ones(shape, "float32") for shape in shapes])
