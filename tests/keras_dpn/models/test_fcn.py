import inspect
import json

import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.models import FCN
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

ALL = ("pool6", "fc7", "conv5", "conv4", "conv3")
STRIDES = {"pool6": 32, "fc7": 32, "conv5": 16, "pool4": 16, "conv4": 8, "pool3": 8, "conv3": 4}
FCN8S = {"skips": ("fc7", "pool4", "pool3"), "normalize": False}


def tiny(**settings):
    return FCN(**{"num_classes": 3, "width": 0.01, **settings})


# === The papers' networks ===


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"num_classes": 21, "skips": ("fc7",), "normalize": False}, 134_346_581),  # FCN-32s
        ({"num_classes": 33, "skips": ALL[:4]}, 134_573_921),  # SIFT Flow's best
        ({"skips": ("fc7",), "normalize": False}, 134_506_364),
        (FCN8S, 134_552_444),
        ({"normalize": False}, 134_828_924),
        ({}, 134_838_396),  # PASCAL-Context's best: 0.25% more than its FCN-32s
    ],
)
def test_parameters(settings, parameters):
    assert without_values(lambda: FCN(**settings)).count_params() == parameters


def test_skips_are_the_papers_layers():
    channels = {"pool6": 4096, "fc7": 4096, "conv5": 512, "conv4": 512, "conv3": 256}
    shapes = weight_shapes(FCN)
    found = {path: shape for path, shape in shapes.items() if path.endswith("_norm/scale")}
    assert found == {f"{skip}_norm/scale": (n,) for skip, n in channels.items()}
    assert shapes["b9/kernel"] == (7, 7, 512, 4096)
    biases = [path for path in shapes if path.startswith("b11") and path.endswith("bias")]
    assert biases == ["b11_pool6/bias"]  # the first one's: one is enough for a sum
    model = without_values(lambda: FCN(width=0.01))
    dilations = {layer.dilation_rate for layer in model.layers if hasattr(layer, "dilation_rate")}
    assert dilations == {(1, 1)}


# === Skip connections ===


