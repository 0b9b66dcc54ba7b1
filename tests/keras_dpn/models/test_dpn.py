import inspect
import json
import re

import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.layers.deep_parsing_field import IdentityContexts
from keras_dpn.models import DPN
from keras_dpn.models.dpn_arguments import DEFAULTS, FLAT_NAMES, merge_groups
from keras_dpn.models.guide import Guide
from tests.keras_dpn.support import (
    assert_close,
    check_training_reaches_every_weight,
    direct_local_conv,
    outputs,
    picture,
    run,
    run_layer_test,
    sizes_to_run,
    to_numpy,
    weight_shapes,
    without_values,
)

# JAX compiles each of these networks for seconds: there, a few of them must do.
TENSORFLOW = pytest.mark.tensorflow_only


TINY = {
    "num_classes": 3,
    "width": 0.05,
    "backbone": {"fc6_kernel": 1, "fc_width": 100},
    "local_conv": {"window": 4},
    "contexts": {"window": 3, "mixtures": 2, "noise": 0.3},
}


def tiny(**settings):
    """A network of a few hundred weights, whose b11 tells the labels apart."""
    model = DPN(**merge_groups(TINY, settings))
    b11 = model.get_layer("b11")
    b11.kernel.assign(b11.kernel * 0.05)
    b11.bias.assign([0.3, -0.2, 0.1])
    return model


def run_heads(model, image):
    """The logits of every head for an image."""
    return run(heads_model(model), image)


def heads_model(model):
    return keras.Model(model.input, [model.head_model(s).output for s in model.head_names])


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def softmax(x):
    return np.exp(log_softmax(x))


