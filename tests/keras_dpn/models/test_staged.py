import re
import warnings

import keras
import numpy as np
import pytest

from keras_dpn import models
from keras_dpn.inference import Predictor
from keras_dpn.models import (
    DPN,
    FCN,
    DeepLab,
    Head,
    ModelTraits,
    ParseNet,
    PiecewiseCRF,
    SpatialTemporalDPN,
)
from keras_dpn.models.staged import StagedModel, check_input_shape
from tests.keras_dpn.support import (
    assert_close,
    direct_softmax,
    outputs,
    picture,
    run,
    to_numpy,
    without_values,
)

NETWORKS = (DPN, SpatialTemporalDPN, DeepLab, ParseNet, FCN, PiecewiseCRF)


class TwoHeads(StagedModel):
    def __init__(self, scale=2.0, input_shape=(None, None, 3), name="two"):
        config = {"scale": scale, "input_shape": input_shape, "name": name}
        image = keras.Input(input_shape)
        first = keras.layers.Rescaling(scale)(image)
        final = keras.layers.Rescaling(scale)(first)
        super().__init__(image, {"first": first, "final": final}, config)


def test_heads_config_and_output():
    model, ones = TwoHeads(scale=3.0), keras.ops.ones((1, 2, 2, 3))
    assert (model.name, model.scale, model.head_names) == ("two", 3.0, ("first", "final"))
    values = [float(m(ones)[0, 0, 0, 0]) for m in (model.head_model("first"), model)]
    assert values == [3.0, 9.0]
    assert model.head_model("first").name == "two_first"
    again = TwoHeads.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    with pytest.raises(ValueError, match=r"`head`: expected one of \['final', 'first'\]"):
        model.head_model("second")


def test_heads_have_titles():
    assert TwoHeads().heads == (Head("first", "first"), Head("final", "final prediction"))
    dpn = without_values(lambda: DPN(3, width=0.02, backbone="large_fov"))
    titles = ["unary term", "triple penalty", "label contexts", "final prediction"]
    assert [head.title for head in dpn.heads] == titles
    assert [head.name for head in dpn.heads] == list(dpn.head_names)


def test_traits_of_images_clips_and_other_models():
    assert models.traits(keras.Sequential()) == ModelTraits((), None, False)
    model = TwoHeads()
    assert models.traits(model) == ModelTraits(model.heads, None, False)
    assert models.traits(model).head_names == ("first", "final")
    for linking in ("flow", "static"):
        clips = without_values(
            lambda linking=linking: SpatialTemporalDPN(3, frames=5, **SMALL, linking=linking)
        )
        assert models.traits(clips) == ModelTraits(clips.heads, 5, linking == "flow")


def test_the_old_names_of_heads_work_and_say_so():
    model = TwoHeads()
    with pytest.warns(DeprecationWarning, match="`stage_names` .* Use `head_names`") as caught:
        assert model.stage_names == ("first", "final")
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="`stage_model` .* Use `head_model`"):
        assert model.stage_model("first").name == "two_first"
    with pytest.warns(DeprecationWarning, match="`has_stage` .* Use `has_head`"):
        assert model.has_stage("first") and not model.has_head("second")


def test_saving_reads_no_old_name(tmp_path):
    """Keras reads every attribute of a model that it saves or loads."""
    model = TwoHeads()
    with warnings.catch_warnings(record=True) as caught:  # Keras passes over what raises
        warnings.simplefilter("always")
        model.save_weights(tmp_path / "a.weights.h5")
        model.load_weights(tmp_path / "a.weights.h5")
        assert not [w for w in caught if "deprecated" in str(w.message)]
        assert model.stage_names
        assert [w for w in caught if "deprecated" in str(w.message)]


# === Weights of another network ===


class OneLayer(StagedModel):
    def __init__(self, width=2, layer="b1", name="one_layer"):
        image = keras.Input((None, None, 3))
        final = keras.layers.Conv2D(width, 1, bias_initializer="random_normal", name=layer)(image)
        super().__init__(image, {"final": final}, {"name": name})


