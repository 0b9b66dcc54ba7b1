import keras
import numpy as np
import pytest

from keras_dpn import layers
from keras_dpn.ops.range_boxes import box_edges
from tests.keras_dpn.support import run_layer_test, to_numpy


def same(edges, others):
    return all(np.array_equal(to_numpy(a), to_numpy(b)) for a, b in zip(edges, others, strict=True))


def test_layer():
    run_layer_test(
        layers.RangeBoxGraph,
        {"relation": "above"},
        input_shape=(2, 5, 6, 4),
        expected_output_shape=((90, 2), (90,)),
        expected_output_dtype=("int32", "bool"),
        expected_num_trainable_weights=0,
        expected_num_seed_generators=0,
        run_training_check=False,  # integers
    )


def test_all_neighbors_outside_of_training_and_a_new_draw_in_each_step():
    features = np.zeros((2, 7, 8, 1), "float32")
    layer = layers.RangeBoxGraph("surrounding", num_neighbors=3, seed=1)
    everything = box_edges(7, 8, "surrounding")
    assert same(layer(features), everything)
    first, second = (layer(features, training=True) for _ in range(2))
    for drawn, exist in (first, second):
        assert drawn.shape == (7 * 8 * 3, 2) and np.all(to_numpy(exist))
        assert set(map(tuple, to_numpy(drawn))) < set(map(tuple, to_numpy(everything[0])))
    assert not same(first, second)
    again = layers.RangeBoxGraph.from_config(layer.get_config())
    assert same(again(features, training=True), first)
    other = layers.RangeBoxGraph("surrounding", num_neighbors=3, seed=2)
    assert not same(other(features, training=True), first)


def test_all_neighbors_where_it_is_frozen():
    features = np.zeros((2, 7, 8, 1), "float32")
    layer = layers.RangeBoxGraph("surrounding", num_neighbors=3, seed=1, trainable=False)
    assert same(layer(features, training=True), box_edges(7, 8, "surrounding"))


@pytest.mark.tensorflow_only
def test_unknown_sizes(tmp_path):
    features = keras.Input((None, None, 1))
    graph = layers.RangeBoxGraph((-0.3, -0.3, 0.3, 0.3), num_neighbors=2, seed=0)
    model = keras.Model(features, graph(features))
    assert [output.shape for output in model.outputs] == [(None, 2), (None,)]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    image = np.zeros((1, 5, 5, 1), "float32")
    assert same(loaded(image), box_edges(5, 5, (-0.3, -0.3, 0.3, 0.3)))
    assert same(loaded(image, training=True), model(image, training=True))


def test_known_sizes_are_known_before_it_runs():
    features = keras.KerasTensor((None, 5, 6, 4))
    assert layers.RangeBoxGraph("left")(features)[0].shape == (90, 2)
    assert layers.RangeBoxGraph("left", num_neighbors=2)(features)[0].shape == (None, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relation": "over"}, r"`relation`: expected one of \['above', .*received 'over'"),
        ({"relation": (0.1, 0.2)}, "`box`: expected a relation's name or four numbers"),
        ({"relation": "above", "num_neighbors": 0}, "`num_neighbors`: .* at least 1, received 0"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        layers.RangeBoxGraph(**settings)


@pytest.mark.parametrize("make", [keras.KerasTensor, np.ones])
def test_refuses_inputs(make):
    message = r"RangeBoxGraph expects a feature map \(B, h, w, C\), received .*\(4, 6, 3\)"
    with pytest.raises(ValueError, match=message):
        layers.RangeBoxGraph("surrounding")(make((4, 6, 3)))


def test_a_map_without_edges_is_refused_where_a_network_is_built_for_it():
    message = "`box`: .*larger than a cell, received 'surrounding' on a map of 4x6"
    with pytest.raises(ValueError, match=message):
        layers.RangeBoxGraph("surrounding")(keras.KerasTensor((1, 4, 6, 3)))


@pytest.mark.parametrize("relation", ["surrounding", "above"])
@pytest.mark.parametrize("training", [False, True])
def test_a_layer_for_any_size_takes_a_map_without_edges(relation, training):
    layer = layers.RangeBoxGraph(relation, num_neighbors=2)
    for size in ((1, 1), (2, 3)):
        edges, exist = layer(np.ones((1, *size, 3)), training=training)
        assert edges.shape[0] == exist.shape[0] and not to_numpy(exist).any()


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match="RangeBoxGraph supports the image data format"):
        layers.RangeBoxGraph("above")
