import keras
import numpy as np
import pytest

from keras_dpn import layers, ops
from tests.keras_dpn.support import assert_close, random, run_layer_test, to_numpy

TENSORFLOW = pytest.mark.tensorflow_only


@pytest.mark.parametrize(
    ("settings", "shapes", "size"),
    [
        pytest.param({"size": (3, 9)}, (2, 4, 5, 3), (3, 9), marks=TENSORFLOW),
        pytest.param({"factor": 2}, (2, 4, 5, 3), (8, 10), marks=TENSORFLOW),
        ({"factor": 1}, (2, 4, 5, 3), (4, 5)),
        ({}, ((2, 4, 5, 3), (2, 7, 6, 1)), (7, 6)),
        ({"align_corners": True}, ((2, 1, 1, 3), (2, 7, 6, 1)), (7, 6)),
        ({"factor": 2}, ((2, 4, 5, 3), (2, 7, 10, 1)), (7, 10)),
    ],
)
def test_layer(settings, shapes, size):
    run_layer_test(
        layers.Resize,
        settings,
        input_shape=shapes,
        expected_output_shape=(2, *size, 3),
        expected_output_dtype="float32",
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
    )


@pytest.mark.parametrize("align_corners", [False, True])
def test_equals_the_op(align_corners):
    x, reference = random(1, 3, 4, 2), random(1, 6, 7, 1)
    settings = {"align_corners": align_corners}
    doubled = to_numpy(ops.resize(x, (6, 8), align_corners))
    assert_close(layers.Resize(factor=2, **settings)(x), doubled)
    assert_close(layers.Resize(factor=2, **settings)((x, reference)), doubled[:, :, :7])
    expected = to_numpy(ops.resize(x, (6, 7), align_corners))
    assert_close(layers.Resize(size=(6, 7), **settings)(x), expected)
    assert_close(layers.Resize(**settings)((x, reference)), expected)


@pytest.mark.parametrize("factor", [None, 4])
def test_unknown_sizes_train_and_save(factor, tmp_path):
    model = downsampling_model(factor)
    assert model.output.shape == (None, None, None, 3)
    model.compile("sgd", "mse")
    for size in [(1, 1), (6, 9)]:
        before = model.get_weights()[0]
        x = random(2, *size, 3)
        model.fit(x, x + 1, verbose=0)
        assert np.any(model.get_weights()[0] != before)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("factor", [None, 4])
def test_unknown_sizes_export(factor, tmp_path):
    import tensorflow as tf

    model = downsampling_model(factor)
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    for size in [(1, 1), (6, 9)]:
        x = random(2, *size, 3)
        assert_close(loaded.serve(x), to_numpy(model(x)))


def downsampling_model(factor):
    image = keras.Input((None, None, 3))
    coarse = keras.layers.Conv2D(3, 3, 4, padding="same")(image)
    return keras.Model(image, layers.Resize(factor=factor)((coarse, image)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (2, 2), "factor": 2}, "`size` and `factor`: expected at most one of them"),
        ({"size": (0, 2)}, "`size`: expected an integer of at least 1, received 0"),
        ({"size": 4}, r"`size`: expected \(height, width\), received 4"),
        ({"size": (4, 4, 4)}, r"`size`: expected \(height, width\)"),
        ({"factor": 0}, "`factor`: expected an integer of at least 1, received 0"),
        ({"factor": 1.5}, "`factor`: expected an integer of at least 1, received 1.5"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.Resize(**settings)


@pytest.mark.parametrize(
    ("settings", "inputs", "message"),
    [
        ({"factor": 2}, (4, 5, 3), r"shape \(B, H, W, C\), received \(4, 5, 3\)"),
        ({}, (1, 4, 5, 3), r"expects a pair \(x, reference\) as input, received one tensor"),
        (
            {"size": (2, 2)},
            [(1, 4, 5, 3)] * 2,
            "Resize with `size` expects one tensor as input, received",
        ),
        ({"factor": 2}, [(1, 2, 2, 3), (1, 5, 4, 3)], r"size \(4, 4\), the reference \(5, 4\)"),
    ],
)
@pytest.mark.parametrize("symbolic", [False, True])
def test_refuses_inputs(settings, inputs, message, symbolic):
    make = keras.KerasTensor if symbolic else np.ones
    inputs = [make(s) for s in inputs] if isinstance(inputs, list) else make(inputs)
    with pytest.raises(ValueError, match=message):
        layers.Resize(**settings)(inputs)


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="Resize supports the image data format 'channels_last'"):
        layers.Resize(factor=2)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_keep_their_digits_in_half_precision(policy):
    logits = 100 + random(1, 3, 4, 2)
    expected = to_numpy(layers.Resize(factor=2)(logits))
    keras.config.set_dtype_policy(policy)
    assert_close(layers.Resize(factor=2)(logits), expected)