def test_start_from_takes_the_weights_over():
    first, second = OneLayer(), OneLayer()
    second.start_from(first)
    for own, other in zip(second.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "b2"}, "`other`: .* same layers, but only one of the two has b1, b2"),
        ({"width": 3}, "`other`: its layer b1 has weights of other shapes"),
    ],
)
def test_start_from_refuses_other_layers_and_shapes(arguments, message):
    model = OneLayer()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.start_from(OneLayer(**arguments))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


# === Frozen networks ===

TINY = {"num_classes": 3, "width": 0.05}
SMALL = {"local_conv": {"window": 3}, "contexts": {"window": 3, "mixtures": 1}}
WITH_DROPOUT = {
    "DPN": lambda: DPN(**TINY, **SMALL, backbone="large_fov", global_context=True),
    "DPN with skips": lambda: DPN(
        **TINY, **SMALL, backbone={"name": "large_fov", "skips": ("conv3",)}
    ),
    "SpatialTemporalDPN": lambda: SpatialTemporalDPN(
        **TINY, **SMALL, backbone="large_fov", linking="static"
    ),
    "DeepLab": lambda: DeepLab(**TINY, multiscale=True),
    "ParseNet": lambda: ParseNet(**TINY),
    "FCN": lambda: FCN(**TINY, fc6_kernel=1),
}


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_frozen_networks_give_in_training_what_they_give_in_inference(name):
    model = WITH_DROPOUT[name]()
    image = picture(9, 13) if model.clip_frames is None else picture(3, 9, 13)
    for layer in model.layers:
        if layer.name.startswith("msc") and layer.name.endswith("scores"):
            layer.kernel.assign(layer.kernel + 0.1)  # branches begin with zeros
    dropouts = [layer for layer in model.layers if getattr(layer, "rate", 0)]
    assert len(dropouts) == (12 if name == "DeepLab" else 2)
    expected = to_numpy(model(image))
    assert not np.allclose(to_numpy(model(image, training=True)), expected, atol=1e-3)
    model.trainable = False
    np.testing.assert_array_equal(to_numpy(model(image, training=True)), expected)


# === Arguments ===


def test_these_are_all_networks():
    networks = {value for value in vars(models).values() if isinstance(value, type)}
    assert {value for value in networks if issubclass(value, StagedModel)} == set(NETWORKS)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("num_clases", r"did you mean `num_classes`\?"),
        ("inputs_shape", r"did you mean `input_shape`\?"),
        ("dtype", "expected num_classes, .*, input_shape, .*name"),
        ("trainable", "expected num_classes, .*, name"),
    ],
)
def test_networks_refuse_unknown_arguments(network, name, advice):
    message = f"^{network.__name__} got an unexpected argument `{name}`; "
    with pytest.raises(TypeError, match=message):
        network(**{name: 3})


def test_the_nearest_name_is_in_the_message():
    message = "DPN got an unexpected argument `tripple_window`; "
    message += "did you mean `local_conv={'window': ...}`?"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        DPN(num_classes=3, tripple_window=9)
    message = "TwoHeads got an unexpected argument `dtype`; expected scale, input_shape, name."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        TwoHeads(dtype="float16")


def test_every_way_to_a_network_refuses_them():
    with pytest.raises(TypeError, match="FCN got .* `skip`; did you mean `skips`?"):
        FCN.from_config({"num_classes": 3, "skip": ("fc7",)})
    dpn = without_values(lambda: DPN(3, width=0.02, backbone="large_fov"))
    with pytest.raises(TypeError, match="SpatialTemporalDPN got .* `frame`; did you mean `frames`"):
        SpatialTemporalDPN.from_dpn(dpn, frame=5)
    with pytest.raises(TypeError, match="PiecewiseCRF got .* `relation`; did you mean `relations`"):
        models.graph_size((64, 64), relation=("above",))


