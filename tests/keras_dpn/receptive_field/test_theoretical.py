import keras
import numpy as np
import pytest
from keras import layers

from keras_dpn.layers import LocalConv2D, MeanFieldCRF, Resize
from keras_dpn.models import DPN, FCN, ParseNet
from keras_dpn.receptive_field import (
    discrepancy_map,
    effective_field,
    map_size,
    theoretical_field,
)
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
    assert field.unlimited == ("pool6 (GlobalContext) looks at the whole image",)
    logits = MeanFieldCRF(name="crf")((model.output, model.input))
    field = theoretical_field(keras.Model(model.input, logits), "crf", (2, 2), (40, 50))
    assert "crf (MeanFieldCRF) looks at the whole image" in field.unlimited


def test_unknown_kinds_see_the_whole_image_and_say_so():
    class Roll(layers.Layer):
        def call(self, x):
            return keras.ops.roll(x, 3, axis=1)

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    image = keras.Input((None, None, 3))
    x = layers.Conv2D(2, 1, name="top")(Roll(name="roll")(image))
    field = theoretical_field(keras.Model(image, x), "top", (2, 2), (9, 9))
    everything = (-np.inf, np.inf)
    assert field == (everything, everything, ("roll (Roll) is of a kind unknown here",))
    over_rows = layers.Softmax(axis=1, name="top")(image)
    field = theoretical_field(keras.Model(image, over_rows), "top", (2, 2), (9, 9))
    assert field.unlimited == ("top (Softmax) is of a kind unknown here",)


def test_shared_layers_count_at_their_last_call():
    model = without_values(lambda: DPN(3, width=0.02, trunk="large_fov", num_iterations=2))
    size, unit = (64, 64), (30, 30)
    once = without_values(lambda: DPN(3, width=0.02, trunk="large_fov"))
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
    settings = {"trunk": "large_fov", "skips": ("conv3",), "pairwise": None, "pairwise_stride": 2}
    model = without_values(lambda: DPN(3, width=0.02, **settings))
    image_size = (900, 1000)
    unit = tuple(n // 2 for n in map_size(model, layer, image_size))
    field = theoretical_field(model, layer, unit, image_size)
    assert not field.unlimited
    assert field.size == (size, size)


def small_network():
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", strides=2, name="conv")(image)
    x = layers.Conv2D(2, 3, padding="same", name="top")(x)
    return keras.Model(image, x)


def test_a_patch_changes_the_unit_within_its_field_alone():
    model, size = small_network(), (30, 40)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    box = theoretical_field(model, "top", (7, 9), size).box(size)
    everywhere = discrepancy_map(model, "top", image, (7, 9), patch=3, stride=2)
    within = discrepancy_map(model, "top", image, (7, 9), patch=3, stride=2, within=box)
    assert everywhere.shape == (15, 20) and everywhere.dtype == np.float32
    np.testing.assert_allclose(everywhere, within, atol=1e-4)
    y, x = np.indices(everywhere.shape) * 2 + 1
    top, left, bottom, right = box
    touched = (y + 2 > top) & (y - 1 < bottom) & (x + 2 > left) & (x - 1 < right)
    np.testing.assert_array_equal(everywhere > 1e-3, touched)
    one = discrepancy_map(model, "top", image, (7, 9), channel=1, patch=3, stride=2, batch_size=7)
    assert (one <= everywhere + 1e-4).all() and one.max() > 0


def test_a_covered_image_worked_out_by_hand():
    """A unit that adds up the image changes by what the patch adds to it."""
    image = keras.Input((4, 4, 1))
    total = layers.Conv2D(1, 4, kernel_initializer="ones", name="top")(image)
    pixels = np.arange(16, dtype="float32").reshape(4, 4, 1)
    batches = []
    settings = {"patch": 2, "stride": 2, "batch_size": 3}
    model = keras.Model(image, total)
    found = discrepancy_map(
        model, "top", pixels, (0, 0), progress=lambda x: batches.extend(x) or x, **settings
    )
    noise = np.random.default_rng(0).uniform(0, 15, (2, 2, 1))
    expected = [
        [abs(noise.sum() - pixels[y : y + 2, x : x + 2].sum()) for x in (0, 2)] for y in (0, 2)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert [len(batch) for batch in batches] == [3, 1]


def test_the_effective_field_is_a_share_of_the_theoretical():
    changes = np.zeros((4, 5))
    changes[1:3, 1:4] = 1.0
    changes[1, 1] = 0.05
    seen, share = effective_field(changes, (0, 0, 30, 40), stride=8, threshold=0.1)
    assert seen.sum() == 5 and share == pytest.approx(5 * 64 / (30 * 40))
    assert effective_field(changes, (8, 16, 24, 32), stride=8)[1] == 1.0
    with pytest.raises(ValueError, match="dead"):
        effective_field(np.zeros((2, 2)), (0, 0, 4, 4), 2)
    with pytest.raises(ValueError, match="`threshold`"):
        effective_field(changes, (0, 0, 4, 4), 8, threshold=1.0)
    with pytest.raises(ValueError, match="`box`: no pixel"):
        effective_field(changes, (4, 0, 4, 4), 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "fc7"}, "`layer`: expected one of .*image, conv, top; received 'fc7'"),
        ({"unit": (0, 20)}, "`unit`: expected row and column of a map of 15x20"),
        ({"channel": 2}, "`channel`: expected 0 to 1 of layer 'top', received 2"),
        ({"patch": 0}, "`patch`"),
        ({"image": np.zeros((30, 40))}, r"`image`: expected shape \(H, W, C\)"),
    ],
)
def test_refuses(change, message):
    arguments = {"layer": "top", "image": np.zeros((30, 40, 3)), "unit": (0, 0)} | change
    with pytest.raises(ValueError, match=message):
        discrepancy_map(small_network(), **arguments)


def test_refuses_models_of_other_things():
    signal = keras.Input((None, 3))
    with pytest.raises(ValueError, match="Expected a model of images"):
        map_size(keras.Model(signal, layers.Dense(2, name="top")(signal)), "top", (3, 3))
