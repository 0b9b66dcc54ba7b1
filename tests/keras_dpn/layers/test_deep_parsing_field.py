import keras
import numpy as np
import pytest

from keras_dpn import layers, ops
from keras_dpn.models import DPN
from tests.keras_dpn.support import (
    assert_close,
    gradients,
    picture,
    random,
    run,
    run_layer_test,
    to_numpy,
)

TENSORFLOW = pytest.mark.tensorflow_only
TINY = {"window": 4, "context_window": 3, "mixtures": 2, "noise": 0.3}
SIZES = [(7,), (5, 4), (2, 3, 4)]


def arguments(*size, labels=3, seed=0):
    """Logits and an image of a size."""
    logits = random(*size, labels, seed=seed, low=-3.0, high=3.0)[None]
    return logits, random(*size, 3, seed=seed + 1, high=255.0)[None]


def copy_of(field, inputs, **settings):
    """A field with the weights of another one, some of whose windows have an axis more or less."""
    config = {**field.get_config(), **settings}
    copy = layers.DeepParsingField.from_config(config)
    copy(inputs)
    copy.set_weights(
        [np.reshape(w, v.shape) for w, v in zip(field.get_weights(), copy.weights, strict=True)]
    )
    return copy


@pytest.mark.parametrize("size", [SIZES[1], *(pytest.param(s, marks=TENSORFLOW) for s in SIZES)])
@pytest.mark.parametrize("pairwise", ["contexts", pytest.param("triple", marks=TENSORFLOW)])
def test_layer(size, pairwise):
    run_layer_test(
        layers.DeepParsingField,
        {"window": 3, "context_window": 2, "mixtures": 2, "stride": 2, "pairwise": pairwise},
        input_shape=((2, *size, 4), (2, *size, 3)),
        expected_output_shape=(2, *size, 4),
        expected_output_dtype="float32",
        expected_num_trainable_weights=6 if pairwise == "contexts" else 4,
        expected_num_non_trainable_weights=0,
    )


@pytest.mark.parametrize("pairwise", ["contexts", pytest.param("triple", marks=TENSORFLOW)])
def test_equals_the_network_with_its_weights(pairwise):
    backbone = {"fc6_kernel": 1, "fc_width": 100}
    groups = {"local_conv": {"window": 4, "position_weight": 0.1}}
    groups["contexts"] = {"window": 3, "mixtures": 2, "noise": 0.3}
    settings = {"pairwise": pairwise, "num_iterations": 2}
    model = DPN(3, width=0.05, backbone=backbone, **groups, **settings)
    field = layers.DeepParsingField(**TINY, position_weight=0.1, return_heads=True, **settings)
    image = picture(9, 13)
    heads = {head: run(model.head_model(head), image) for head in model.head_names}
    field.build([(None, None, None, 3)] * 2)
    names = ("b12", "b13") if pairwise == "contexts" else ("b12",)
    field.set_weights([w for name in names for w in model.get_layer(name).get_weights()])
    out = field((heads["unary"], image))
    assert list(out) == list(heads)
    for head, logits in out.items():
        assert_close(logits, heads[head], rtol=1e-4, atol=1e-5)
    inputs = (heads["unary"], image)
    logits = copy_of(field, inputs, return_heads=False)(inputs)
    assert_close(logits, heads["final"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("context_window", [3, 2])
def test_contexts_start_as_the_triple_penalty(size, context_window):
    settings = TINY | {"noise": 0.0, "context_window": context_window}
    heads = layers.DeepParsingField(**settings, return_heads=True)(arguments(*size))
    assert_close(heads["contexts"], heads["triple"])
    assert keras.ops.max(keras.ops.abs(heads["triple"] - heads["unary"])) > 0.01


def test_filters_of_a_label_start_different():
    field = layers.DeepParsingField()
    field.build([(None, None, None, 4), (None, None, None, 3)])
    kernel = to_numpy(field.b13.kernel).reshape(9, 9, 4, 4, 5)
    assert np.abs(kernel[..., 0] - kernel[..., 1]).min() > 0
    identity = np.zeros((9, 9, 4, 4))
    identity[4, 4] = np.eye(4)
    assert np.abs(kernel - identity[..., None]).max() < 0.1


def test_the_scale_of_logits_is_free():
    """Logits are known up to a constant at each position."""
    logits, image = arguments(5, 4)
    field = layers.DeepParsingField(**TINY)
    shift = random(1, 5, 4, 1, high=9.0)
    expected = to_numpy(field((logits, image))) + shift
    assert_close(field((logits + shift, image)), expected, rtol=1e-4, atol=1e-5)


def test_a_volume_of_thin_windows_is_a_batch_of_images():
    logits, image = arguments(2, 6, 5)
    thin = {"window": (1, 4, 4), "context_window": (1, 3, 3), "stride": (1, 2, 2)}
    volume = layers.DeepParsingField(**TINY | thin)
    volume((logits, image))
    frames = (logits[0], image[0])
    flat = copy_of(volume, frames, window=4, context_window=3, stride=2)
    assert_close(flat(frames), to_numpy(volume((logits, image)))[0], rtol=1e-4, atol=1e-5)


def test_a_signal_is_a_thin_image():
    logits, image = arguments(1, 7)
    thin = {"window": (1, 4), "context_window": (1, 3), "stride": (1, 2)}
    image_field = layers.DeepParsingField(**TINY | thin)
    expected = to_numpy(image_field((logits, image)))[0]
    signal = (logits[0], image[0])
    line = copy_of(image_field, signal, window=4, context_window=3, stride=2)
    assert_close(line(signal), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 4), (5, 3)])
