"""What happens at the end of a batch and of an epoch."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import keras

from training.optimizers import averaged_weights


class TrainingDiverged(ValueError):
    """The loss is not a number any more."""


class StopOnNaN(keras.callbacks.Callback):
    """Raise `TrainingDiverged` at the first batch whose loss is NaN or infinite."""

    def __init__(self, stage: str, last_checkpoint: Callable[[], Any]):
        super().__init__()
        self._stage = stage
        self._last_checkpoint = last_checkpoint

    def on_train_batch_end(self, batch, logs=None):
        if math.isfinite(float(logs["loss"])):
            return
        optimizer = self.model.optimizer
        raise TrainingDiverged(
            f"stage {self._stage}: the loss is {logs['loss']} at step "
            f"{int(optimizer.iterations)} with learning rate {float(optimizer.learning_rate):.3g}; "
            f"the last good checkpoint is {self._last_checkpoint()}. Lower the stage's "
            "learning_rate and --resume, or start anew."
        )


class ValidateAverages(keras.callbacks.Callback):
    """Validate the moving averages of the weights where the optimiser keeps them."""

    def __init__(self):
        super().__init__()
        self._stack = ExitStack()

    def on_test_begin(self, logs=None):
        self._stack.enter_context(averaged_weights(self.model.optimizer))

    def on_test_end(self, logs=None):
        self._stack.close()


class Epochs(keras.callbacks.Callback):
    """Tell how long a stage has still to go, and hand each epoch's logs on."""

    def __init__(
        self, stage: str, first: int, on_end: Callable[[int, dict[str, float], float], None]
    ):
        super().__init__()
        self._stage = stage
        self._first = first
        self._on_end = on_end
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        now, done = time.monotonic(), epoch + 1 - self._first
        self._on_end(epoch, {k: float(v) for k, v in logs.items()}, now - self._epoch_started)
        left = (now - self._started) / done * (self.params["epochs"] - epoch - 1)
        print(
            f"stage {self._stage}: epoch {epoch + 1} of {self.params['epochs']}, "
            f"about {_readable(left)} left",
            flush=True,
        )


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
