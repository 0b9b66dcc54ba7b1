import inspect
import json

import keras
import numpy as np
import pytest

from keras_dpn import layers
from keras_dpn.models import DeepLab, field_of_view
from keras_dpn.models.deeplab import VARIANTS, Interp
from tests.keras_dpn.support import (
    assert_close,
    check_training_reaches_every_weight,
    outputs,
    picture,
    run_layer_test,
    sizes_to_run,
    to_numpy,
    weight_shapes,
    without_values,
)

BRANCHES = {"image": 1, "b2_pool": 2, "b4_pool": 4, "b6_pool": 8, "b7_pool": 8}
SIZES = [(1, 1), (2, 3), (16, 25)]


def tiny(variant="largefov", *, branches_speak=False, **settings):
    """A network of a few hundred weights; its branches add something only on request."""
    model = DeepLab(variant, **{"num_classes": 3, "width": 0.03, **settings})
    for layer in model.layers:
        if branches_speak and layer.name.endswith("_scores"):
            kernel = np.random.default_rng(0).normal(size=layer.kernel.shape)
            layer.kernel.assign(0.1 * kernel)
    return model


def run_heads(model, image):
    """The logits of every head for an image."""
    heads = [model.head_model(head).output for head in model.head_names]
    return keras.Model(model.input, heads).predict_on_batch(image)


# === The paper's tables ===


@pytest.mark.parametrize(
    ("variant", "parameters", "fc6", "dilation", "view"),
    [
        ("7x7", 134_346_581, (7, 7, 512, 4096), 4, 224),
        ("4x4", 65_140_565, (4, 4, 512, 4096), 4, 128),
        ("4x4-largestride", 65_140_565, (4, 4, 512, 4096), 8, 224),
        ("largefov", 20_505_429, (3, 3, 512, 1024), 12, 224),
    ],
)
def test_variants_are_table_2(variant, parameters, fc6, dilation, view):
    model = without_values(lambda: DeepLab(variant))
    assert model.count_params() == parameters  # 134.3 M, 65.1 M, 65.1 M, 20.5 M
    b9 = model.get_layer("b9")
    assert (b9.kernel.shape, b9.dilation_rate) == (fc6, (dilation, dilation))
    assert field_of_view(b9.kernel_size[0], b9.dilation_rate[0]) == view


def test_global_context_adds_a_thousandth():
    """Late fusion: two scales and L weights a feature."""
    model = without_values(lambda: DeepLab(global_context=True))
    assert model.count_params() == 20_505_429 + 1024 * (2 + 21) == 20_528_981