def test_the_sum_is_the_joined_features_under_one_classifier():
    """Features enlarged to conv3's grid, joined and classified, as the paper has it."""
    model, grid = tiny(), (14, 18)
    names = [f"{skip}_norm" for skip in ALL]
    *features, found = outputs(model, picture(54, 70), *names, "b11_sum")
    enlarged = []
    for skip, x in zip(ALL, features, strict=True):
        assert x.shape[1:3] == tuple(-(-n // STRIDES[skip]) for n in (54, 70))
        factor = STRIDES[skip] // 4
        x = ops.resize(x, [n * factor for n in x.shape[1:3]])
        enlarged.append(to_numpy(x)[:, : grid[0], : grid[1]])
    joined = np.concatenate(enlarged, axis=-1)
    kernel = np.concatenate(
        [to_numpy(model.get_layer(f"b11_{skip}").kernel) for skip in ALL], axis=2
    )
    expected = joined @ kernel[0, 0] + to_numpy(model.get_layer("b11_pool6").bias)
    assert found.shape == (1, *grid, 3)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_pool6_is_the_mean_of_fc7():
    model = tiny(normalize=False, skips=("fc7", "pool6"))
    fc7, pool6 = outputs(model, picture(70, 100, batch=2), "b10", "pool6")
    assert fc7.shape[1:3] == (3, 4)
    assert_close(pool6, np.broadcast_to(fc7.mean(axis=(1, 2), keepdims=True), fc7.shape))


def with_a_dot(model):
    """The model with convolutions that pass their first channel on, and a dot at (44, 62)."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.zeros(layer.kernel.shape)
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, 0] = 1
            layer.kernel.assign(kernel)
    image = np.zeros((1, 85, 97, 3), "float32")
    image[0, 44, 62] = 255
    return model, image


# A deconvolution of 64 pixels and stride 32, cut at 19, has the original's first cell of fc7 on
# pixel 12.5, 3 before the middle of 0 ... 31.
BEFORE = {"same": 0, 100: 3}


@TENSORFLOW
@pytest.mark.parametrize("padding", BEFORE)
def test_all_taps_see_a_dot_in_the_same_place(padding):
    skips = ALL[1:] + ("pool4", "pool3")
    model, image = with_a_dot(tiny(skips=skips, normalize=False, padding=padding))
    for skip, cells in zip(skips, outputs(model, image, *(f"b11_{t}" for t in skips)), strict=True):
        expected = [(n + BEFORE[padding]) // STRIDES[skip] for n in (44, 62)]
        assert np.argwhere(cells[0, ..., 0]).tolist() == [expected], skip


@TENSORFLOW
@pytest.mark.parametrize("padding", BEFORE)
@pytest.mark.parametrize("skip", ["fc7", "conv3"])
def test_scores_are_enlarged_to_where_their_cells_are(skip, padding):
    model, image = with_a_dot(tiny(skips=(skip,), normalize=False, padding=padding))
    cells, logits = outputs(model, image, f"b11_{skip}", model.layers[-1].name)
    stride, before = STRIDES[skip], BEFORE[padding]
    rows, columns = (stride * (np.arange(n) + 0.5) - 0.5 - before for n in cells.shape[1:3])
    expected = np.apply_along_axis(lambda x: np.interp(range(85), rows, x), 0, cells[0])
    expected = np.apply_along_axis(lambda x: np.interp(range(97), columns, x), 1, expected)
    assert expected.max() > 1
    assert_close(logits[0], expected, rtol=1e-4, atol=1e-4)


@TENSORFLOW
def test_with_padding_fc6_looks_at_nothing_beyond_it():
    model = tiny(skips=("fc7",), normalize=False, padding=100)
    pool5, found = outputs(model, picture(9, 70), "b8_pool", "fc7_crop")
    b9, b10 = model.get_layer("b9"), model.get_layer("b10")
    assert pool5.shape[1:3] == (7, 9)  # of 207x268 pixels
    fc6 = keras.ops.relu(keras.ops.conv(pool5, b9.kernel, padding="valid") + b9.bias)
    assert_close(found, to_numpy(b10(fc6)), rtol=1e-4, atol=1e-5)


# === As any Keras model ===


@TENSORFLOW
@pytest.mark.parametrize("settings", [{}, {"padding": 100}, {"skips": ["pool6"]}])
def test_any_size(settings):
    model = tiny(**settings)
    assert model.head_names == ("final",)
    for size in [(1, 1), (2, 3), (33, 70)]:
        logits = to_numpy(model(picture(*size)))
        assert logits.shape == (1, *size, 3)
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("input_shape", [(None, None, 3), (None, 30, 3), (17, 30, 3)])
@pytest.mark.parametrize("padding", ["same", 100])
def test_output_has_the_inputs_size_before_it_runs(input_shape, padding):
    settings = {"width": 0.01, "input_shape": input_shape, "padding": padding}
    model = without_values(lambda: FCN(**settings))
    assert model.output.shape == (None, *input_shape[:2], 60)


def test_config_round_trip():
    settings = {"skips": ["fc7", "pool4"], "fc6_kernel": 3, "fc_width": 99, "normalize": False}
    model = without_values(lambda: FCN(5, name="own", width=0.01, **settings))
    config = json.loads(json.dumps(model.get_config()))
    assert set(config) == set(inspect.signature(FCN).parameters)
    again = without_values(lambda: FCN.from_config(config))
    assert json.loads(json.dumps(again.get_config())) == config
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert (again.name, list(again.skips), again.normalize) == ("own", ["fc7", "pool4"], False)


def test_skips_were_called_taps():
    with pytest.warns(DeprecationWarning, match="`taps=` .* Use `skips=` instead"):
        model = without_values(lambda: FCN(3, taps=("fc7", "pool4"), width=0.01))
    with pytest.warns(DeprecationWarning, match="`.taps` .* Use `.skips` instead"):
        assert model.taps == model.skips == ("fc7", "pool4")
    config = model.get_config()
    assert "taps" not in config
    old = {"taps": config.pop("skips"), **config}  # as in a file of 0.1
    again = without_values(lambda: FCN.from_config(old))
    assert again.get_config() == model.get_config()
    assert FCN.updated_config(old, {"skips": ("fc7",)}) == config | {"skips": ("fc7",)}
    with pytest.raises(AttributeError, match="'FCN' object has no attribute 'tap'"):
        _ = model.tap


@TENSORFLOW
def test_save_and_load(tmp_path):
    model, image = tiny(padding=100), picture(9, 13)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is FCN
    assert_close(loaded(image.astype("uint8")), to_numpy(model(image)))


def test_layers_are_in_the_order_that_files_have():
    """Keras numbers each class's layers in a file, by their distance from the output."""
    model = without_values(lambda: FCN(3, width=0.01))
    norms = ("pool6_norm", "conv3_norm", "fc7_norm", "conv5_norm", "conv4_norm")
    classifiers = ("b11_pool6", "b11_conv3", "b11_fc7", "b11_conv5", "b11_conv4")
    names = [layer.name for layer in model.layers if layer.weights]
    assert names[13:] == ["b9", "b10", *norms, *classifiers]


@TENSORFLOW
def test_mixed_precision():
    settings = {"width": 0.05, "fc6_kernel": 3}  # of a few channels, some features are all zero
    wide, image = tiny(**settings), picture(33, 49)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = tiny(**settings)
    model.set_weights(wide.get_weights())
    logits = model(image)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert model.get_layer("conv3_norm").compute_dtype == "bfloat16"
    expected = to_numpy(wide(image))
    assert np.abs(to_numpy(logits) - expected).max() < 0.1 * np.abs(expected).max()


@TENSORFLOW
def test_training_reaches_every_weight():
    check_training_reaches_every_weight(tiny(dropout=0.0, width=0.03, fc6_kernel=1))


@TENSORFLOW
def test_export(tmp_path):
    import tensorflow as tf

    model = tiny(padding=100)
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    for size in [(1, 1), (33, 70)]:
        image = picture(*size, batch=2)
        assert_close(loaded.serve(image), to_numpy(model(image)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"skips": ("fc7", "conv2")},
            "`skips`: expected one or more different names from pool6, fc7, conv5, pool4, conv4, "
            r"pool3, conv3, received \('fc7', 'conv2'\)",
        ),
        ({"skips": ()}, r"`skips`: expected one or more .*, received \(\)"),
        ({"skips": ("fc7", "fc7")}, "`skips`: expected one or more different names .*, received"),
        ({"skips": "fc7"}, "`skips`: expected one or more different names .*, received 'fc7'"),
        ({"padding": "valid"}, "`padding`: expected 'same' or 100, received 'valid'"),
        ({"padding": 100, "fc6_kernel": 3}, "`fc6_kernel`: expected 7 with a padding of 100"),
        ({"num_classes": 0}, "`num_classes`: expected an integer of at least 1, received 0"),
        (
            {"input_shape": (3, 64, 64)},
            r"`input_shape`: expected \(height, width, channels\)",
        ),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        without_values(lambda: FCN(width=0.01, **settings))
