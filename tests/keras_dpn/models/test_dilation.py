import keras
import numpy as np
import pytest
from keras import layers

from keras_dpn.models.dilation import DilatedGraph, with_channels
from tests.keras_dpn.support import assert_close, picture, random, run, to_numpy


def padded(x):
    """Strides as of ResNet: explicit padding, and pools in the shortcuts."""
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    for strides in (2, 2, 1):
        shortcut = layers.MaxPooling2D(1, strides=strides)(x) if strides > 1 else x
        x = layers.ZeroPadding2D(1)(layers.BatchNormalization()(x))
        x = layers.Conv2D(4, 3, strides=strides, activation="relu")(x)
        x = layers.Add()([x, shortcut])
    return x


def same(x):
    """Strides as of EfficientNet."""
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(5, strides=2, padding="same", activation="relu")(x)
    x = layers.SeparableConv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    return layers.Conv2D(4, 3, dilation_rate=2, padding="same")(x)


def patches(x):
    """Strides as of ConvNeXt: windows as large as the stride, inside of models in the model."""
    for _ in range(3):
        x = keras.Sequential([layers.LayerNormalization(), layers.Conv2D(4, 2, strides=2)])(x)
        x = x + layers.DepthwiseConv2D(7, padding="same")(x)
    return x


def pooled(x):
    """Strides as of VGG and DenseNet."""
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.AveragePooling2D(2)(layers.Conv2D(4, 3, padding="same")(x))
    return layers.Conv2D(4, 3, strides=2, padding="same")(x)


def build(body, channels=3):
    image = keras.Input((None, None, channels))
    return keras.Model(image, body(image / 255))


def dilated(model, output_stride, channels=3):
    graph = DilatedGraph(model, channels, output_stride)
    graph.copy_weights()
    return graph, keras.Model(graph.image, graph.output)


@pytest.mark.parametrize("body", [padded, same, patches, pooled])
@pytest.mark.parametrize("output_stride", [2, pytest.param(4, marks=pytest.mark.tensorflow_only)])
def test_some_cells_are_those_with_strides(body, output_stride):
    """The windows of the other cells lie between them."""
    keras.utils.set_random_seed(0)
    model, image = build(body), picture(32, 48)
    graph, finer = dilated(model, output_stride)
    expected, maps = run(model, image), run(finer, image)
    step = 8 // output_stride
    assert graph.strides[id(graph.output)] == (8, output_stride)
    assert maps.shape == (1, 32 // output_stride, 48 // output_stride, 4)
    # With padding "same", windows of a stride are centred on the last of the cells they stand for.
    first = {padded: 0, same: step - 1, patches: 0, pooled: step // 2}[body]
    assert_close(maps[:, first::step, first::step], expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(maps) > 0.01


def test_nothing_changes_up_to_the_output_stride():
    model, image = build(padded), picture(32, 48)
    graph, copy = dilated(model, 8)
    assert_close(run(copy, image), run(model, image))
    assert {level: x.shape[-1] for level, x in graph.maps.items()} == {1: 3, 2: 4, 4: 4, 8: 4}
    assert [layer.name for layer in copy.layers[1:]] == [layer.name for layer in model.layers[1:]]


def test_maps_are_the_last_of_each_stride_before_its_padding():
    model = build(padded)
    graph = DilatedGraph(model, 3, 4)
    found = keras.Model(graph.image, [graph.maps[level] for level in (2, 4, 8)])
    shapes = found.compute_output_shape((1, 64, 64, 3))
    assert shapes == [(1, 32, 32, 4), (1, 16, 16, 4), (1, 16, 16, 4)]


@keras.saving.register_keras_serializable("test_dilation")
class Halve(layers.Layer):
    def call(self, x):
        return x[:, ::2, ::2]


def test_other_layers_keep_their_stride():
    def body(x):
        x = layers.Conv2D(4, 3, strides=2, padding="same")(x)
        return layers.Conv2D(4, 3, strides=2, padding="same")(Halve()(x))

    graph, copy = dilated(build(body), 2)
    assert graph.strides[id(graph.output)] == (8, 4)
    assert copy.compute_output_shape((1, 32, 32, 3)) == (1, 8, 8, 4)


def test_upsampling_undoes_strides():
    def body(x):
        x = layers.Conv2D(4, 3, strides=2, padding="same")(x)
        return layers.UpSampling2D(2)(layers.Conv2D(4, 3, strides=2, padding="same")(x))

    graph = DilatedGraph(build(body), 3, 8)
    assert graph.strides[id(graph.output)] == (2, 2)
    assert graph.multiple == 4


def test_squeeze_and_excitation():
    def body(x):
        x = layers.Conv2D(4, 3, strides=4, padding="same")(x)
        means = layers.GlobalAveragePooling2D()(x)
        means = layers.Conv2D(4, 1, activation="sigmoid")(layers.Reshape((1, 1, 4))(means))
        x = layers.Multiply()([x, means])
        return layers.Conv2D(4, 3, strides=2, padding="same")(x)

    graph, copy = dilated(build(body), 4)
    assert graph.strides[id(graph.output)] == (8, 4)
    assert run(copy, picture(8, 12)).shape == (1, 2, 3, 4)


def test_a_layer_used_twice():
    shared = layers.Conv2D(3, 3, padding="same")

    def body(x, strides):
        x = layers.Conv2D(3, 3, strides=strides, padding="same")(shared(x))
        return shared(x)

    model, image = build(lambda x: body(x, 2)), picture(8, 8)
    _, copy = dilated(model, 2)
    assert len(copy.weights) == len(model.weights)
    assert_close(run(copy, image), run(model, image))
    with pytest.raises(ValueError, match="shares the layer"):
        DilatedGraph(build(lambda x: body(x, 2)), 3, 1)


def test_a_model_whose_output_is_no_map():
    with pytest.raises(ValueError, match="is no map"):
        DilatedGraph(build(layers.GlobalAveragePooling2D(keepdims=True)), 3, 8)


def test_kernels_of_other_channels():
    kernel, grey = random(3, 3, 3, 5), random(1, 4, 6, 1)
    adapted = with_channels(kernel, (3, 3, 1, 5))
    expected = keras.ops.conv(np.repeat(grey, 3, -1), kernel)
    assert_close(keras.ops.conv(grey, adapted), to_numpy(expected), rtol=1e-4)
    several = with_channels(kernel, (3, 3, 6, 5))
    assert_close(keras.ops.conv(np.repeat(grey, 6, -1), several), to_numpy(expected), rtol=1e-4)
    for shape in ((3, 3, 3, 5), (3, 3, 4, 6), (3, 5)):
        assert with_channels(kernel, shape) is kernel


def test_other_channels_than_the_models():
    model, grey = build(same), picture(16, 16)[..., :1]
    _, copy = dilated(model, 8, channels=1)
    expected = run(model, np.repeat(grey, 3, -1))
    assert_close(run(copy, grey), expected, rtol=1e-4, atol=1e-5)