def test_field_of_view_refuses_what_is_no_kernel():
    with pytest.raises(ValueError, match="`fc6_kernel`: expected an integer of at least 1"):
        field_of_view(0, 4)
    with pytest.raises(ValueError, match="`fc6_dilation`: expected an integer of at least 1"):
        field_of_view(3, 1.5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_pools_are_the_authors(variant):
    model = without_values(lambda: DeepLab(variant, width=0.02))
    found = [
        (layer.name, layer.pool_size[0], layer.strides[0])
        for layer in model.layers
        if hasattr(layer, "pool_size")
    ]
    expected = [("b2_pool", 3, 2), ("b4_pool", 3, 2), ("b6_pool", 3, 2)]
    expected += [("b7_pool", 3, 1), ("b8_pool", 3, 1)]
    assert found == expected + [("b8_average", 3, 1)] * (variant == "largefov")
    assert {model.get_layer(f"b8_conv{i}").dilation_rate for i in (1, 2, 3)} == {(2, 2)}


# === Where things are ===


@pytest.mark.parametrize(
    ("variant", "sizes"),
    [("largefov", SIZES)]
    + [
        pytest.param(variant, SIZES[:1], marks=pytest.mark.tensorflow_only)
        for variant in ("7x7", "4x4", "4x4-largestride")
    ],
)
def test_any_size(variant, sizes):
    model = tiny(variant, multiscale=variant == "largefov", branches_speak=True)
    names = ["b11", "b11_interp"] + ["msc_sum"] * (variant == "largefov")
    for size in sizes_to_run(*sizes):
        coarse, *heads = outputs(model, picture(*size), *names)
        for logits in heads:
            assert logits.shape == (1, *size, 3)
            assert np.isfinite(logits).all()
        sampled = heads[0][:, ::8, ::8]  # at every 8th pixel the unary is the coarse map itself
        assert_close(sampled, coarse[:, : sampled.shape[1], : sampled.shape[2]])
        assert all(8 * (c - 1) >= n - 1 for c, n in zip(coarse.shape[1:3], size, strict=True))


@pytest.mark.parametrize("input_shape", [(None, None, 3), (None, 30, 3), (17, 30, 3)])
def test_output_has_the_inputs_size_before_it_runs(input_shape):
    model = without_values(lambda: DeepLab(width=0.02, input_shape=input_shape, multiscale=True))
    assert model.output.shape == (None, *input_shape[:2], 21)
    assert model.input.shape == (None, *input_shape)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("size", [(89, 97), (90, 96), (95, 100)])
@pytest.mark.parametrize("variant", ["7x7", "largefov"])
def test_a_dot_stays_where_it_is(variant, size):
    """With convolutions that pass their input on, a dot on a cell's pixel becomes a hill on it."""
    model = tiny(variant, width=0.001, num_classes=2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.zeros(layer.kernel.shape)
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, 0] = 1
            layer.kernel.assign(kernel)
    image = np.zeros((1, *size, 3), "float32")
    image[0, 40, 48] = 255
    hill = model.predict_on_batch(image)[0, ..., 0]
    assert hill.max() > 0 and hill[0, 0] == 0
    for line, centre in ((hill[:, 48], 40), (hill[40], 48)):
        around = line[centre - 40 : centre + 41]
        assert_close(around, around[::-1])
        assert np.argmax(line) <= centre and line[centre] == line.max()
    rows, columns = (np.flatnonzero(hill.any(axis=axis)) for axis in (1, 0))
    assert (rows.mean(), columns.mean()) == (40, 48)


@pytest.mark.tensorflow_only
def test_what_moves_by_a_cell_moves_the_logits_by_a_cell():
    model = tiny(multiscale=True, branches_speak=True, width=0.02)
    b9 = model.get_layer("b9")
    centre = np.zeros(b9.kernel.shape)
    centre[1, 1] = to_numpy(b9.kernel)[1, 1]
    b9.kernel.assign(centre)  # its wide window would see the border from everywhere
    large = picture(296, 297)
    both = np.concatenate([large[:, :-8, :-8], large[:, 8:, 8:]])
    first, second = model.predict_on_batch(both)
    inner, there = slice(132, 152), slice(140, 160)  # far from the borders
    assert_close(second[inner, inner], first[there, there], rtol=1e-4, atol=1e-5)
    assert np.ptp(first[inner, inner], axis=(0, 1)).min() > 1e-3


@pytest.mark.parametrize(
    ("variant", "rows"),
    [
        ("7x7", [-12, -8, -4, 0, 4, 8, 12]),
        ("4x4", [-6, -2, 2, 6]),
        ("4x4-largestride", [-12, -4, 4, 12]),
        ("largefov", [-12, 0, 12]),
    ],
)
def test_fc6_is_centred(variant, rows):
    model = tiny(variant, width=0.001)
    b9 = model.get_layer("b9")
    b9.kernel.assign(np.ones(b9.kernel.shape))
    dot = np.zeros((1, 31, 31, b9.kernel.shape[2]), "float32")
    dot[0, 15, 15] = 1
    seen = to_numpy(b9(dot))[0, ..., 0]
    assert [list(np.flatnonzero(seen.any(axis=axis)) - 15) for axis in (1, 0)] == [rows, rows]


def test_interp_layer():
    run_layer_test(
        Interp,
        {"stride": 4},
        input_shape=((2, 3, 2, 5), (2, 7, 5, 3)),
        expected_output_shape=(2, 7, 5, 5),
        expected_output_dtype="float32",
    )


def test_interp_has_aligned_corners():
    column = np.array([0.0, 4.0, 2.0]).reshape(1, 3, 1, 1)
    found = Interp(2)((column, np.zeros((1, 4, 1, 3))))
    assert_close(to_numpy(found).ravel(), [0, 2, 4, 3])


# === Branches, CRF ===


def test_branches_start_at_zero():
    unary, multiscale, final = run_heads(tiny(multiscale=True), picture(13, 9))
    assert_close(multiscale, unary, rtol=0, atol=0)
    unary, multiscale, final = run_heads(tiny(multiscale=True, branches_speak=True), picture(13, 9))
    assert not np.allclose(multiscale, unary, atol=1e-3)
    assert_close(final, multiscale, rtol=0, atol=0)


def test_branches_have_the_papers_sizes():
    shapes = weight_shapes(lambda: DeepLab(multiscale=True))
    plain = weight_shapes(DeepLab)
    added = {path: shape for path, shape in shapes.items() if path not in plain}
    channels = {"image": 3, "b2_pool": 64, "b4_pool": 128, "b6_pool": 256, "b7_pool": 512}
    expected = {}
    for name, depth in channels.items():
        expected[f"msc_{name}_conv/kernel"] = (3, 3, depth, 128)
        expected[f"msc_{name}_fc/kernel"] = (1, 1, 128, 128)
        expected[f"msc_{name}_scores/kernel"] = (1, 1, 128, 21)
    assert {path: shape for path, shape in added.items() if "kernel" in path} == expected


@pytest.mark.parametrize(("name", "stride"), BRANCHES.items())
def test_branches_at_every_8th_pixel_are_the_ones_with_strides(name, stride):
    """The author's network for training is the one for testing, sampled."""
    model = tiny(multiscale=True, branches_speak=True)
    source = "preprocess" if name == "image" else name
    enlarged = "msc_image_scores" if name == "image" else f"msc_{name}_interp"
    x, found = outputs(model, picture(33, 49), source, enlarged)
    conv, fc, scores = (model.get_layer(f"msc_{name}_{part}") for part in ("conv", "fc", "scores"))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    hidden = keras.ops.conv(padded, conv.kernel, strides=8 // stride, padding="valid")
    expected = scores(fc(keras.ops.relu(hidden + conv.bias)))
    assert_close(found[:, ::8, ::8], to_numpy(expected), rtol=1e-4, atol=1e-5)


def test_crf_refines_the_sum():
    settings = {"num_iterations": 2, "bilateral": (3.0, 8.0, 20.0), "filter": "exact"}
    model, image = tiny(multiscale=True, crf=settings), picture(9, 13)
    assert model.head_names == ("unary", "multiscale", "final")
    _, logits, final = run_heads(model, image)
    pair = [keras.Input((9, 13, 3)), keras.Input((9, 13, 3))]
    crf = keras.Model(pair, layers.MeanFieldCRF(**settings)(pair))
    assert_close(final, crf.predict_on_batch([logits, image]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(final, logits, atol=1e-2)
    assert (model.crf["num_iterations"], model.get_layer("crf").num_iterations) == (2, 2)


# === As any Keras model ===


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ("unary", "final")),
        ({"multiscale": True}, ("unary", "multiscale", "final")),
        ({"crf": {}}, ("unary", "final")),
    ],
)
def test_heads(settings, names):
    model = without_values(lambda: DeepLab(width=0.02, **settings))
    assert model.head_names == names
    for name in names:
        assert model.head_model(name).output.shape == (None, None, None, 21)
    with pytest.raises(ValueError, match="`head`: expected one of .*'final'.* received 'triple'"):
        model.head_model("triple")


@pytest.mark.tensorflow_only
def test_takes_uint8():
    model, image = tiny(), picture(9, 13)
    assert_close(model(image.astype("uint8")), to_numpy(model(image)))


def test_config_round_trip():
    settings = {"multiscale": True, "crf": {"num_iterations": 3, "spatial": None}, "width": 0.02}
    model = without_values(lambda: DeepLab("4x4", 5, name="own", **settings))
    config = json.loads(json.dumps(model.get_config()))
    assert set(config) == set(inspect.signature(DeepLab).parameters)
    again = without_values(lambda: DeepLab.from_config(config))
    assert json.loads(json.dumps(again.get_config())) == config
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert (again.name, again.variant, again.num_classes) == ("own", "4x4", 5)


@pytest.mark.tensorflow_only
def test_save_and_load(tmp_path):
    crf = {"num_iterations": 1, "filter": "exact"}
    model, image = tiny(multiscale=True, branches_speak=True, crf=crf), picture(9, 13)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is DeepLab and loaded.head_names == model.head_names
    for found, expected in zip(run_heads(loaded, image), run_heads(model, image), strict=True):
        assert_close(found, expected)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    wide, image = tiny(multiscale=True, branches_speak=True), picture(9, 13)
    keras.config.set_dtype_policy(policy)
    model = tiny(multiscale=True)
    model.set_weights(wide.get_weights())
    logits = model(image)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert model.get_layer("msc_image_conv").compute_dtype == policy[6:]
    expected = to_numpy(wide(image))
    assert np.abs(to_numpy(logits) - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.tensorflow_only
def test_global_context_is_in_the_unary():
    model = tiny(global_context=True, multiscale=True)
    b11, context, scores, enlarged = outputs(
        model, picture(33, 49, batch=2), "b11", "b11_context", "b11_sum", "b11_interp"
    )
    assert context.shape == (2, 1, 1, 3)
    assert_close(scores, b11 + context)
    assert_close(enlarged[:, ::8, ::8], scores[:, :5, :7])
    assert np.abs(context).max() > 0.1


@pytest.mark.tensorflow_only
def test_training_reaches_every_weight():
    learnt = {"compatibility": "matrix", "trainable_weights_of": ("weights", "compatibility")}
    crf = {"num_iterations": 2, "filter": "exact", **learnt}
    settings = {"dropout": 0.0, "width": 0.05, "global_context": True}
    model = tiny(multiscale=True, branches_speak=True, crf=crf, **settings)
    check_training_reaches_every_weight(model)


@pytest.mark.tensorflow_only
def test_export(tmp_path):
    import tensorflow as tf

    model = tiny(multiscale=True, branches_speak=True)
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    for size in [(1, 1), (16, 17)]:
        image = picture(*size, batch=2)
        assert_close(loaded.serve(image), to_numpy(model(image)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "5x5"}, r"`variant`: expected one of .*'7x7'.* received '5x5'"),
        ({"num_classes": 0}, "`num_classes`: expected an integer of at least 1, received 0"),
        (
            {"input_shape": (3, 64, 64)},
            r"`input_shape`: expected \(height, width, channels\)",
        ),
        ({"crf": True}, "`crf`: expected None or a dictionary of arguments .* received True"),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        without_values(lambda: DeepLab(**settings))
