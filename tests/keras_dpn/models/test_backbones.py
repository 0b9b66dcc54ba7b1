import json

import keras
import numpy as np
import pytest
from keras import layers

from keras_dpn.export import export
from keras_dpn.models import DPN, FCN, DeepLab, ParseNet, SpatialTemporalDPN, load_pretrained
from tests.keras_dpn.support import (
    assert_close,
    check_training_reaches_every_weight,
    outputs,
    picture,
    run,
    sizes_to_run,
    tiny_backbone,
    to_numpy,
    without_values,
)

TENSORFLOW = pytest.mark.tensorflow_only
APPLICATIONS = ["ResNet50V2", "MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny"]
DPN_SETTINGS = {
    "width": 0.02,
    "local_conv": {"window": 4},
    "contexts": {"window": 3, "mixtures": 2, "noise": 0.3},
}


def slim(name):
    """A network of keras.applications with an eighth of its channels."""
    build = getattr(keras.applications, name)
    model = without_values(lambda: build(include_top=False, weights=None))

    def slimmer(layer):
        if isinstance(layer, keras.Sequential):
            return keras.Sequential([slimmer(x) for x in layer.layers], name=layer.name)
        config = layer.get_config()
        for key in ("filters", "units", "projection_dim", "groups"):
            if key in config:
                config[key] = max(1, config[key] // 8)
        if "target_shape" in config:
            config["target_shape"] = (1, 1, config["target_shape"][-1] // 8)
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=slimmer)


def dpn(model=None, **settings):
    group = {"model": model or tiny_backbone(), "fc_width": 200, **settings.pop("backbone", {})}
    return DPN(3, backbone=group, **DPN_SETTINGS, **settings)


NETWORKS = {
    "dpn": lambda model: DPN(3, backbone=model, **DPN_SETTINGS),
    "deeplab": lambda model: DeepLab("4x4", 3, multiscale=True, width=0.02, backbone=model),
    "parsenet": lambda model: ParseNet(3, width=0.02, backbone=model),
    "fcn": lambda model: FCN(
        3, ("pool6", "fc7", "conv5", "conv4", "conv3"), width=0.02, backbone=model
    ),
}


@pytest.mark.parametrize("name", [*NETWORKS])
def test_networks_at_any_size_saved_and_loaded(name, tmp_path):
    source = tiny_backbone()
    model = NETWORKS[name](source)
    nested = model.get_layer("backbone")
    for ours, theirs in zip(nested.get_weights(), source.get_weights(), strict=True):
        assert_close(ours, theirs)
    assert_close(nested.get_layer("conv0").kernel, to_numpy(source.get_layer("conv0").kernel))
    for size in sizes_to_run((1, 1), (17, 30)):
        for head in model.head_names:
            logits = run(model.head_model(head), image := picture(*size))
            assert logits.shape == (1, *size, 3)
            assert np.isfinite(logits).all()
    assert json.dumps(model.get_config())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.backbone["model"] == model.backbone["model"] == source.to_json()
    assert_close(run(loaded, image), run(model, image))


@TENSORFLOW
def test_for_clips(tmp_path):
    model = SpatialTemporalDPN(3, linking="static", backbone=tiny_backbone(), **DPN_SETTINGS)
    clip = picture(3, 13, 9)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(run(loaded, clip), run(model, clip))
    images = DPN(3, backbone=tiny_backbone(), **DPN_SETTINGS)
    started = SpatialTemporalDPN.from_dpn(images, linking="static")
    assert_close(
        to_numpy(started.get_layer("backbone").get_layer("conv3").kernel),
        to_numpy(images.get_layer("backbone").get_layer("conv3").kernel),
    )


@pytest.mark.parametrize(
    ("settings", "strides", "stride"),
    [
        ({}, (2, 2, 2, 2, 2), 8),
        ({"output_stride": 16}, (2, 2, 2, 2, 2), 16),
        ({"output_stride": 16, "skips": ("conv4", "conv2")}, (2, 2, 2, 2, 2), 2),
        ({}, (2, 2, 1), 4),
        ({"skips": ("conv3",)}, (4, 2, 2), 4),
    ],
)
def test_grid_of_the_unary_term(settings, strides, stride):
    model = without_values(lambda: dpn(tiny_backbone(strides), backbone=settings))
    shape = keras.Model(model.input, model.get_layer("b11").output).compute_output_shape(
        (1, 37, 50, 3)
    )
    assert shape == (1, -(-37 // stride), -(-50 // stride), 3)


def test_strides_are_dilations_of_the_next_layers():
    model = without_values(lambda: dpn(tiny_backbone()))
    nested = model.get_layer("backbone")
    convolutions = [nested.get_layer(f"conv{i}") for i in range(5)]
    assert [conv.strides[0] for conv in convolutions] == [2, 2, 2, 1, 1]
    assert [conv.dilation_rate[0] for conv in convolutions] == [1, 1, 1, 1, 2]
    assert model.get_layer("b9").dilation_rate == (12, 12)
    assert model.get_layer("b9").kernel_size == (3, 3)


def test_fc6_is_an_argument():
    settings = {"name": "vgg16", "fc_width": 100, "output_stride": 16}
    b9 = without_values(lambda: dpn(backbone=settings)).get_layer("b9")
    assert (b9.kernel_size, b9.dilation_rate, b9.filters) == ((7, 7), (2, 2), 2)


def test_training_reaches_every_weight():
    keras.utils.set_random_seed(1)
    skips = {"output_stride": 16, "skips": ("conv4", "conv2"), "skip_width": 800}
    check_training_reaches_every_weight(dpn(backbone=skips, dropout=0.0, pairwise_stride=2))


@TENSORFLOW
def test_a_padded_image_repeats_its_border():
    model, image = dpn(tiny_backbone(), pairwise=None, dropout=0.0), picture(17, 30)
    whole = np.pad(image, [(0, 0), (0, 15), (0, 2), (0, 0)], "edge")
    x, y = (outputs(model, i, "backbone_output_cells") for i in (image, whole))
    assert x.shape == (1, 3, 4, 8)
    assert_close(x, y[:, :3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "preprocessing", "mode"),
    [
        ("resnet50", "auto", "caffe"),
        ("resnet50v2", "auto", "tf"),
        ("mobilenet_1.00_224", "auto", "tf"),
        ("MobilenetV3small", "auto", None),
        ("densenet121", "auto", "torch"),
        ("mine", "auto", None),
        ("mine", "torch", "torch"),
        ("resnet50v2", "none", None),
    ],
)
def test_preprocessing_is_the_backbones(name, preprocessing, mode):
    model = dpn(tiny_backbone(name=name), backbone={"preprocessing": preprocessing})
    x, image = model.get_layer("preprocess"), picture(2, 3)
    assert x.mode == mode
    expected = image
    if mode:
        utils = keras.applications.imagenet_utils
        expected = utils.preprocess_input(image.copy(), "channels_last", mode)
    assert_close(x(image), expected, rtol=1e-5, atol=1e-2)


@TENSORFLOW
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_computes_in_the_networks_precision(policy):
    source = tiny_backbone()
    wide, image = dpn(source), picture(33, 50)
    keras.config.set_dtype_policy(policy)
    model = dpn(source)
    assert model.get_layer("backbone").get_layer("conv3").compute_dtype == policy[6:]
    model.set_weights(wide.get_weights())
    assert_close(run(model, image), run(wide, image), rtol=0, atol=0.1)


@TENSORFLOW
def test_other_classes_keep_the_backbones_weights(tmp_path):
    trained = dpn()
    trained.save(tmp_path / "model.keras")
    model = DPN(4, backbone=trained.backbone, **DPN_SETTINGS)
    report = load_pretrained(model, tmp_path / "model.keras")
    assert {name.split("/")[0] for name in report.left} == {"b11", "b13"}
    for ours, theirs in zip(
        model.get_layer("backbone").weights, trained.get_layer("backbone").weights, strict=True
    ):
        assert_close(ours, to_numpy(theirs))


def two_inputs():
    a, b = (keras.Input((None, None, 3)) for _ in range(2))
    return keras.Model([a, b], layers.Add()([a, b]))


class Subclass(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (two_inputs, "from one image to one map"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten()]), "include_top"),
        (Subclass, "expected a functional"),
        (lambda: tiny_backbone((2, 2)), None),
    ],
)
def test_models_that_are_no_backbones(model, message):
    if message is None:
        assert without_values(lambda: ParseNet(3, width=0.02, backbone=model()))
        return
    for network in (DPN, DeepLab, ParseNet, FCN):
        with pytest.raises(ValueError, match=message):
            network(num_classes=3, width=0.02, backbone=model())


