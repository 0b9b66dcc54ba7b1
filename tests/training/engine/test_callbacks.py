import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.configs.schema import StageConfig
from training.engine.callbacks import Epochs, StopOnNaN, TrainingDiverged, ValidateAverages
from training.engine.optimizers import averaged_weights, build_optimizer


def fit(x, epochs, callback, rate=0.1):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(x, np.zeros((len(x), 1)), epochs=epochs, verbose=0, callbacks=[callback])


BAD = np.array([[1.0], [np.nan]])


def test_a_loss_that_is_nan_names_step_and_rate():
    with pytest.raises(TrainingDiverged) as diverged:
        fit(BAD, 1, StopOnNaN("unary"))
    message = str(diverged.value)
    assert message == "stage unary: the loss is nan at step 1 with learning rate 0.1"
    assert diverged.value.step == 1 and math.isnan(diverged.value.loss)


def test_the_step_of_several_devices_is_a_number():
    with (
        tf.distribute.MirroredStrategy(["CPU:0"]).scope(),
        pytest.raises(TrainingDiverged, match="nan at step 1 with learning rate 0.1"),
    ):
        fit(BAD, 1, StopOnNaN("unary"))


def test_weights_are_looked_at_where_an_epoch_ends():
    """The loss is that of the weights before their update."""
    with pytest.raises(TrainingDiverged, match="dense.*/kernel is NaN or infinite at step 1 with"):
        fit(np.ones((2, 1)), 1, StopOnNaN("unary"), rate=float("inf"))


def test_finite_losses_pass():
    fit(np.ones((2, 1)), 1, StopOnNaN("unary"))


def test_averages_are_validated_and_weights_go_on():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    config = StageConfig(epochs=3, learning_rate=0.1, ema_momentum=0.5)
    optimizer = build_optimizer(config, 1, model.trainable_variables)
    model.compile(optimizer, "mse")
    x, y, found = np.ones((4, 1)), np.zeros((4, 1)), []

    class Compare(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.weights = model.get_weights()

        def on_epoch_end(self, epoch, logs=None):
            for before, after in zip(self.weights, model.get_weights(), strict=True):
                np.testing.assert_array_equal(before, after)
            with averaged_weights(optimizer):
                found.append((logs["val_loss"], np.mean((model(x) - y) ** 2)))

    callbacks = [ValidateAverages(), Compare()]
    model.fit(x, y, epochs=3, validation_data=(x, y), verbose=0, callbacks=callbacks)
    for validated, expected in found:
        assert validated == pytest.approx(expected, rel=1e-6)
    assert len({loss for loss, _ in found}) == 3


def test_epochs_hands_logs_on_and_tells_the_time(messages):
    seen = []
    fit(np.ones((2, 1)), 3, Epochs("triple", 0, lambda *args: seen.append(args)))
    assert [epoch for epoch, _, _ in seen] == [0, 1, 2]
    assert all("loss" in logs and seconds >= 0 for _, logs, seconds in seen)
    *_, before, last = messages().splitlines()
    assert before.startswith("stage triple: epoch 2 of 3, loss ")
    assert before.endswith(" s left in this stage")
    assert last == f"stage triple: epoch 3 of 3, loss {seen[-1][1]['loss']:.4g}"
