import inspect
import json

import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.models import PiecewiseCRF
from keras_dpn.ops.edge_marginals import mean_edge_marginals
from tests.keras_dpn.support import assert_close, picture, run, to_numpy, without_values

# JAX compiles each of these networks for seconds: there, a few of them must do.
TENSORFLOW = pytest.mark.tensorflow_only

LABELS, SIZE = 3, (24, 30)
CLOSE = {"rtol": 1e-4, "atol": 1e-3}  # threads add the messages in any order
SMALL = {"num_blocks": 2, "block6": ((3, 100), (1, 150)), "units": 200, "width": 0.04}


def tiny(**settings):
    """Networks of a few hundred weights on a map of 6 x 8 cells."""
    return PiecewiseCRF(LABELS, **{"scales": (1.0, 0.4), **SMALL, **settings})


def empty(**settings):
    return without_values(lambda: tiny(**settings))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = tiny()
    for weight in model.weights:  # potentials that do not all say the same
        if "fc2" in weight.path and weight.path.endswith("kernel"):
            weight.assign(4 * to_numpy(weight))
    return model


@pytest.fixture(scope="module")
def image():
    return picture(*SIZE, batch=2)


@pytest.fixture(scope="module")
def potentials(model, image):
    """What the networks give for the image: a dictionary as of `learner`."""
    return keras.tree.map_structure(to_numpy, model.learner()(image))


# === The paper's networks ===


@TENSORFLOW
def test_parameters():
    """Fig. 5, three scales: 1,164,534,087 = 387,510,101 + 2 * 388,511,993."""
    model = without_values(PiecewiseCRF)
    assert model.count_params() == 1_164_534_087
    assert model.graph_size(512, 512).parameters == 1_164_534_087
    trunk = model.get_layer("unary_vgg16")
    names = [layer.name for layer in trunk.layers[1:]]
    assert (names[0], names[2], names[-1]) == ("b1_conv1", "b2_pool", "b8_pool")
    assert trunk.output.shape[-1] == 512
    assert all(layer.dilation_rate == (1, 1) for layer in trunk.layers if "conv" in layer.name)
    b9 = model.get_layer("above_block6_scale3").get_layer("b9")
    assert tuple(b9.kernel.shape) == (7, 7, 512, 4096)


def test_networks_share_no_weights():
    paths = [weight.path for weight in empty(checkpointing=True).weights]
    assert len(set(paths)) == len(paths)
    networks = {path.split("_")[0] for path in paths}
    assert networks == {"unary", "surrounding", "above"}
    assert "above_vgg16/b3_conv2/kernel" in paths and "unary_fc2/bias" in paths


# === Prediction ===


@TENSORFLOW
def test_heads_are_mean_field_of_their_potentials(model, image, potentials):
    assert model.head_names == ("unary", "surrounding", "above", "field", "final")
    heads = (*model.head_names, "above+unary", "surrounding+above")
    outputs = [model.head_model(head).output for head in heads]
    outputs = keras.Model(model.input, outputs).predict_on_batch(image)
    relations = potentials["relations"]
    for head, found in zip(heads, outputs, strict=True):
        chosen = model.potentials if head in ("field", "final") else head.split("+")
        names = [name for name in relations if name in chosen]
        nodes = potentials["unary"].reshape(2, 48, LABELS) * ("unary" in chosen)
        if names:
            edges = np.concatenate([relations[name][0] for name in names])
            pairwise = np.concatenate([relations[name][2] for name in names], axis=1)
            nodes = ops.edge_mean_field(nodes, edges, pairwise, num_iterations=2)
        expected = ops.resize(keras.ops.reshape(nodes, (2, 6, 8, LABELS)), SIZE)
        assert np.ptp(to_numpy(expected)) > 0.1
        assert_close(found, to_numpy(expected), **CLOSE)


@pytest.mark.parametrize(
    ("settings", "heads"),
    [
        ({"relations": ()}, ("unary", "field", "final")),
        ({"unary": False, "relations": ("above",)}, ("above", "field", "final")),
    ],
)
@TENSORFLOW
def test_a_single_potential_predicts_alone(settings, heads):
    model, image = tiny(**settings), picture(*SIZE)
    assert model.head_names == heads
    alone, field, _ = (model.head_model(head) for head in heads)
    found = to_numpy(model(image))
    assert np.isfinite(found).all() and np.ptp(found) > 0
    for other in (alone, field):
        assert_close(other(image), found, **CLOSE)