def test_a_stride_adds_the_coarse_fields_change(size):
    """On cells of one color, 3x2 of them."""
    cells, colors = arguments(3, 2)
    logits, image = (np.repeat(np.repeat(x, 2, 1), 2, 2) for x in (cells, colors))
    logits += random(1, 6, 4, 1)  # a constant for all labels changes nothing
    logits, image = logits[:, : size[0], : size[1]], image[:, : size[0], : size[1]]
    fine = layers.DeepParsingField(**TINY, num_iterations=2)
    fine((cells, colors))
    coarse = copy_of(fine, (logits, image), stride=2)
    change = to_numpy(ops.resize(keras.ops.subtract(fine((cells, colors)), cells), (6, 4)))
    expected = logits + change[:, : size[0], : size[1]]
    assert_close(coarse((logits, image)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, pytest.param(2, marks=TENSORFLOW)])
def test_behind_a_network_of_unknown_sizes(stride, tmp_path):
    image = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(3, 3, padding="same", name="scores")(image / 255)
    field = layers.DeepParsingField(**TINY, stride=stride, return_heads=True, name="field")
    heads = field((logits, image))
    assert heads["final"].shape == (None, None, None, 3)
    model = keras.Model(image, heads)
    x = picture(9, 13)
    expected = run(model, x)
    assert [logits.shape for logits in expected.values()] == [(1, 9, 13, 3)] * 4
    assert np.abs(expected["final"] - expected["triple"]).max() > 0.01
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for head, logits in run(loaded, x).items():
        assert_close(logits, expected[head])
    assert [w.path for w in loaded.weights] == [w.path for w in model.weights]
    final = keras.Model(image, heads["final"])
    final.compile("sgd", "mse")
    before = [to_numpy(w) for w in final.trainable_weights]
    final.fit(x, np.zeros((1, 9, 13, 3)), verbose=0)
    assert all(
        np.any(to_numpy(w) != b) for w, b in zip(final.trainable_weights, before, strict=True)
    )


def test_gradients_reach_logits_and_colors():
    logits, image = arguments(5, 4)
    field = layers.DeepParsingField(**TINY, stride=2)
    field((logits, image))
    found = gradients(lambda a, b: keras.ops.sum(keras.ops.square(field((a, b)))), logits, image)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in found)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_computes_in_float32_whatever_the_policy(policy):
    logits, image = arguments(5, 4)
    wide = layers.DeepParsingField(**TINY)
    expected = wide((logits, image))
    keras.config.set_dtype_policy(policy)
    config = {**wide.get_config(), "dtype": policy}
    field = layers.DeepParsingField.from_config(config)
    field((logits, image))
    field.set_weights(wide.get_weights())
    out = field((logits, image))
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    assert_close(out, to_numpy(expected))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"window": 0}, "window"),
        ({"window": (3, 3, 0)}, "window"),
        ({"context_window": 0}, "context_window"),
        ({"mixtures": 0}, "mixtures"),
        ({"num_iterations": 0}, "num_iterations"),
        ({"stride": 0}, "stride"),
        ({"pairwise": None}, "pairwise"),
        ({"kernel": "learned"}, "kernel"),
        ({"color_unit": 0}, "color_unit"),
        ({"color_unit": "32"}, "color_unit"),
        ({"color_weight": float("nan")}, "color_weight"),
        ({"position_weight": float("inf")}, "position_weight"),
        ({"scale": None}, "scale"),
        ({"noise": -1.0}, "noise"),
    ],
)
def test_invalid_arguments(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        layers.DeepParsingField(**settings)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 5, 4, 3), (2, 5, 3, 3)], "Upsample the logits"),
        ([(2, 5, 4, 3), (2, 5, 3)], "received shapes"),
        ([(2, 3), (2, 3)], "received shapes"),
        ((2, 5, 4, 3), "expects a pair"),
        ([(2, 5, 4, None), (2, 5, 4, 3)], "known numbers of labels and image channels"),
    ],
)
def test_invalid_inputs(shapes, message):
    with pytest.raises(ValueError, match=message):
        layers.DeepParsingField().build(shapes)


def test_sizes_of_each_call_are_compared():
    field = layers.DeepParsingField(window=3, context_window=3, stride=2)
    field((random(1, 4, 4, 3), random(1, 4, 4, 3)))
    with pytest.raises(ValueError, match="Upsample the logits"):
        field((random(1, 4, 4, 3), random(1, 3, 3, 3)))


def test_one_size_per_axis_must_fit_the_input():
    with pytest.raises(ValueError, match="`stride`"):
        layers.DeepParsingField(stride=(1, 2, 2)).build([(2, 5, 4, 3)] * 2)
