import keras
import pytest

from keras_dpn.models.staged import StagedModel, check_input_shape


class TwoStages(StagedModel):
    def __init__(self, scale=2.0, input_shape=(None, None, 3), name="two", **kwargs):
        config = {"scale": scale, "input_shape": input_shape, "name": name}
        image = keras.Input(input_shape)
        first = keras.layers.Rescaling(scale)(image)
        final = keras.layers.Rescaling(scale)(first)
        super().__init__(image, {"first": first, "final": final}, config, **kwargs)


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


@pytest.mark.parametrize("shape", [(3, 64, 64), (64, 64), (0, 64, 3), (64, 64, 1)])
def test_input_shapes_that_are_no_image(shape):
    with pytest.raises(ValueError, match=r"`input_shape`: expected \(height, width, 3\), received"):
        check_input_shape(shape)
    check_input_shape((None, 64, 3))