def test_a_head_runs_its_own_network_only():
    layers = {layer.name for layer in empty().head_model("above").layers}
    assert "above_vgg16" in layers and "above_pairwise" in layers
    assert not any(name.startswith(("unary", "surrounding")) for name in layers)


@pytest.mark.parametrize("head", ["b12", "above+below", "above+above", "unary+field", "above+", ""])
def test_unknown_heads_are_refused(head):
    with pytest.raises(ValueError, match="`head`.*'field', 'final', 'surrounding'"):
        empty().head_model(head)


@TENSORFLOW
def test_means_of_marginals(image):
    model = tiny(aggregation="mean")
    found = model.learner()(image)
    edges, exist, pairwise = (to_numpy(x) for x in found["relations"]["above"])
    mean, counted = mean_edge_marginals(edges, exist, pairwise, 48)
    mean, counted = to_numpy(mean), to_numpy(counted)
    unary = to_numpy(keras.ops.softmax(found["unary"])).reshape(2, 48, LABELS)
    alone = np.where(counted > 0, mean, 1 / LABELS)
    for head, expected in (("above", alone), ("unary+above", (unary + mean) / (1 + counted))):
        logits = np.log(expected).reshape(2, 6, 8, LABELS)
        expected = to_numpy(ops.resize(logits, SIZE))
        assert_close(model.head_model(head)(image), expected, **CLOSE)
    assert PiecewiseCRF.from_config(model.get_config()).aggregation == "mean"


def test_relations_start_from_the_unary_features():
    model = tiny()
    before = {weight.path: to_numpy(weight) for weight in model.weights}
    model.start_relations_from_unary(["above"])
    copied = 0
    for weight in model.weights:
        network, _, rest = weight.path.partition("_")
        is_feature = rest.startswith(("vgg16", "block6"))
        source = f"unary_{rest}" if network == "above" and is_feature else weight.path
        np.testing.assert_array_equal(to_numpy(weight), before[source])
        copied += source != weight.path
    assert copied == 2 * (4 + 2 * 2)  # kernels and biases of the convolutions
    with pytest.raises(ValueError, match="`relations`: expected one of .* received 'below'"):
        model.start_relations_from_unary(["below"])
    with pytest.raises(ValueError, match="a unary potential, received one without"):
        empty(unary=False).start_relations_from_unary()


@TENSORFLOW
def test_crf_refines_the_field():
    settings = {"num_iterations": 1, "bilateral": (3.0, 8.0, 20.0), "filter": "exact"}
    model, image = tiny(relations=(), crf=settings), picture(*SIZE)
    field = model.head_model("field")(image)
    expected = model.get_layer("crf")((field, image))
    assert_close(model(image), to_numpy(expected), rtol=1e-4, atol=1e-5)
    assert not np.allclose(model(image), field, atol=1e-3)


@TENSORFLOW
def test_features_are_those_of_all_scales():
    """Cells take the smaller map's value at their centre: 6 x 8 from 3 x 3."""
    model, image = tiny(relations=(), scales=(0.4, 1.0)), picture(*SIZE)
    features = keras.Model(model.input, model.get_layer("unary_features").output)(image)
    trunk, preprocess = model.get_layer("unary_vgg16"), model.get_layer("preprocess")
    maps = []
    for i, size in enumerate([(10, 12), SIZE], start=1):
        x = trunk(preprocess(ops.resize(image, size)))
        maps.append(to_numpy(model.get_layer(f"unary_block6_scale{i}")(x)))
    assert [x.shape[1:] for x in maps] == [(3, 3, 6), (6, 8, 6)]
    rows, columns = [0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2, 2, 2]
    expected = np.concatenate([maps[0][:, rows][:, :, columns], maps[1]], axis=-1)
    assert_close(features, expected, rtol=1e-4, atol=1e-3)


@TENSORFLOW
def test_any_size_known_or_not(model):
    import tensorflow as tf

    image = picture(33, 61)
    found = to_numpy(model(image))
    assert found.shape == (1, 33, 61, LABELS) and np.isfinite(found).all()
    unknown = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    assert_close(unknown(image), found, **CLOSE)
    assert_close(model(image.astype("uint8")), found, **CLOSE)


def test_output_has_the_inputs_size_before_it_runs():
    assert empty().output.shape == (None, None, None, LABELS)
    model = empty(input_shape=(24, 30, 3), num_neighbors=None)
    assert model.output.shape == (None, 24, 30, LABELS)
    edges, pairwise = (model.get_layer(f"above_{part}").output for part in ("graph", "pairwise"))
    assert edges[0].shape == (48 * 3, 2) and pairwise.shape == (None, 48 * 3, LABELS, LABELS)


