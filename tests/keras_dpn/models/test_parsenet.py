import inspect
import json

import keras
import numpy as np
import pytest

from keras_dpn.layers import MeanFieldCRF
from keras_dpn.models import ParseNet
from tests.keras_dpn.support import (
    assert_close,
    check_training_reaches_every_weight,
    outputs,
    picture,
    to_numpy,
    weight_shapes,
    without_values,
)

# JAX compiles each of these networks for seconds: there, a few of them must do.
TENSORFLOW = pytest.mark.tensorflow_only

BASELINE = {"fusion": None, "normalize": False}


def tiny(**settings):
    return ParseNet(**{"num_classes": 3, "width": 0.02, **settings})


def classified(model, name, features):
    """What a classifier of the model makes of features (..., C)."""
    layer = model.get_layer(name)
    bias = to_numpy(layer.bias) if layer.use_bias else 0
    return features @ to_numpy(layer.kernel)[0, 0] + bias


def unit(features, normalize, scale=10.0):
    """Features (..., C), on request of length `scale`."""
    if not normalize:
        return features
    squares = np.square(features).sum(axis=-1, keepdims=True)
    return scale * features / np.sqrt(squares + 1e-10)


# === The paper's network ===


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (BASELINE, 20_505_429),  # DeepLab-LargeFOV's
        ({"fusion": None}, 20_506_453),
        ({"fusion": "early", "normalize": False}, 20_526_933),
        ({"fusion": "early"}, 20_528_981),
        ({"fusion": "late", "normalize": False}, 20_526_933),
        ({}, 20_528_981),  # 0.11% more than the baseline
        ({"fusion": "early", "combine": "conv"}, 22_605_653),
        ({"grid": (1, 2, 4)}, 20_574_037),
    ],
)
def test_parameters(settings, parameters):
    assert without_values(lambda: ParseNet(**settings)).count_params() == parameters


def test_the_trunk_is_largefov_with_2x2_pools_and_no_average():
    model = without_values(lambda: ParseNet(width=0.02))
    found = {
        layer.name: (layer.pool_size[0], layer.strides[0])
        for layer in model.layers
        if hasattr(layer, "pool_size")
    }
    expected = {"b2_pool": (2, 2), "b4_pool": (2, 2), "b6_pool": (2, 2)}
    assert found == expected | {"b7_pool": (3, 1), "b8_pool": (3, 1)}
    b9 = model.get_layer("b9")
    assert (b9.kernel_size, b9.dilation_rate) == ((3, 3), (12, 12))
    assert model.get_layer("b8_conv1").dilation_rate == (2, 2)


def test_names_and_shapes_of_what_context_adds():
    plain, full = (weight_shapes(lambda s=s: ParseNet(**s)) for s in (BASELINE, {}))
    assert {path: shape for path, shape in full.items() if path not in plain} == {
        "b10_norm/scale": (1024,),
        "pool6_norm/scale": (1024,),
        "b11_context/kernel": (1, 1, 1024, 21),  # one bias, b11's, is enough for a sum
    }
    assert {path: full[path] for path in plain} == plain


# === Fusion ===


@pytest.mark.parametrize(
    "normalize", [pytest.param(False, marks=TENSORFLOW), True], ids=["plain", "norm"]
)
def test_late_fusion_classifies_features_and_their_mean(normalize):
    model = tiny(normalize=normalize)
    features, found = outputs(model, picture(33, 49, batch=2), "b10", "b11_sum")
    mean = features.mean(axis=(1, 2), keepdims=True)  # of each image its own
    expected = classified(model, "b11", unit(features, normalize))
    expected = expected + classified(model, "b11_context", unit(mean, normalize))
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@TENSORFLOW
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("grid", [1, (1, 2)])
def test_early_fusion_is_late_fusion_with_joined_weights(normalize, grid):
    late, early = (tiny(fusion=f, normalize=normalize, grid=grid) for f in ("late", "early"))
    for layer in early.layers:
        if layer.weights and layer.name != "b11":
            layer.set_weights(late.get_layer(layer.name).get_weights())
    parts = ["b11", "b11_context", "b11_context_2x2"][: 3 if grid != 1 else 2]
    kernels = [to_numpy(late.get_layer(name).kernel) for name in parts]
    bias = np.array([0.1, -0.2, 0.3])
    late.get_layer("b11").bias.assign(bias)
    early.get_layer("b11").set_weights([np.concatenate(kernels, axis=2), bias])
    image = picture(17, 30)
    assert_close(early(image), to_numpy(late(image)), rtol=1e-4, atol=1e-5)


