import keras
import numpy as np
import pytest

from keras_dpn import layers
from keras_dpn.ops.range_boxes import box_edges
from tests.keras_dpn.support import assert_close, random, run_layer_test, to_numpy

EDGES = np.array([[0, 1], [1, 0], [7, 29], [3, 3], [12, 4]], "int32")  # of a map of 5x6
EXIST = np.array([True, True, True, False, True])


def inputs(batch=2, channels=4, exist=EXIST):
    return random(batch, 5, 6, channels, low=-1.0), EDGES, exist


def test_layer():
    run_layer_test(
        layers.PairwisePotential,
        {"num_classes": 3, "units": 8},
        input_data=inputs(),
        expected_output_shape=(2, 5, 3, 3),
        expected_output_dtype="float32",
        expected_num_trainable_weights=5,
        expected_num_non_trainable_weights=0,
        run_training_check=False,  # its data sets have images only
    )


@pytest.mark.parametrize("per_image", [False, True])
def test_equals_two_layers_on_the_concatenated_features(per_image):
    exist = random(2, 5) > 0.4 if per_image else EXIST
    features, edges, _ = inputs()
    layer = layers.PairwisePotential(3, units=8)
    found = to_numpy(layer((features, edges, exist)))
    for weight in (layer.fc1_first.bias, layer.fc2.bias):  # 0 at first
        weight.assign(random(*weight.shape, low=-1.0))
    found = to_numpy(layer((features, edges, exist)))

    nodes = features.reshape(2, 30, 4)
    pairs = np.concatenate([nodes[:, edges[:, 0]], nodes[:, edges[:, 1]]], axis=-1)
    first, second = (to_numpy(fc.kernel) for fc in (layer.fc1_first, layer.fc1_second))
    hidden = pairs @ np.concatenate([first, second]) + to_numpy(layer.fc1_first.bias)
    out = np.maximum(hidden, 0) @ to_numpy(layer.fc2.kernel) + to_numpy(layer.fc2.bias)
    expected = np.where(np.broadcast_to(exist, (2, 5))[..., None], out, 0)
    assert_close(found, expected.reshape(2, 5, 3, 3), atol=1e-5)
    assert np.all(found[:, 3][~np.broadcast_to(exist, (2, 5))[:, 3]] == 0)


def test_the_order_of_a_pair_counts():
    logits = to_numpy(layers.PairwisePotential(3, units=8)(inputs()))
    assert np.abs(logits[:, 0] - logits[:, 1].swapaxes(1, 2)).max() > 1e-4


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_in_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    layer = layers.PairwisePotential(3, units=8)
    found = layer(inputs())
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    rounded = keras.ops.cast(keras.ops.cast(found, layer.compute_dtype), "float32")
    assert np.any(to_numpy(found) != to_numpy(rounded))
    wide = layers.PairwisePotential(3, units=8, dtype="float32")
    wide.build([x.shape for x in inputs()])
    wide.set_weights(layer.get_weights())
    assert_close(found, to_numpy(wide(inputs())), rtol=0.05, atol=1e-4)


@pytest.mark.tensorflow_only
def test_learns_an_asymmetric_table_from_asymmetric_data():
    """Label 2 lies above label 1, and never the other way round, in an image that shows nothing."""
    labels, steps = np.zeros((10, 10), int), 40
    labels[2:5, 2:8], labels[5:8, 2:8] = 2, 1
    features, tables, pairs, exist = keras.Input((10, 10, 1)), [], [], []
    for relation in ("above", "surrounding"):
        edges, there = (to_numpy(x) for x in box_edges(10, 10, relation))
        logits = layers.PairwisePotential(3, units=4)((features, edges, there))
        tables.append(keras.layers.Reshape((-1, 9))(logits))
        pairs.append(np.repeat((labels.ravel()[edges] @ [3, 1])[None], steps, axis=0))
        exist.append(np.repeat(there[None].astype("float32"), steps, axis=0))
    model = keras.Model(features, tables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss=[loss, loss])
    image = np.ones((steps, 10, 10, 1), "float32")
    model.fit(image, pairs, sample_weight=exist, batch_size=1, verbose=0)
    outputs = zip(model(image[:1]), exist, strict=True)
    above, around = (to_numpy(t)[0, there[0] > 0][0].reshape(3, 3) for t, there in outputs)
    assert above[1, 2] > above[2, 1] + 3
    assert abs(around[1, 2] - around[2, 1]) < 0.3


@pytest.mark.tensorflow_only
def test_trains_and_exports_with_unknown_sizes(tmp_path):
    import tensorflow as tf

    features = keras.Input((None, None, 4))
    graph = layers.RangeBoxGraph("above", num_neighbors=2, seed=0)(features)
    logits = layers.PairwisePotential(3, units=8, name="above")((features, *graph))
    assert logits.shape == (None, None, 3, 3)
    model = keras.Model(features, layers.EdgeMeanField()((features[..., :3], graph[0], logits)))
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(random(2, 4, 5, 4), random(2, 4, 5, 3, seed=1), verbose=0)
    moved = [np.any(now != then) for now, then in zip(model.get_weights(), before, strict=True)]
    assert all(moved[:-1])  # an equal amount for all pairs of labels changes nothing
    model.export(tmp_path / "saved_model", verbose=False)
    loaded, image = tf.saved_model.load(tmp_path / "saved_model"), random(1, 7, 5, 4, seed=2)
    assert_close(loaded.serve(image), to_numpy(model(image)))


def test_weights_are_found_by_name():
    layer = layers.PairwisePotential(3, units=8, name="above")
    layer.build([x.shape for x in inputs()])
    shapes = {weight.path: tuple(weight.shape) for weight in layer.weights}
    assert shapes == {
        "above/fc1_first/kernel": (4, 8),
        "above/fc1_first/bias": (8,),
        "above/fc1_second/kernel": (4, 8),
        "above/fc2/kernel": (8, 9),
        "above/fc2/bias": (9,),
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, "`num_classes`: expected an integer of at least 1, received 0"),
        ({"num_classes": 2, "units": 0}, "`units`: expected an integer of at least 1, received 0"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.PairwisePotential(**settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (inputs()[:2], r"expects a triple \(features, edges, exist\)"),
        (inputs()[0], r"expects a triple \(features, edges, exist\)"),
        ((inputs()[0][0], *inputs()[1:]), r"expects a triple .*received shapes .\(5, 6, 4\)"),
        ((inputs()[0], EDGES + 1, EXIST), "`edges`: expected nodes 0 to 29, received 30"),
        ((inputs()[0], EDGES, EXIST[..., :1]), "`exist`: expected shape"),
    ],
)
def test_refuses_inputs(values, message):
    with pytest.raises(ValueError, match=message):
        layers.PairwisePotential(3)(values)


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="PairwisePotential supports the image data format"):
        layers.PairwisePotential(3)