def test_errors():
    with pytest.raises(ValueError, match="no map of stride 2"):
        dpn(tiny_backbone((4, 2, 2)), backbone={"skips": ("conv2",)})
    with pytest.raises(ValueError, match="keep_pools"):
        dpn(backbone={"keep_pools": True})
    with pytest.raises(ValueError, match="preprocessing"):
        dpn(backbone={"preprocessing": "keras"})
    with pytest.raises(ValueError, match="padding"):
        FCN(3, padding=100, backbone=tiny_backbone())
    with pytest.raises(ValueError, match="`backbone`"):
        ParseNet(3, backbone="large_fov")
    with pytest.raises(TypeError, match="output_stride"):
        ParseNet(3, backbone={"model": tiny_backbone(), "output_stride": 8})


@TENSORFLOW
@pytest.mark.parametrize("name", APPLICATIONS)
def test_families_of_keras_applications(name, tmp_path):
    source = slim(name)
    model = dpn(source, pairwise_stride=4)
    # In one go: Keras compiles each of ConvNeXt's convolutions by itself on a CPU.
    heads = keras.Model(model.input, [model.head_model(head).output for head in model.head_names])
    for logits in run(heads, picture(40, 56)):
        assert logits.shape == (1, 40, 56, 3) and np.isfinite(logits).all()
    nested = model.get_layer("backbone")
    assert nested.compute_output_shape((1, 64, 96, 3))[-1][1:3] == (8, 12)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))


@TENSORFLOW
def test_exports(tmp_path):
    model = dpn(slim("MobileNetV3Small"), pairwise_stride=4)
    assert export(model, tmp_path / "exported").is_dir()
