import keras
import numpy as np
import pytest

from keras_dpn import layers
from tests.keras_dpn.support import run_layer_test, to_numpy


@pytest.mark.parametrize(
    "settings", [{"rate": 0.2}, {"rate": 0.5, "noise_shape": (2, 1), "seed": 3}]
)
@pytest.mark.parametrize("trainable", [True, False])
def test_layer(settings, trainable):
    run_layer_test(
        layers.Dropout,
        {**settings, "trainable": trainable},
        input_shape=(2, 3),
        call_kwargs={"training": True},
        expected_output_shape=(2, 3),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=1,
        supports_masking=True,
        assert_built_after_instantiation=True,
    )


def test_drops_as_keras_does():
    x = np.ones((4, 50), "float32")
    for training in (True, False, None):
        theirs, ours = (
            to_numpy(module.Dropout(0.5, seed=1)(x, training=training))
            for module in (keras.layers, layers)
        )
        np.testing.assert_array_equal(ours, theirs)
        assert set(np.unique(ours)) == ({0.0, 2.0} if training else {1.0})


def test_a_frozen_one_passes_its_input_on():
    layer, x = layers.Dropout(0.5), np.ones((4, 50), "float32")
    for trainable, values in [(False, {1.0}), (True, {0.0, 2.0}), (False, {1.0})]:
        layer.trainable = trainable
        assert set(np.unique(to_numpy(layer(x, training=True)))) == values
    again = layers.Dropout.from_config(layer.get_config())
    assert (again.rate, again.trainable) == (0.5, False)


@pytest.mark.parametrize("frozen", ["layer", "model"])
def test_what_learns_behind_a_frozen_one_sees_what_inference_sees(frozen):
    inputs = keras.Input((50,))
    dropout = layers.Dropout(0.9)
    inner = keras.Model(inputs, dropout(keras.layers.Dense(50, "relu")(inputs)))
    (dropout if frozen == "layer" else inner).trainable = False
    model = keras.Sequential([keras.Input((50,)), inner, keras.layers.Dense(1)])
    x, y = np.ones((4, 50), "float32"), np.ones((4, 1), "float32")
    model.compile(keras.optimizers.SGD(0.0), "mse")
    expected = model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(model.fit(x, y, verbose=0).history["loss"], [expected], rtol=1e-5)
    dropout.trainable = inner.trainable = True
    model.compile(keras.optimizers.SGD(0.0), "mse")
    assert abs(model.fit(x, y, verbose=0).history["loss"][0] / expected - 1) > 0.01


def test_stands_in_for_keras_own_in_a_file(tmp_path):
    """Files from when the networks had Keras's dropout call this one's place the same."""
    theirs, ours = (
        keras.Sequential(
            [keras.Input((5,)), module.Dropout(0.5), keras.layers.Dense(2), module.Dropout(0.5)]
        )
        for module in (keras.layers, layers)
    )
    theirs.save_weights(tmp_path / "model.weights.h5")
    ours.load_weights(tmp_path / "model.weights.h5")
    x = np.ones((1, 5), "float32")
    np.testing.assert_array_equal(*(to_numpy(model(x)) for model in (ours, theirs)))


def test_refuses_rates():
    with pytest.raises(ValueError, match="`rate`.*1.5"):
        layers.Dropout(1.5)
