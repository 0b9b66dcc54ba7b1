import re

import keras
import numpy as np
import pytest

from keras_dpn import models
from keras_dpn.models import DPN, FCN, DeepLab, ParseNet, PiecewiseCRF, SpatialTemporalDPN
from keras_dpn.models.staged import StagedModel, check_input_shape
from tests.keras_dpn.support import picture, to_numpy, without_values

NETWORKS = (DPN, SpatialTemporalDPN, DeepLab, ParseNet, FCN, PiecewiseCRF)


class TwoStages(StagedModel):
    def __init__(self, scale=2.0, input_shape=(None, None, 3), name="two"):
        config = {"scale": scale, "input_shape": input_shape, "name": name}
        image = keras.Input(input_shape)
        first = keras.layers.Rescaling(scale)(image)
        final = keras.layers.Rescaling(scale)(first)
        super().__init__(image, {"first": first, "final": final}, config)


def test_stages_config_and_output():
    model, ones = TwoStages(scale=3.0), keras.ops.ones((1, 2, 2, 3))
    assert (model.name, model.scale, model.stage_names) == ("two", 3.0, ("first", "final"))
    values = [float(m(ones)[0, 0, 0, 0]) for m in (model.stage_model("first"), model)]
    assert values == [3.0, 9.0]
    assert model.stage_model("first").name == "two_first"
    again = TwoStages.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    with pytest.raises(ValueError, match=r"`stage`: expected one of \['final', 'first'\]"):
        model.stage_model("second")


# === Frozen networks ===

TINY = {"num_classes": 3, "width": 0.05}
SMALL = {"trunk": "large_fov", "triple_window": 3, "context_window": 3, "mixtures": 1}
WITH_DROPOUT = {
    "DPN": lambda: DPN(**TINY, **SMALL, global_context=True),
    "DPN with skips": lambda: DPN(**TINY, **SMALL, skips=("conv3",)),
    "SpatialTemporalDPN": lambda: SpatialTemporalDPN(**TINY, **SMALL, linking="static"),
    "DeepLab": lambda: DeepLab(**TINY, multiscale=True),
    "ParseNet": lambda: ParseNet(**TINY),
    "FCN": lambda: FCN(**TINY, fc6_kernel=1),
}


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_frozen_networks_give_in_training_what_they_give_in_inference(name):
    model = WITH_DROPOUT[name]()
    clip = isinstance(model, SpatialTemporalDPN)
    image = picture(3, 9, 13) if clip else picture(9, 13)
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
    message = "DPN got an unexpected argument `tripple_window`; did you mean `local_conv={'window': ...}`?"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        DPN(num_classes=3, tripple_window=9)
    message = "TwoStages got an unexpected argument `dtype`; expected scale, input_shape, name."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        TwoStages(dtype="float16")


def test_every_way_to_a_network_refuses_them():
    with pytest.raises(TypeError, match="FCN got .* `tap`; did you mean `taps`?"):
        FCN.from_config({"num_classes": 3, "tap": ("fc7",)})
    dpn = without_values(lambda: DPN(3, width=0.02, trunk="large_fov"))
    with pytest.raises(TypeError, match="SpatialTemporalDPN got .* `frame`; did you mean `frames`"):
        SpatialTemporalDPN.from_dpn(dpn, frame=5)
    with pytest.raises(TypeError, match="PiecewiseCRF got .* `relation`; did you mean `relations`"):
        models.graph_size((64, 64), relation=("above",))


class WithOffset(TwoStages):
    def __init__(self, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.offset = offset


def test_classes_that_pass_arguments_on():
    model = WithOffset(offset=1.0, scale=3.0, name="own")
    assert (model.offset, model.scale, model.name) == (1.0, 3.0, "own")
    with pytest.raises(TypeError, match="unexpected keyword argument 'scal'"):
        WithOffset(scal=3.0)


def test_keras_clones_networks():
    model = TwoStages(scale=3.0, name="own")
    copy, ones = keras.models.clone_model(model), keras.ops.ones((1, 2, 2, 3))
    assert copy.name == "own" and copy.layers[1] is not model.layers[1]
    assert float(copy(ones)[0, 0, 0, 0]) == 9.0


@pytest.mark.parametrize("shape", [(3, 64, 64), (64, 64), (0, 64, 3), (64, 64, 1)])
def test_input_shapes_that_are_no_image(shape):
    with pytest.raises(ValueError, match=r"`input_shape`: expected \(height, width, 3\), received"):
        check_input_shape(shape)
    check_input_shape((None, 64, 3))
