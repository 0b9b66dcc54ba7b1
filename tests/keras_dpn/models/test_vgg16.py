import keras
import numpy as np
import pytest

from keras_dpn.models import Preprocess, vgg16_backbone, vgg16_trunk
from tests.keras_dpn.support import (
    assert_close,
    picture,
    random,
    run_layer_test,
    to_numpy,
    weight_shapes,
    without_values,
)

CONVOLUTIONS = [
    *("b1_conv1", "b1_conv2", "b3_conv1", "b3_conv2", "b5_conv1", "b5_conv2", "b5_conv3"),
    *("b7_conv1", "b7_conv2", "b7_conv3", "b8_conv1", "b8_conv2", "b8_conv3"),
]


def backbone(**settings):
    def build():
        image = keras.Input((None, None, 3))
        return keras.Model(image, vgg16_backbone(image, **settings))

    return without_values(build)


def test_layers_follow_the_table():
    model = backbone()
    expected = [*CONVOLUTIONS, "b9", "b9_dropout", "b10"]
    for before, pool in [("b3_conv1", "b2_pool"), ("b5_conv1", "b4_pool"), ("b7_conv1", "b6_pool")]:
        expected.insert(expected.index(before), pool)
    assert list(model.output) == expected
    assert [layer.name for layer in model.layers[1:]] == expected


def test_kept_pools_and_average_pool():
    model = backbone(strides=(2, 2, 2, 1, 1), average_pool=True)
    names = list(model.output)
    assert names.index("b7_pool") == names.index("b7_conv3") + 1
    assert names[names.index("b8_conv3") + 1 :][:3] == ["b8_pool", "b8_average", "b9"]
    assert model.get_layer("b8_average").pool_size == (3, 3)
    assert model.get_layer("b8_average").strides == (1, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 9, 12])
