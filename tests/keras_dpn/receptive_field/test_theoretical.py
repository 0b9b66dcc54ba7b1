import keras
import numpy as np
import pytest
from keras import layers

from keras_dpn.layers import LocalConv2D, MeanFieldCRF, Resize
from keras_dpn.models import DPN, FCN, ParseNet
from keras_dpn.receptive_field import map_size, theoretical_field
from tests.keras_dpn.support import gradients, without_values

SIZE = (23, 31)
ONES = {"kernel_initializer": "ones", "bias_initializer": "ones"}


def nested(x):
    inner = keras.Input((None, None, 2))
    y = layers.Conv2D(2, 3, padding="same", strides=2, **ONES)(inner)
    return keras.Model(inner, layers.Rescaling(0.5)(y), name="inner")(x)


def residual(x):
    y = layers.Conv2D(2, 5, padding="same", **ONES)(layers.ReLU()(x))
    return layers.Concatenate()([layers.Add()([x, y]), x + 2 * y])


STACKS = {
    "convolution": lambda x: layers.Conv2D(2, (3, 4), padding="same", **ONES)(x),
    "valid": lambda x: layers.Conv2D(2, (2, 5), strides=(2, 3), **ONES)(x),
    "strides": lambda x: layers.Conv2D(2, 4, padding="same", strides=3, **ONES)(x),
    "dilation": lambda x: layers.Conv2D(2, 3, padding="same", dilation_rate=(2, 3), **ONES)(x),
    "separable": lambda x: layers.SeparableConv2D(
        2, 3, depthwise_initializer="ones", pointwise_initializer="ones"
    )(x),
    "pool": lambda x: layers.AveragePooling2D(3, 2, padding="same")(x),
    "pads": lambda x: layers.Cropping2D(((0, 1), (2, 1)))(layers.ZeroPadding2D(((3, 1), 1))(x)),
    "nearest": lambda x: layers.UpSampling2D((2, 3))(x),
    "bilinear": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "resize": lambda x: Resize(factor=2)((layers.AveragePooling2D(2, padding="same")(x), x)),
    "aligned": lambda x: Resize(size=(12, 9), align_corners=True)(x),
    "local": lambda x: LocalConv2D((4, 3), scale=1.0, color_weight=1.0)((x, x)),
    "residual": residual,
    "nested": nested,
}


@pytest.mark.tensorflow_only  # nothing here depends on the backend, and JAX compiles each
@pytest.mark.parametrize("name", STACKS)
def test_the_theoretical_field_is_where_gradients_are(name):
    """On top of a convolution, so that fields add up, at the map's middle and in its corner."""
    image = keras.Input((None, None, 2))
    x = STACKS[name](layers.Conv2D(2, 3, padding="same", **ONES)(image))
    model = keras.Model(image, layers.Activation("linear", name="top")(x))
    pixels = np.random.default_rng(0).uniform(1, 2, (1, *SIZE, 2)).astype("float32")
    height, width = map_size(model, "top", SIZE)
    assert model(pixels).shape[1:3] == (height, width)
    for row, column in ((height // 2, width // 2), (height - 1, 0)):
        field = theoretical_field(model, "top", (row, column), SIZE)
        top, left, bottom, right = field.box(SIZE)
        unit = (slice(None), row, column)
        (gradient,) = gradients(lambda x, unit=unit: keras.ops.sum(model(x)[unit]), pixels)
        rows = np.flatnonzero(np.any(gradient != 0, (0, 2, 3)))
        columns = np.flatnonzero(np.any(gradient != 0, (0, 1, 3)))
        assert not field.unlimited
        assert (top, left, bottom, right) == (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


def test_the_papers_404_pixels():
    """FCN's fc7: "404 x 404 pixels receptive field" (ParseNet, sec. 3.1)."""
    model = without_values(lambda: FCN(width=0.02, padding=100))
    size = (900, 1100)
    middle = tuple(n // 2 for n in map_size(model, "b10", size))
    assert theoretical_field(model, "b10", middle, size).size == (404, 404)


def test_global_layers_see_the_whole_image_and_say_so():
    model = without_values(lambda: ParseNet(3, width=0.02))
    field = theoretical_field(model, "b11_resize", (5, 5), (40, 50))
    assert field.box((40, 50)) == (0, 0, 40, 50) and field.size == (np.inf, np.inf)
    assert field.unlimited == ("pool6 (GlobalContext) depends on the whole image",)
    logits = MeanFieldCRF(name="crf")((model.output, model.input))
    field = theoretical_field(keras.Model(model.input, logits), "crf", (2, 2), (40, 50))
    assert "crf (MeanFieldCRF) depends on the whole image" in field.unlimited


def test_unknown_types_see_the_whole_image_and_say_so():
    class Roll(layers.Layer):
        def call(self, x):
            return keras.ops.roll(x, 3, axis=1)

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    image = keras.Input((None, None, 3))
    x = layers.Conv2D(2, 1, name="top")(Roll(name="roll")(image))
    field = theoretical_field(keras.Model(image, x), "top", (2, 2), (9, 9))
    everything = (-np.inf, np.inf)
    assert field == (everything, everything, ("roll (Roll) is of an unknown type",))
    over_rows = layers.Softmax(axis=1, name="top")(image)
    field = theoretical_field(keras.Model(image, over_rows), "top", (2, 2), (9, 9))
    assert field.unlimited == ("top (Softmax) is of an unknown type",)


def test_shared_layers_count_at_their_last_call():
    model = without_values(lambda: DPN(3, width=0.02, backbone="large_fov", num_iterations=2))
    size, unit = (64, 64), (30, 30)
    once = without_values(lambda: DPN(3, width=0.02, backbone="large_fov"))
    first, last = (theoretical_field(m, "b14", unit, size).size[0] for m in (once, model))
    assert last - first == pytest.approx(50 - 1 + 9 - 1, abs=1)  # cells of 8 pixels below


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        ("b5_conv3", 40),
        ("b10", 380),  # 44 of b6_pool, and 8 (3 * 2 + 3 * 2 * 2 + 12 * 2)
        ("b10_conv3_add", 380 + 8),  # between two cells of 8
        ("b10_conv3", 380 + 16),  # three cells of 4 lie between three of 8
        ("b11_log", 380 + 16),  # so do four, if the first is an odd one
    ],
)
def test_skips_add_to_what_the_last_layers_see(layer, size):
    backbone = {"name": "large_fov", "skips": ("conv3",)}
    settings = {"backbone": backbone, "pairwise": None, "pairwise_stride": 2}
    model = without_values(lambda: DPN(3, width=0.02, **settings))
    image_size = (900, 1000)
    unit = tuple(n // 2 for n in map_size(model, layer, image_size))
    field = theoretical_field(model, layer, unit, image_size)
    assert not field.unlimited
    assert field.size == (size, size)


def test_refuses_models_of_other_things():
    signal = keras.Input((None, 3))
    with pytest.raises(ValueError, match="Expected a model of images"):
        map_size(keras.Model(signal, layers.Dense(2, name="top")(signal)), "top", (3, 3))
