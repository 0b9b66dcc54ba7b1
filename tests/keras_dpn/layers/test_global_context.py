import keras
import numpy as np
import pytest

from keras_dpn import layers, ops
from tests.keras_dpn.support import assert_close, random, run_layer_test, to_numpy


@pytest.mark.parametrize(
    ("settings", "shapes", "expected"),
    [
        ({"grid": (1, 2)}, (2, 4, 5, 3), (2, 4, 5, 6)),
        ({}, ((2, 4, 5, 3), (2, 4, 5)), (2, 4, 5, 3)),
        ({"grid": [2], "unpool": False}, ((2, 4, 5, 3), (2, 4, 5, 1)), (2, 2, 2, 3)),
    ],
)
def test_layer(settings, shapes, expected):
    run_layer_test(
        layers.GlobalContext,
        settings,
        input_shape=shapes,
        expected_output_shape=expected,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
    )


@pytest.mark.parametrize("unpool", [False, True])
def test_equals_the_op(unpool):
    x, valid = random(2, 4, 5, 3), random(2, 4, 5, seed=1) > 0.5
    layer = layers.GlobalContext(2, unpool)
    assert_close(layer(x), to_numpy(ops.global_context(x, 2, unpool=unpool)))
    assert_close(layer((x, valid)), to_numpy(ops.global_context(x, 2, valid, unpool)))


def test_mean_in_half_precision():
    """2000 positions of 200 sum to more than float16 holds."""
    out = layers.GlobalContext(dtype="mixed_float16")(np.full((1, 40, 50, 1), 200.0))
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    assert_close(keras.ops.cast(out, "float32"), np.full((1, 40, 50, 1), 200.0))


def test_unknown_sizes_train_and_save(tmp_path):
    model = context_model()
    assert model.output.shape == (None, None, None, 6)
    model.compile("sgd", "mse")
    for size in [(1, 1), (6, 9)]:
        x, valid = random(2, *size, 3), random(2, *size, seed=1) > 0.5
        before = model.get_weights()[0]
        model.fit((x, valid), random(2, *size, 6, seed=2), verbose=0)
        assert np.any(model.get_weights()[0] != before)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded((x, valid)), to_numpy(model((x, valid))))


@pytest.mark.tensorflow_only
def test_unknown_sizes_export(tmp_path):
    import tensorflow as tf

    model = context_model()
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    for size in [(1, 1), (6, 9)]:
        inputs = random(2, *size, 3), random(2, *size, seed=1) > 0.5
        assert_close(loaded.serve(inputs), to_numpy(model(inputs)))


def context_model():
    features = keras.Input((None, None, 3))
    valid = keras.Input((None, None), dtype="bool")
    scaled = keras.layers.Conv2D(3, 1)(features)
    return keras.Model((features, valid), layers.GlobalContext((1, 2))((scaled, valid)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": 0}, "`grid`: expected an integer of at least 1, received 0"),
        ({"grid": (1, 2.5)}, "`grid`: expected an integer of at least 1, received 2.5"),
        ({"grid": ()}, r"`grid`: expected an integer or several integers, received \(\)"),
        ({"grid": (1, 2), "unpool": False}, "`grid`: expected one integer without `unpool`"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.GlobalContext(**settings)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((4, 5, 3), r"`x`: expected a feature map \(B, H, W, C\), received shape \(4, 5, 3\)"),
        ([(2, 4, 5, 3), (2, 4, 4)], r"`valid`: expected shape \(B, H, W\) .*, received \(2, 4, 4"),
        ([(2, 4, 5, 3), (2, 4, 5, 3)], r"`valid`: .* shape \(2, 4, 5, 3\), received \(2, 4, 5, 3"),
        ([(2, 4, 5, 3), (2, 4)], r"`valid`: .*, received \(2, 4\)"),
    ],
)
@pytest.mark.parametrize("symbolic", [False, True])
def test_refuses_inputs(inputs, message, symbolic):
    make = keras.KerasTensor if symbolic else np.ones
    inputs = [make(s) for s in inputs] if isinstance(inputs, list) else make(inputs)
    with pytest.raises(ValueError, match=message):
        layers.GlobalContext()(inputs)


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="GlobalContext supports the image data format"):
        layers.GlobalContext()