def test_centered_pools_look_around_every_second_pixel(size):
    image = keras.Input((None, None, 3))
    maps = vgg16_backbone(image, width=0.001, fc6_kernel=1, pool_size=3, centered_pools=True)
    model = keras.Model(image, [maps["b1_conv2"], maps["b2_pool"]])
    x, pooled = (to_numpy(y)[0, ..., 0] for y in model(random(1, size, size, 3)))
    assert pooled.shape == (size // 2 + 1,) * 2
    for y, x_ in np.ndindex(pooled.shape):
        window = x[max(0, 2 * y - 1) : 2 * y + 2, max(0, 2 * x_ - 1) : 2 * x_ + 2]
        assert pooled[y, x_] == window.max()


def test_average_pool_divides_by_9_at_the_border_too():
    image = keras.Input((None, None, 3))
    maps = vgg16_backbone(image, width=0.001, strides=(None,) * 5, fc6_kernel=1, average_pool=True)
    model = keras.Model(image, [maps["b8_conv3"], maps["b8_average"]])
    x, averaged = (to_numpy(y)[0, ..., 0] for y in model(random(1, 4, 5, 3)))
    padded = np.pad(x, 1)
    expected = sum(padded[i : i + 4, j : j + 5] for i, j in np.ndindex(3, 3)) / 9
    assert_close(averaged, expected)


@pytest.mark.parametrize("pool_size", [2, 3])
def test_pools_of_stride_1_are_3x3(pool_size):
    model = backbone(strides=(2, 2, 2, 1, 1), pool_size=pool_size)
    pools = [model.get_layer(f"b{i}_pool") for i in (2, 4, 6, 7, 8)]
    assert [pool.pool_size[0] for pool in pools] == [pool_size] * 3 + [3, 3]
    assert [pool.strides[0] for pool in pools] == [2, 2, 2, 1, 1]


def test_dilations_and_fc6():
    settings = {"dilations": (1, 1, 1, 2, 4), "fc6_kernel": 4, "fc6_dilation": 8}
    default, own = backbone(), backbone(**settings)
    for name in CONVOLUTIONS:
        assert default.get_layer(name).dilation_rate[0] == (2 if name.startswith("b8") else 1)
        factor = {"b7": 2, "b8": 4}.get(name[:2], 1)
        assert own.get_layer(name).dilation_rate[0] == factor
    fc6 = [(m.get_layer("b9").kernel_size, m.get_layer("b9").dilation_rate) for m in (default, own)]
    assert fc6 == [((7, 7), (4, 4)), ((4, 4), (8, 8))]


@pytest.mark.parametrize(("width", "channels"), [(0.125, (8, 64, 128)), (0.001, (1, 1, 1))])
def test_width_and_dropout(width, channels):
    model = backbone(width=width, fc_width=1024, fc6_kernel=1, dropout=0.2)
    names = ("b1_conv1", "b8_conv3", "b10")
    assert tuple(model.get_layer(name).filters for name in names) == channels
    assert model.get_layer("b9_dropout").rate == 0.2


@pytest.mark.parametrize(("strides", "factor"), [((2, 2, 2, None, None), 8), ((2,) * 5, 32)])
def test_output_stride(strides, factor):
    model = backbone(strides=strides, fc6_kernel=1)
    shape = model.compute_output_shape((1, 100, 1, 3))["b10"]
    assert shape[1:3] == (-(-100 // factor), 1)


def test_convolutions_are_keras_applications_vgg16s_in_order():
    theirs = weight_shapes(lambda: keras.applications.VGG16(weights=None, include_top=False))
    ours = weight_shapes(backbone)
    assert list(theirs.values()) == list(ours.values())[: len(theirs)]
    assert [path.split("/")[-2] for path in ours if path.endswith("kernel")][:13] == CONVOLUTIONS


@pytest.mark.parametrize("settings", [{"strides": (2, 2, 2)}, {"dilations": (1,) * 6}])
def test_refuses_settings(settings):
    with pytest.raises(ValueError, match="`strides` and `dilations`: expected one for each of 5"):
        backbone(**settings)


def test_centered_pools_are_3x3():
    with pytest.raises(ValueError, match="`pool_size`: expected 3 with `centered_pools`, rec.* 2"):
        backbone(centered_pools=True)


def test_refuses_channels_first(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(
        ValueError, match="vgg16_backbone supports the image data format 'channels_la"
    ):
        backbone()


def test_preprocess_layer():
    run_layer_test(
        Preprocess,
        {},
        input_shape=(2, 4, 5, 3),
        expected_output_shape=(2, 4, 5, 3),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
    )


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_preprocess_gives_mean_free_bgr(dtype):
    image = np.array([[[[255, 0, 1]]]], dtype)
    expected = [[[[1 - 104.00699, 0 - 116.66877, 255 - 122.67892]]]]
    assert_close(Preprocess()(image), expected)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_preprocess_rounds_after_the_mean(policy):
    image = random(1, 2, 2, 3, low=254.0, high=255.0)
    out = Preprocess(dtype=policy)(image)
    expected = keras.ops.cast(Preprocess(dtype="float32")(image), policy[6:])
    assert keras.backend.standardize_dtype(out.dtype) == policy[6:]
    np.testing.assert_array_equal(
        *(to_numpy(keras.ops.cast(x, "float32")) for x in (out, expected))
    )


def test_preprocess_of_other_channels():
    """The channels keep their order; each has the mean over the colors' statistics."""
    image = picture(2, 3)[..., :2]
    assert_close(Preprocess()(image), image - np.mean([104.00699, 116.66877, 122.67892]), rtol=1e-4)
    assert_close(Preprocess("tf")(image), image / 127.5 - 1, atol=1e-5)


def test_preprocess_refuses_what_is_no_image():
    with pytest.raises(ValueError, match=r"shape \(B, H, W, C\) .*received shape \(1, 3, 4\)"):
        Preprocess()(np.zeros((1, 3, 4), "float32"))
    with pytest.raises(ValueError, match="`mode`"):
        Preprocess("keras")


def test_vgg16_backbone_was_called_vgg16_trunk():
    image = keras.Input((32, 32, 3))
    with pytest.warns(DeprecationWarning, match="`vgg16_trunk` .* Use `vgg16_backbone` instead"):
        maps = without_values(lambda: vgg16_trunk(image, width=0.001, fc6_kernel=1))
    assert list(maps)[-1] == "b10"
