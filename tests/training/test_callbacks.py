import keras
import numpy as np
import pytest

from training.callbacks import Epochs, StopOnNaN, TrainingDiverged


def fit(x, epochs, callback, rate=0.1):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(x, np.zeros((len(x), 1)), epochs=epochs, verbose=0, callbacks=[callback])


def test_a_loss_that_is_nan_names_step_rate_and_checkpoint():
    bad = np.array([[1.0], [np.nan]])
    with pytest.raises(TrainingDiverged) as diverged:
        fit(bad, 1, StopOnNaN("unary", lambda: "run/checkpoints/000007"))
    message = str(diverged.value)
    assert "stage unary: the loss is nan at step 1 with learning rate 0.1" in message
    assert "last good checkpoint is run/checkpoints/000007" in message


def test_finite_losses_pass():
    fit(np.ones((2, 1)), 1, StopOnNaN("unary", lambda: None))


def test_epochs_hands_logs_on_and_tells_the_time(capsys):
    seen = []
    fit(np.ones((2, 1)), 3, Epochs("triple", 0, lambda *args: seen.append(args)))
    assert [epoch for epoch, _, _ in seen] == [0, 1, 2]
    assert all("loss" in logs and seconds >= 0 for _, logs, seconds in seen)
    assert "stage triple: epoch 3 of 3, about 0 s left" in capsys.readouterr().out
