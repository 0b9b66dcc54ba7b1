import keras
import numpy as np
import pytest

from keras_dpn import layers
from tests.keras_dpn.support import (
    assert_close,
    direct_linked_local_conv,
    direct_links,
    random,
    run_layer_test,
    to_numpy,
)


def clip(time=4, size=(4, 5), batch=2, channels=3):
    """Frames with forward and backward flow, most of which leads back."""
    x, forward = random(batch, time, *size, channels), random(batch, time - 1, *size, 2, seed=1)
    return x, forward, -forward


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 2), ((2, 3, 4, 5, 2), *[(2, 2, 4, 5, 2)] * 2)])
def test_layer(shape):
    run_layer_test(
        layers.DynamicNodeLink,
        {"frames": 5, "threshold": 2.0},
        input_shape=shape,
        expected_output_shape=((2, 3, 4, 5, 5, 2), (2, 3, 4, 5, 5, 1)),
        expected_output_dtype=("float32", "float32"),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
    )


def test_equals_the_definition():
    x, *flows = clip()
    layer = layers.DynamicNodeLink(frames=3, threshold=0.4)
    outputs = layer((x, *flows)), layer(x)
    expected = direct_links(x, flows, 3, 0.4), direct_links(x, frames=3)
    for pair, expected_pair in zip(outputs, expected, strict=True):
        for ours, theirs in zip(pair, expected_pair, strict=True):
            assert_close(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_dtypes_before_and_when_it_runs(dtype):
    x, *flows = clip(time=2)
    x = (100 * x).astype(dtype)
    expected = "float16" if dtype == "float16" else "float32"
    layer = layers.DynamicNodeLink(dtype="float16")
    symbolic = layer(
        (keras.Input(x.shape[1:], dtype=dtype), *(keras.Input(f.shape[1:]) for f in flows))
    )
    for pair in (symbolic, layer((x, *flows))):
        assert [keras.backend.standardize_dtype(y.dtype) for y in pair] == [expected, "float32"]


def test_half_precision_policies_lose_no_position():
    x, *flows = clip(time=2, size=(1, 40))
    flows = [flow + sign * 17.37 for flow, sign in zip(flows, (1, -1), strict=True)]
    wide, half = (
        layers.DynamicNodeLink(dtype=d)((x, *flows)) for d in ("float32", "mixed_float16")
    )
    assert 0 < to_numpy(wide[1]).mean() < 0.8
    for ours, theirs in zip(half, wide, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))


def functional_model(linking):
    """A local convolution over linked frames, any number and size of them."""
    p, colors = keras.Input((None, None, None, 2)), keras.Input((None, None, None, 3))
    flows = [keras.Input((None, None, None, 2)) for _ in range(2 if linking == "flow" else 0)]
    link = layers.DynamicNodeLink()
    linked = [link((x, *flows) if flows else x)[0] for x in (p, colors)]
    out = layers.LocalConv3D((3, 3, 4), position_weight=0.1, name="b12")(linked)
    return keras.Model([p, colors, *flows], out)


def inputs_of(linking, *size, time=3, seed=0):
    p, colors = random(2, time, *size, 2, seed=seed), random(2, time, *size, 3, seed=seed + 1)
    flow = random(2, time - 1, *size, 2, seed=seed + 2, low=-1.0)
    return [p, colors, *([flow, -flow] if linking == "flow" else [])]


@pytest.mark.parametrize(
    "linking", ["flow", pytest.param("static", marks=pytest.mark.tensorflow_only)]
)
def test_unknown_sizes_train_and_save(linking, tmp_path):
    model = functional_model(linking)
    assert model.output.shape == (None, None, None, None, 2)
    p, colors, *flows = inputs = inputs_of(linking, 4, 5)
    links = [direct_links(x, flows or None)[0] for x in (p, colors)]
    expected = p * direct_linked_local_conv(*links, (3, 3, 4), position_weight=0.1) / 36
    assert_close(model.predict(inputs, verbose=0), expected, rtol=2e-5)

    model.compile("sgd", "mse")
    model.fit(inputs, random(*expected.shape, seed=5), verbose=0)
    weights = np.array(model.get_weights())
    assert np.isfinite(weights).all()
    assert np.abs(weights - [1, 0, 1, 0.1]).min() > 1e-6
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = inputs_of(linking, 2, 7, time=2, seed=1)
    assert_close(loaded.predict(inputs, verbose=0), model.predict(inputs, verbose=0))


@pytest.mark.tensorflow_only
def test_unknown_sizes_export(tmp_path):
    import tensorflow as tf

    model = functional_model("flow")
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    for time, size in [(1, (3, 4)), (4, (1, 7))]:
        inputs = inputs_of("flow", *size, time=time)
        assert_close(loaded.serve(inputs), to_numpy(model(inputs)))


def test_keeps_arguments_as_given():
    config = layers.DynamicNodeLink(frames=5, threshold=0.5, name="link").get_config()
    assert (config["frames"], config["threshold"], config["name"]) == (5, 0.5, "link")
    assert layers.DynamicNodeLink.from_config(config).get_config() == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 2}, "`frames`: expected an odd number, .*received 2"),
        ({"frames": 0}, "`frames`: expected an integer of at least 1, received 0"),
        ({"threshold": -0.1}, "`threshold`: expected a number of pixels from 0 up, received -0.1"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.DynamicNodeLink(**settings)


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="DynamicNodeLink supports the image data format 'channel"):
        layers.DynamicNodeLink()


FRAMES, STEPS = (1, 3, 4, 5, 2), (1, 2, 4, 5, 2)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((FRAMES, STEPS), r"expects frames \(B, T, H, W, C\), or a triple of frames, forward flow"),
        ((FRAMES[1:], STEPS, STEPS), r"expects frames .*received shapes"),
        ((FRAMES, STEPS, FRAMES), "`backward_flow`: .*the steps between frames"),
        ((FRAMES, (1, 2, 4, 4, 2), STEPS), "`forward_flow`: .*the steps between frames"),
        ((FRAMES, (1, 2, 2, 4, 5), STEPS), "`forward_flow`: "),
        ((FRAMES, (1, 2, 4, 5, 3), STEPS), "`forward_flow`: expected a flow"),
    ],
)
def test_refuses_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        layers.DynamicNodeLink()([np.zeros(shape, "float32") for shape in shapes])
    with pytest.raises(ValueError, match=message):
        layers.DynamicNodeLink()([keras.Input(shape[1:]) for shape in shapes])


def test_refuses_flow_of_integers():
    x, *flows = clip()
    with pytest.raises(ValueError, match="`forward_flow`: .*of floats, in pixels, received int32"):
        layers.DynamicNodeLink()((x, *(flow.astype("int32") for flow in flows)))