@TENSORFLOW
@pytest.mark.parametrize("init_scale", [1.0, 10.0, None])
def test_a_convolution_over_both(init_scale):
    """The three rows of Table 7's middle column."""
    own = {"normalize": False} if init_scale is None else {"init_scale": init_scale}
    model = tiny(fusion="early", combine="conv", **own)
    features, found = outputs(model, picture(33, 49), "b10", "b11")
    mean = np.broadcast_to(features.mean(axis=(1, 2), keepdims=True), features.shape)
    parts = [unit(x, init_scale is not None, init_scale) for x in (features, mean)]
    hidden = classified(model, "b10_fusion", np.concatenate(parts, axis=-1))
    assert hidden.shape == features.shape
    assert_close(found, classified(model, "b11", np.maximum(hidden, 0)), rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_regions_are_normalised_one_by_one():
    model = tiny(grid=(1, 2), init_scale=3.0)
    features, found = outputs(model, picture(32, 48), "b10", "b11_sum")  # 4x6 cells
    expected = classified(model, "b11", unit(features, True, 3.0))
    mean = features.mean(axis=(1, 2), keepdims=True)
    expected += classified(model, "b11_context", unit(mean, True, 3.0))
    for y, x in np.ndindex(2, 2):
        region = np.s_[:, 2 * y : 2 * y + 2, 3 * x : 3 * x + 3]
        mean = features[region].mean(axis=(1, 2), keepdims=True)
        expected[region] += classified(model, "b11_context_2x2", unit(mean, True, 3.0))
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


# === As any Keras model ===


@TENSORFLOW
@pytest.mark.parametrize(
    "settings", [BASELINE, {}, {"fusion": "early", "grid": (1, 2, 4)}, {"grid": 4}]
)
def test_any_size(settings):
    model = tiny(**settings)
    assert model.head_names == ("final",)
    for size in [(1, 1), (2, 3), (17, 30)]:
        logits = to_numpy(model(picture(*size)))
        assert logits.shape == (1, *size, 3)
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("input_shape", [(None, None, 3), (None, 30, 3), (17, 30, 3)])
@pytest.mark.parametrize("fusion", ["early", "late"])
def test_output_has_the_inputs_size_before_it_runs(input_shape, fusion):
    model = without_values(lambda: ParseNet(width=0.02, input_shape=input_shape, fusion=fusion))
    assert model.output.shape == (None, *input_shape[:2], 21)


@TENSORFLOW
def test_takes_uint8():
    model, image = tiny(), picture(9, 13)
    assert_close(model(image.astype("uint8")), to_numpy(model(image)))


def test_config_round_trip():
    settings = {"fusion": "early", "combine": "conv", "grid": (1, 2), "init_scale": 2.0}
    model = without_values(lambda: ParseNet(5, name="own", width=0.02, **settings))
    config = json.loads(json.dumps(model.get_config()))
    assert set(config) == set(inspect.signature(ParseNet).parameters)
    again = without_values(lambda: ParseNet.from_config(config))
    assert json.loads(json.dumps(again.get_config())) == config
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert (again.name, again.fusion, again.init_scale) == ("own", "early", 2.0)


@TENSORFLOW
def test_save_and_load(tmp_path):
    model, image = tiny(grid=(1, 2)), picture(9, 13)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is ParseNet
    assert_close(loaded(image), to_numpy(model(image)))


@pytest.mark.parametrize("fusion", ["late", "early"])
def test_layers_are_in_the_order_that_files_have(fusion):
    """Keras numbers each class's layers in a file, by their distance from the output."""
    model = without_values(lambda: tiny(fusion=fusion))
    names = [layer.name for layer in model.layers if layer.weights]
    context = ["b11_context"] if fusion == "late" else []
    assert names[13:] == ["b9", "b10", "b10_norm", "pool6_norm", "b11", *context]


@TENSORFLOW
def test_mixed_precision():
    wide, image = tiny(), picture(33, 49)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = tiny()
    model.set_weights(wide.get_weights())
    logits = model(image)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert model.get_layer("b10_norm").compute_dtype == "bfloat16"
    expected = to_numpy(wide(image))
    assert np.abs(to_numpy(logits) - expected).max() < 0.1 * np.abs(expected).max()


@TENSORFLOW
def test_export(tmp_path):
    import tensorflow as tf

    model = tiny(grid=(1, 2))
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    for size in [(1, 1), (16, 17)]:
        image = picture(*size, batch=2)
        assert_close(loaded.serve(image), to_numpy(model(image)), rtol=1e-4, atol=1e-5)


LEARNT = {"compatibility": "matrix", "trainable_weights_of": ("weights", "compatibility")}


def with_crf(model, **settings):
    logits = MeanFieldCRF(**LEARNT, **settings)((model.output, model.input))
    return keras.Model(model.input, logits)


def test_with_a_crf_that_learns():
    """A composition: the costs of 21x21 labels and the two kernels' weights more."""
    model = without_values(lambda: with_crf(ParseNet()))
    assert model.count_params() == 20_528_981 + 21**2 + 2 == 20_529_424


@TENSORFLOW
def test_training_reaches_every_weight_through_a_crf():
    own = {"num_iterations": 2, "filter": "exact", "bilateral": (3.0, 8.0, 20.0)}
    parsenet = tiny(dropout=0.0, width=0.05)
    model, image = with_crf(parsenet, **own), picture(9, 13)
    assert not np.allclose(model(image), parsenet(image), atol=1e-2)
    check_training_reaches_every_weight(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "middle"}, r"`fusion`: expected one of \['early', 'late'\], received 'middle'"),
        ({"combine": "sum"}, r"`combine`: expected one of \['concatenate', 'conv'\], received"),
        ({"combine": "conv"}, "`combine`: expected 'concatenate' unless .* 'conv' with .* 'late'"),
        ({"grid": 0}, "`grid`: expected an integer of at least 1, received 0"),
        ({"grid": ()}, r"`grid`: expected an integer or several integers, received \(\)"),
        ({"grid": (2, 2)}, "`grid`: expected an integer or several different ones, received"),
        ({"init_scale": float("nan")}, "`init_scale`: expected .*received nan"),
        ({"num_classes": 0}, "`num_classes`: expected an integer of at least 1, received 0"),
        (
            {"input_shape": (3, 64, 64)},
            r"`input_shape`: expected \(height, width, channels\)",
        ),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        without_values(lambda: ParseNet(width=0.02, **settings))