# === As any Keras model ===


def test_config_round_trip():
    relations = {"over": "above", "far": (-0.9, -0.2, -0.5, 0.2)}
    model = empty(relations=relations, crf={"num_iterations": 3}, num_neighbors=2, name="own")
    assert model.head_names == ("unary", "over", "far", "field", "final")
    config = json.loads(json.dumps(model.get_config()))
    assert set(config) == set(inspect.signature(PiecewiseCRF).parameters)
    again = without_values(lambda: PiecewiseCRF.from_config(config))
    assert json.loads(json.dumps(again.get_config())) == config
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert (again.name, again.num_neighbors, again.relations["over"]) == ("own", 2, "above")


@TENSORFLOW
def test_save_and_load(model, image, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is PiecewiseCRF and loaded.head_names == model.head_names
    for found, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))
    assert_close(loaded(image), to_numpy(model(image)), **CLOSE)


@TENSORFLOW
def test_mixed_precision(model, image):
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = tiny(checkpointing=True)
    half.set_weights(model.get_weights())
    logits = half.head_model("unary")(image)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert half.get_layer("unary_vgg16").get_layer("b1_conv1").compute_dtype == "bfloat16"
    expected = to_numpy(model.head_model("unary")(image))
    assert np.abs(to_numpy(logits) - expected).max() < 0.1 * np.abs(expected).max()
    assert keras.backend.standardize_dtype(half(image).dtype) == "float32"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relations": ("over",)}, r"`relation`: expected one of \['above', .* received 'over'"),
        ({"relations": ("above", "above")}, "`relations`: expected each relation once, received"),
        ({"relations": {"a_b": "above"}}, "`relations`: expected names of letters .* 'a_b'"),
        ({"relations": [[-0.5, 0, 0, 0]]}, r"`relations`: expected names .* \[-0.5, 0, 0, 0\]"),
        ({"relations": {"unary": "above"}}, "`relations`: expected names .* other than unary"),
        ({"relations": {"up": (0.5, 0, 0.1, 0)}}, "`box`: expected top <= bottom"),
        ({"relations": "above"}, "`relations`: expected names, or a dictionary .* 'above'"),
        ({"relations": (), "unary": False}, "`relations` and `unary`: expected at least one pot"),
        ({"scales": (1.0, 0.0)}, r"`scales`: expected .*positive .*, received \(1.0, 0.0\)"),
        ({"scales": ()}, "`scales`: expected at least one positive number"),
        ({"num_blocks": 6}, "`num_blocks`: expected an integer from 1 to 5, received 6"),
        ({"block6": ()}, "`block6`: expected at least one pair"),
        ({"block6": (3, 512)}, "`block6`: expected at least one pair"),
        ({"block6": ((3, 0),)}, "`block6`: expected an integer of at least 1, received 0"),
        ({"num_neighbors": 0}, "`num_neighbors`: expected an integer of at least 1"),
        ({"num_iterations": 0}, "`num_iterations`: expected an integer of at least 1"),
        ({"aggregation": "product"}, "`aggregation`: expected one of .* received 'product'"),
        ({"damping": 1.0}, "`damping`: expected a number from 0 to below 1"),
        ({"num_classes": 1}, "`num_classes`: expected an integer of at least 2, received 1"),
        ({"crf": True}, "`crf`: expected None or a dictionary of arguments .* received True"),
        ({"input_shape": (3, 64, 64)}, r"`input_shape`: expected \(height, width, channels\)"),
        ({"input_shape": (8, 99, 3)}, "`box`: .*larger than a cell, .*'surrounding' .* 2x25"),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        without_values(lambda: PiecewiseCRF(**{**SMALL, "scales": (1.0,), **settings}))


@TENSORFLOW
def test_grey_images():
    grey = tiny(relations=("above",), input_shape=(None, None, 1), crf={"num_iterations": 1})
    found = run(grey, picture(24, 30)[..., :1])
    assert found.shape == (1, 24, 30, LABELS) and np.isfinite(found).all()


@TENSORFLOW
def test_a_small_image_has_no_pairs(model):
    """Whatever was predicted before it, and whether its size is known."""
    for found in (run(model, picture(8, 99)), model.predict(picture(8, 99), verbose=0)):
        assert found.shape == (1, 8, 99, LABELS) and np.isfinite(found).all()