class WithOffset(TwoHeads):
    def __init__(self, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.offset = offset


def test_classes_that_pass_arguments_on():
    model = WithOffset(offset=1.0, scale=3.0, name="own")
    assert (model.offset, model.scale, model.name) == (1.0, 3.0, "own")
    with pytest.raises(TypeError, match="unexpected keyword argument 'scal'"):
        WithOffset(scal=3.0)


def test_keras_clones_networks():
    model = TwoHeads(scale=3.0, name="own")
    copy, ones = keras.models.clone_model(model), keras.ops.ones((1, 2, 2, 3))
    assert copy.name == "own" and copy.layers[1] is not model.layers[1]
    assert float(copy(ones)[0, 0, 0, 0]) == 9.0


@pytest.mark.parametrize("shape", [(3, 64, 64), (64, 64), (0, 64, 3), (64, 64, None)])
def test_input_shapes_that_are_no_image(shape):
    with pytest.raises(ValueError, match=r"`input_shape`: expected \(height, width, channels\)"):
        check_input_shape(shape)
    check_input_shape((None, 64, 3))


CHANNELS = {
    "dpn": lambda **settings: DPN(3, width=0.02, local_conv={"window": 3}, **settings),
    "deeplab": lambda **settings: DeepLab(num_classes=3, width=0.02, crf=CRF, **settings),
    "parsenet": lambda guide_channels=None, **settings: ParseNet(3, width=0.02, **settings),
    "fcn": lambda guide_channels=None, **settings: FCN(3, width=0.01, **settings),
}
CRF = {"num_iterations": 1}


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("channels", [1, 5])
def test_images_of_other_channels(name, channels, tmp_path):
    guide_channels = (3, 1) if channels == 5 else None
    shape = (None, None, channels)
    model = CHANNELS[name](input_shape=shape, guide_channels=guide_channels)
    image = np.concatenate([picture(9, 13), picture(9, 13, seed=1)], -1)[..., :channels]
    logits = run(model, image)
    assert logits.shape == (1, 9, 13, 3) and np.isfinite(logits).all()
    model.save(tmp_path / "model.keras")
    assert_close(run(keras.saving.load_model(tmp_path / "model.keras"), image), logits)
    assert_close(
        Predictor(model).probabilities(image[0])["final"], direct_softmax(logits)[0], rtol=1e-3
    )


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("name", ["dpn", "deeplab"])
def test_only_guide_channels_are_compared(name):
    """The unary term is the same wherever the image is constant to it."""
    model = CHANNELS[name](input_shape=(None, None, 4), guide_channels=[2, 0])
    guide = outputs(model, image := np.tile(picture(3, 4), 2)[..., :4], "guide")
    assert_close(guide, image[..., [2, 0]] / (32 if name == "dpn" else 1))


@pytest.mark.parametrize("guide_channels", [(), (0, 0), (3,), (-1,), "rgb", 1])
def test_guide_channels_are_checked(guide_channels):
    for name in ("dpn", "deeplab"):
        with pytest.raises(ValueError, match="`guide_channels`"):
            CHANNELS[name](guide_channels=guide_channels)


def test_a_config_is_a_copy():
    given = {"window": 5}
    model = without_values(lambda: DPN(num_classes=3, width=0.01, local_conv=given))
    given["window"] = 7
    model.get_config()["local_conv"]["window"] = 9
    assert model.get_config()["local_conv"]["window"] == 5


@pytest.mark.tensorflow_only
def test_arrays_in_a_config_are_saved(tmp_path):
    crf = {"compatibility": np.eye(3, dtype="float32"), "num_iterations": np.int64(1)}
    model = DeepLab(num_classes=3, width=0.01, crf=crf)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(run(again, picture(9, 13)), run(model, picture(9, 13)))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("width", [0, -1.0, "1"])
def test_widths_are_checked(network, width):
    with pytest.raises(ValueError, match="`width`: expected a positive number, received"):
        without_values(lambda: network(num_classes=3, width=width))