def penalty_by_hand(model, probabilities, guide):
    """o14 of eq. (9): the smallest of the K convolutions of the triple penalty of a label."""
    b12, b13 = model.get_layer("b12"), model.get_layer("b13")
    a, b, color_weight, position_weight = (float(to_numpy(w)) for w in b12.weights)
    weights = {"color_weight": color_weight, "position_weight": position_weight}
    o12 = direct_local_conv(probabilities, guide, b12.window, **weights) / np.prod(b12.window)
    o12 = a * o12 * (probabilities if b12.gate else 1) + b
    kernel, bias = (to_numpy(w) for w in b13.weights)
    height, width, n = *o12.shape[1:3], len(kernel)
    padded = np.pad(o12, ((0, 0), *[((n - 1) // 2, n // 2)] * 2, (0, 0)))
    o13 = bias + sum(
        padded[:, y : y + height, x : x + width] @ kernel[y, x] for y, x in np.ndindex(n, n)
    )
    return o13.reshape(*o13.shape[:-1], model.num_classes, model.contexts["mixtures"]).min(-1)


@pytest.mark.parametrize(
    "pairwise_stride",
    [pytest.param(1, marks=TENSORFLOW), pytest.param(2, marks=TENSORFLOW), 4]
    + [pytest.param(8, marks=TENSORFLOW)],
)
def test_any_size(pairwise_stride):
    model = tiny(pairwise_stride=pairwise_stride, num_iterations=2)
    heads = heads_model(model)
    for size in sizes_to_run((2, 3), (17, 30), (1, 1)):
        for logits in run(heads, picture(*size)):
            assert logits.shape == (1, *size, 3)
            assert np.isfinite(logits).all()


@pytest.mark.parametrize("input_shape", [(None, None, 3), (None, 30, 3), (17, 30, 3)])
@pytest.mark.parametrize("pairwise_stride", [1, 8])
def test_output_has_the_inputs_size_before_it_runs(input_shape, pairwise_stride):
    settings = {"input_shape": input_shape, "pairwise_stride": pairwise_stride}
    model = without_values(lambda: DPN(width=0.02, **settings))
    assert model.output.shape == (None, *input_shape[:2], 21)
    assert model.input.shape == (None, *input_shape)


@pytest.mark.parametrize(
    ("pairwise", "names"),
    [
        pytest.param(None, ("unary", "final"), marks=TENSORFLOW),
        pytest.param("triple", ("unary", "triple", "final"), marks=TENSORFLOW),
        ("contexts", ("unary", "triple", "contexts", "final")),
    ],
)
def test_heads(pairwise, names):
    model, image = tiny(pairwise=pairwise, pairwise_stride=4), picture(9, 13)
    assert model.head_names == names
    assert model.get_layer("b15")
    heads = run_heads(model, image)
    assert_close(heads[-1], run(model, image))
    assert_close(heads[-1], heads[-2])  # one mean-field update
    different = [not np.allclose(a, b, atol=1e-3) for a, b in zip(heads, heads[1:], strict=False)]
    assert different == [True] * (len(names) - 2) + [False]


@TENSORFLOW
@pytest.mark.parametrize("pairwise", ["triple", "contexts"])
def test_further_updates_follow_the_first(pairwise):
    model = tiny(pairwise=pairwise, num_iterations=2)
    *_, first, final = run_heads(model, picture(9, 13))
    assert not np.allclose(first, final, atol=1e-3)
    assert weight_shapes(lambda: model) == weight_shapes(lambda: tiny(pairwise=pairwise))


@pytest.mark.parametrize(
    ("pairwise_stride", "context_window"), [pytest.param(1, 3, marks=TENSORFLOW), (4, 2)]
)
def test_logits_are_eq_9(pairwise_stride, context_window):
    model = tiny(
        pairwise_stride=pairwise_stride,
        contexts={"window": context_window},
        num_iterations=2,
        local_conv={"position_weight": 0.1},
    )
    b11, guide, b15 = outputs(model, image := picture(9, 13), "b11", "guide", "b15")
    grid = guide.shape[1:3]
    enlarged = [n * 8 // pairwise_stride for n in b11.shape[1:3]]
    o11 = log_softmax(to_numpy(ops.resize(b11, enlarged))[:, : grid[0], : grid[1]])
    logits = o11
    for _ in range(2):
        logits = o11 - penalty_by_hand(model, softmax(logits), guide)
    assert_close(b15, logits, rtol=1e-4, atol=1e-5)
    logits = np.asarray(logits, "float32")
    at_image = to_numpy(ops.resize(logits, [n * pairwise_stride for n in grid]))[:, :9, :13]
    assert_close(run(model, image), at_image, rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_triple_head_subtracts_the_triple_penalty():
    model = tiny(pairwise="triple")
    o11, o12, final = outputs(model, picture(9, 13), "b11_log", "b12", "b15")
    assert_close(final, o11 - o12)
    assert np.ptp(o12) > 0.01


@TENSORFLOW
def test_plain_pairwise_term_is_a_configuration():
    """Eq. (3): mu(u, v) d(i, j), one mean-field update of a dense CRF cut off at the window."""
    model = tiny(local_conv={"gate": False}, contexts={"window": 1, "mixtures": 1})
    o11, guide, logits = outputs(model, picture(6, 5), "b11_log", "guide", "b15")
    mu = to_numpy(model.get_layer("b13").kernel)[0, 0]  # (v, u)
    messages = direct_local_conv(softmax(o11), guide, (4, 4)) / 16
    assert_close(logits, o11 - messages @ mu, rtol=1e-4, atol=1e-5)


@TENSORFLOW
@pytest.mark.parametrize("context_window", [1, 2, 4, 9, (3, 4)])
def test_contexts_start_where_the_triple_head_is(context_window):
    model = tiny(contexts={"window": context_window, "noise": 0.0})
    _, triple, contexts, _ = run_heads(model, picture(9, 13))
    assert_close(contexts, triple)


def test_mixtures_start_different_around_the_identity():
    kernel = to_numpy(IdentityContexts(2, noise=0.01)((3, 3, 4, 8), "float32"))
    identity = np.zeros((3, 3, 4, 4, 2))
    identity[1, 1] = np.eye(4)[:, :, None]  # channel u * K + k
    difference = kernel.reshape(3, 3, 4, 4, 2) - identity
    assert 0.005 < difference.std() < 0.015
    assert np.abs(difference[..., 0] - difference[..., 1]).min() > 0
    config = IdentityContexts(2, noise=0.01).get_config()
    assert IdentityContexts(**config).get_config() == config


def test_sigmoid_unary():
    model = tiny(pairwise=None, unary_activation="sigmoid")
    b11, unary = outputs(model, picture(8, 8), "b11", "b11_log")
    assert_close(unary, np.broadcast_to(-np.log1p(np.exp(-b11)), unary.shape), rtol=1e-4)


def test_b12_takes_the_marginals_of_sigmoids():
    model = tiny(pairwise="triple", unary_activation="sigmoid")
    unary, guide, triple = outputs(model, picture(8, 8), "b11_log", "guide", "b15")
    sigmoids = np.exp(unary)
    marginals = sigmoids / sigmoids.sum(axis=-1, keepdims=True)
    assert np.abs(marginals - sigmoids).max() > 0.05
    penalty = to_numpy(model.get_layer("b12")((marginals, guide)))
    assert_close(triple, unary - penalty, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keep_pools", [False, True])
def test_pools(keep_pools):
    backbone = {"keep_pools": keep_pools, "pool_size": 3}
    model = without_values(lambda: DPN(width=0.02, backbone=backbone))
    pools = {
        layer.name: (layer.pool_size[0], layer.strides[0])
        for layer in model.layers
        if layer.name.endswith("pool")
    }
    kept = {"b7_pool": (3, 1), "b8_pool": (3, 1)} if keep_pools else {}
    assert pools == {"b2_pool": (3, 2), "b4_pool": (3, 2), "b6_pool": (3, 2), **kept}


@pytest.mark.parametrize(
    ("backbone", "fc6", "dilation", "parameters"),
    [
        ("vgg16", (7, 7, 512, 4096), 4, 134_346_581),
        ("large_fov", (3, 3, 512, 1024), 12, 20_505_429),
    ],
)
def test_backbones_have_the_published_sizes(backbone, fc6, dilation, parameters):
    shapes = weight_shapes(lambda: DPN(num_classes=21, backbone=backbone, pairwise=None))
    assert sum(np.prod(shape) for shape in shapes.values()) == parameters  # 134.3 M, 20.5 M
    assert shapes["b9/kernel"] == fc6
    model = without_values(lambda: DPN(backbone=backbone))
    assert model.get_layer("b9").dilation_rate == (dilation, dilation)


def test_default_is_table_1b():
    shapes = weight_shapes(DPN)
    assert shapes["b13/kernel"] == (9, 9, 21, 105)
    assert {path: shape for path, shape in shapes.items() if path.startswith("b12")} == {
        f"b12/{name}": () for name in ("a", "b", "color_weight", "position_weight")
    }


@pytest.mark.parametrize(
    ("backbone", "parameters"), [("vgg16", 134_619_503), ("large_fov", 20_707_695)]
)
def test_global_context_under_the_pairwise_part(backbone, parameters):
    """A composition: 2 L C and C L weights more than without, for C features and L labels."""
    plain, full = (
        weight_shapes(lambda g=g: DPN(backbone=backbone, global_context=g)) for g in (0, 1)
    )
    assert sum(np.prod(shape) for shape in full.values()) == parameters
    assert full.keys() - plain.keys() == {
        "b10_norm/scale",
        "pool6_norm/scale",
        "b11_context/kernel",
    }
    assert {path: full[path] for path in plain} == plain  # b12, b13 among them


@TENSORFLOW
def test_global_context_adds_to_the_unary_term():
    model = tiny(global_context=True, pairwise_stride=8)
    names = ("b11", "b11_context", "b11_sum", "b11_log")
    b11, context, scores, o11 = outputs(model, image := picture(17, 30, batch=2), *names)
    assert context.shape == (2, 1, 1, 3) and np.ptp(context) > 0.01
    assert_close(scores, b11 + context)
    assert_close(o11, log_softmax(scores), rtol=1e-4, atol=1e-5)
    unary, triple, contexts, _ = run_heads(model, image)
    assert not np.allclose(unary, triple, atol=1e-3)
    assert not np.allclose(triple, contexts, atol=1e-3)


# === Output stride and skips ===

SKIPS = ("conv4", "conv3", "conv2")


def test_an_output_stride_of_16_keeps_a_pool_and_halves_dilations():
    fine, coarse = (
        without_values(
            lambda s=s: DPN(3, width=0.02, backbone={"name": "large_fov", "output_stride": s})
        )
        for s in (8, 16)
    )
    pools = [layer.name for layer in coarse.layers if layer.name.endswith("pool")]
    assert pools == ["b2_pool", "b4_pool", "b6_pool", "b7_pool"]
    assert {coarse.get_layer(pool).strides for pool in pools} == {(2, 2)}
    for name, dilation in [("b7_conv3", 1), ("b8_conv1", 2), ("b8_conv3", 2), ("b9", 12)]:
        assert fine.get_layer(name).dilation_rate == (dilation,) * 2
        assert coarse.get_layer(name).dilation_rate == (max(1, dilation // 2),) * 2
    shapes = [[(w.path, w.shape) for w in model.weights] for model in (fine, coarse)]
    assert shapes[0] == shapes[1]


def test_fc6s_own_dilation_stays_at_an_output_stride_of_16():
    own = {"fc6_dilation": 5, "output_stride": 16}
    assert without_values(lambda: DPN(width=0.02, backbone=own)).get_layer("b9").dilation_rate == (
        5,
        5,
    )


@pytest.mark.parametrize(
    ("settings", "stride"),
    [
        ({}, 8),
        ({"backbone": {"output_stride": 16}}, 16),
        ({"backbone": {"output_stride": 16, "skips": ("conv4",)}}, 8),
        ({"backbone": {"skips": ("conv3",)}}, 4),
        ({"backbone": {"output_stride": 16, "skips": SKIPS}}, 2),
        ({"backbone": {"output_stride": 8, "skips": SKIPS}}, 2),
        ({"backbone": {"output_stride": 16, "skips": ["conv3"]}, "global_context": True}, 4),
    ],
)
@pytest.mark.parametrize("size", [(None, None), (37, 50)])
def test_grid_of_the_unary_term(settings, stride, size):
    model = without_values(lambda: DPN(3, (*size, 3), width=0.02, pairwise_stride=2, **settings))
    unary = keras.Model(model.input, [model.get_layer(n).output for n in ("b11", "b11_resize")])
    shapes = unary.compute_output_shape((1, 37, 50, 3))
    assert shapes[0] == (1, -(-37 // stride), -(-50 // stride), 3)
    assert shapes[1] == (1, 19, 25, 3)
    assert model.output.shape == (None, *size, 3)


def test_weights_of_skips():
    plain, full = (
        weight_shapes(lambda s=s: DPN(21, backbone={"skips": s})) for s in ((), ("conv3", "conv2"))
    )
    assert {path: shape for path, shape in full.items() if plain.get(path) != shape} == {
        "b10_fc7_norm/scale": (4096,),
        "b10_fc7_project/kernel": (1, 1, 4096, 96),
        "b10_fc7_project/bias": (96,),
        "b10_conv3_norm/scale": (256,),
        "b10_conv3_project/kernel": (1, 1, 256, 96),
        "b10_conv3_project/bias": (96,),
        "b10_conv3/kernel": (3, 3, 96, 96),
        "b10_conv3/bias": (96,),
        "b10_conv2_norm/scale": (128,),
        "b10_conv2_project/kernel": (1, 1, 128, 96),
        "b10_conv2_project/bias": (96,),
        "b10_conv2/kernel": (3, 3, 96, 96),
        "b10_conv2/bias": (96,),
        "b11/kernel": (1, 1, 96, 21),
    }
    assert plain.keys() <= full.keys()
    backbone = {"skips": ("conv3",), "skip_width": 65}
    half = weight_shapes(lambda: DPN(21, width=0.5, backbone=backbone))
    assert half["b10_conv3/kernel"] == (3, 3, 32, 32)


def skipping(skips=SKIPS, **settings):
    """A network of which all skips reach the output at any size."""
    backbone = {"output_stride": 16, "skip_width": 160, "skips": skips}
    return tiny(width=0.1, backbone=backbone, **{"pairwise_stride": 2, **settings})


@TENSORFLOW
@pytest.mark.parametrize("skips", [("conv4",), ("conv3", "conv2"), SKIPS])
def test_skips_at_any_size(skips):
    model = skipping(skips)
    heads = heads_model(model)
    for size in [(1, 1), (1, 17), (2, 3), (17, 30)]:
        for logits in run(heads, picture(*size)):
            assert logits.shape == (1, *size, 3)
            assert np.isfinite(logits).all()


TAPS = {"conv4": "b7_conv3", "conv3": "b5_conv3", "conv2": "b3_conv2"}


@TENSORFLOW
def test_each_skip_reaches_the_output():
    model, image = skipping(), picture(33, 50)
    names = ("b10", *TAPS.values())
    maps = outputs(model, image, *names)
    above = keras.Model([model.input, *(model.get_layer(n).output for n in names)], model.output)
    expected = run(above, [image, *maps])
    assert_close(expected, run(model, image), rtol=1e-4, atol=1e-5)
    for i in range(len(names)):
        changed = [x[:, ::-1] if j == i else x for j, x in enumerate(maps)]
        assert np.abs(run(above, [image, *changed]) - expected).max() > 1e-3, names[i]


@TENSORFLOW
def test_skips_of_known_and_unknown_sizes_agree():
    known, unknown = (skipping(input_shape=(*size, 3)) for size in ((17, 30), (None, None)))
    unknown.set_weights(known.get_weights())
    image = picture(17, 30)
    assert_close(run(unknown, image), run(known, image))


def test_training_reaches_every_weight_of_skips():
    check_training_reaches_every_weight(skipping(dropout=0.0, global_context=True))


@TENSORFLOW
def test_skips_save_and_load(tmp_path):
    model, image = skipping(), picture(9, 13)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    backbone = loaded.backbone
    assert type(loaded) is DPN and tuple(backbone["skips"]) == SKIPS
    assert (backbone["output_stride"], backbone["skip_width"]) == (16, 160)
    assert_close(run(loaded, image), run(model, image))


@TENSORFLOW
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_skips_in_mixed_precision(policy):
    image, wide = picture(33, 50), skipping()
    keras.config.set_dtype_policy(policy)
    model = skipping()
    model.set_weights(wide.get_weights())
    for name in ("b10_conv3_norm", "b10_conv3_project", "b10_conv3_add", "b10_conv3"):
        assert model.get_layer(name).compute_dtype == policy[6:]
    logits = run(model, image)
    assert logits.dtype == np.float32
    assert_close(logits, run(wide, image), rtol=0, atol=0.1)


@pytest.mark.parametrize(("window", "n", "mixtures"), [(10, 1, 1), (100, 5, 1), (50, 9, 5)])
def test_table_2_is_a_matter_of_arguments(window, n, mixtures):
    contexts = {"window": n, "mixtures": mixtures}
    model = without_values(lambda: DPN(local_conv={"window": window}, contexts=contexts))
    assert model.get_layer("b12").window == (window, window)
    assert model.get_layer("b13").kernel.shape == (n, n, 21, 21 * mixtures)
    assert model.get_layer("b14").block_size == mixtures


@pytest.mark.parametrize(
    "policy", [pytest.param("mixed_float16", marks=TENSORFLOW), "mixed_bfloat16"]
)
def test_mixed_precision(policy):
    image, wide = picture(9, 13) + 0.3, tiny(pairwise_stride=4)
    keras.config.set_dtype_policy(policy)
    model = tiny(pairwise_stride=4)
    model.set_weights(wide.get_weights())
    assert model.get_layer("b9").compute_dtype == policy[6:]
    names = "guide", "b15", model.layers[-1].name
    guide, b15, logits = outputs(model, image, *names)
    expected_guide, expected, _ = outputs(wide, image, *names)
    assert_close(guide, expected_guide)  # colours keep their digits
    assert_close(b15, expected, rtol=0, atol=0.1)
    assert logits.dtype == np.float32 and np.isfinite(logits).all()


@TENSORFLOW
def test_takes_uint8():
    model, image = tiny(), picture(9, 13)
    expected = run(model, image)
    assert_close(model.predict_on_batch(image.astype("uint8")), expected)
    assert_close(model(image.astype("uint8")), expected)


def test_config_round_trip():
    settings = {"local_conv": {"window": (3, 5), "kernel": "gaussian"}, "width": 0.02}
    settings |= {"contexts": {"mixtures": 2}, "backbone": "large_fov"}
    model = without_values(lambda: DPN(input_shape=(None, 16, 3), name="own", **settings))
    config = json.loads(json.dumps(model.get_config()))
    assert set(config) == set(inspect.signature(DPN).parameters)
    again = without_values(lambda: DPN.from_config(config))
    assert json.loads(json.dumps(again.get_config())) == config
    assert again.name == "own"
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert (model.pairwise, model.contexts["mixtures"]) == ("contexts", 2)
    assert model.local_conv == {**DEFAULTS["local_conv"], "window": (3, 5), "kernel": "gaussian"}
    assert model.backbone == {**DEFAULTS["backbone"], "name": "large_fov"}


def test_save_and_load(tmp_path):
    model, image = tiny(pairwise_stride=4, num_iterations=2), picture(9, 13)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is DPN
    assert_close(run(loaded, image), run(model, image))
    assert loaded.head_names == model.head_names


@TENSORFLOW  # on JAX the network with skips, which has all that this one has
def test_training_reaches_every_weight():
    model = tiny(pairwise_stride=4, dropout=0.0)
    check_training_reaches_every_weight(model)


@TENSORFLOW
def test_trains_the_same_with_xla():
    data = picture(13, 9), np.zeros((1, 13, 9), int)
    model, losses = tiny(pairwise_stride=4, dropout=0.0, backbone={"skips": ("conv3",)}), []
    start = model.get_weights()
    for jit_compile in (False, True):
        model.set_weights(start)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, jit_compile=jit_compile)
        losses.append(model.fit(*data, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)


@TENSORFLOW
def test_export(tmp_path):
    import tensorflow as tf

    model = skipping(("conv3",))
    model.export(tmp_path / "saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    for size in [(1, 1), (13, 9), (17, 30)]:
        image = picture(*size, batch=2)
        assert_close(loaded.serve(image), run(model, image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 4])
def test_guide_layer(stride):
    run_layer_test(
        Guide,
        {"stride": stride, "color_unit": 2.0},
        input_shape=(2, 9, 8, 3),
        expected_output_shape=(2, -(-9 // stride), 8 // stride, 3),
        expected_output_dtype="float32",
    )


def test_guide_averages_cells_that_start_at_the_corner():
    image = picture(6, 9)
    guide = to_numpy(Guide(4, 10.0)(image))
    for y, x in np.ndindex(2, 3):
        cell = image[0, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
        assert_close(guide[0, y, x], cell.mean((0, 1)) / 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, "`num_classes`: expected an integer of at least 1, received 0"),
        ({"num_iterations": 0}, "`num_iterations`: expected an integer of at least 1"),
        (
            {"contexts": {"mixtures": 0}},
            "`contexts.mixtures`: expected an integer of at least 1, received 0",
        ),
        ({"contexts": {"window": 0}}, "`contexts.window`: expected an integer of at least 1, rec"),
        ({"local_conv": {"window": 0}}, "`local_conv.window`: expected an integer of at least 1"),
        ({"backbone": "resnet"}, r"`backbone.name`: expected one of \['large_fov', 'vgg16'\]"),
        ({"contexts": 3}, "`contexts`: expected a dictionary with .* window, mixtures, noise, rec"),
        ({"unary_activation": "relu"}, "`unary_activation`: expected one of"),
        ({"pairwise": "b12"}, r"`pairwise`: expected one of .*received 'b12'"),
        ({"pairwise_stride": 3}, "`pairwise_stride`: expected 1, 2, 4 or 8, received 3"),
        ({"local_conv": {"kernel": "box"}}, "`kernel`: expected one of"),
        ({"local_conv": {"kernel": "learned"}}, "expects known spatial sizes"),
        ({"color_unit": 0}, "`color_unit`: expected a positive number, received 0"),
        (
            {"backbone": {"output_stride": 32}},
            r"`backbone.output_stride`: expected one of \[8, 16\], received 32",
        ),
        (
            {"backbone": {"output_stride": 16, "keep_pools": True}},
            "`backbone.keep_pools`: expected False with an .* 16",
        ),
        (
            {"backbone": {"skips": ("conv3", "conv4")}},
            "`skips`: expected any of conv4, conv3, conv2 in this order .*stride 8",
        ),
        (
            {"backbone": {"skips": "conv3"}},
            "`skips`: expected any of conv4, conv3, conv2 .*'conv3'",
        ),
        ({"backbone": {"skip_width": 0}}, "`backbone.skip_width`: expected .* at least 1, rec"),
        (
            {"backbone": {"skips": ("conv3",)}, "pairwise_stride": 8},
            r"`pairwise_stride`: .* 4 with `backbone.skips` \('conv3',\), received 8",
        ),
        (
            {"input_shape": (3, 64, 64)},
            r"`input_shape`: expected \(height, width, channels\)",
        ),
        (
            {"input_shape": (64, 64)},
            r"`input_shape`: expected \(height, width, channels\)",
        ),
        (
            {"input_shape": (0, 64, 3)},
            r"`input_shape`: expected \(height, width, channels\)",
        ),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        without_values(lambda: DPN(**settings))


def test_refuses_unknown_heads():
    with pytest.raises(ValueError, match=r"`head`: expected one of \['final', 'unary'\], received"):
        tiny(pairwise=None).head_model("triple")


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_refuses_an_image_without_pixels(size):
    with pytest.raises(ValueError, match=r"at least one pixel, received shape \(1, \d, \d, 3\)"):
        tiny()(np.zeros((1, *size, 3), "float32"))


# === Flat arguments of 0.1 ===

FLAT = {
    "trunk": "large_fov",
    "fc_width": 100,
    "skips": ("conv3",),
    "triple_window": 4,
    "kernel": "gaussian",
    "context_window": 3,
    "mixtures": 2,
    "context_noise": 0.3,
}
GROUPED = {
    "backbone": {"name": "large_fov", "fc_width": 100, "skips": ("conv3",)},
    "local_conv": {"window": 4, "kernel": "gaussian"},
    "contexts": {"window": 3, "mixtures": 2, "noise": 0.3},
}


def test_flat_arguments_name_what_replaces_them():
    with pytest.warns(DeprecationWarning) as caught:
        model = without_values(lambda: DPN(3, width=0.02, **FLAT))
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == len(FLAT)
    assert messages[0].startswith("`trunk=` is deprecated")
    assert "Use `contexts={'mixtures': ...}` instead." in messages[6]
    assert {warning.filename for warning in caught} == {__file__}
    again = without_values(lambda: DPN(3, width=0.02, **GROUPED))
    assert model.get_config() == again.get_config()
    with pytest.warns(DeprecationWarning, match=r"`.mixtures` .* Use `.contexts\['mixtures'\]`"):
        assert model.mixtures == 2
    with pytest.raises(AttributeError, match="'DPN' object has no attribute 'mixture'"):
        model.mixture  # noqa: B018


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_configs_with_flat_arguments_are_read():
    """Those of models and presets that 0.1 saved; later arguments replace earlier ones."""
    flat = {"num_classes": 3, "width": 0.02, **FLAT, "contexts": {"mixtures": 4}}
    model = without_values(lambda: DPN.from_config(flat))
    expected = merge_groups(GROUPED, {"contexts": {"mixtures": 4}})
    assert {group: dict(getattr(model, group)) for group in DEFAULTS} == {
        group: {**DEFAULTS[group], **expected[group]} for group in DEFAULTS
    }


def test_each_key_of_a_group_has_its_flat_name():
    keys = {(group, key) for group, defaults in DEFAULTS.items() for key in defaults}
    keys -= {("backbone", "model"), ("backbone", "preprocessing")}  # not in 0.1
    assert sorted(FLAT_NAMES.values()) == sorted(keys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"local_conv": {"windw": 3}}, "`windw` in `local_conv`; did you mean `window`?"),
        ({"backbone": {"mixtures": 3}}, "`mixtures` in `backbone`; expected name, fc6_kernel, "),
    ],
)
def test_refuses_unknown_keys(arguments, message):
    with pytest.raises(TypeError, match=f"^DPN got an unexpected key {re.escape(message)}"):
        DPN(3, **arguments)
