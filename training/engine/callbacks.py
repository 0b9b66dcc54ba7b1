"""What happens at the end of a batch and of an epoch."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import keras
import numpy as np

from .optimizers import averaged_weights


class TrainingDiverged(ValueError):
    """Raised where the loss or the weights become NaN or infinite.

    Args:
        message: what happened, and where.
        step: updates of the stage up to then.
        loss: mean over the epoch's steps up to then.
    """

    def __init__(self, message: str, step: int, loss: float):
        super().__init__(message)
        self.step = step
        self.loss = loss


class StopOnNaN(keras.callbacks.Callback):
    """Raise `TrainingDiverged` at the first batch whose loss is NaN or infinite.

    At the last batch of an epoch it looks at the weights and the optimizer's variables as well: no
    loss comes after their update, and what they are is validated and stored next.

    Args:
        stage: name of the stage, for the message.
    """

    def __init__(self, stage: str):
        super().__init__()
        self._stage = stage

    def on_train_batch_end(self, batch, logs=None):
        loss, optimizer = float(logs["loss"]), self.model.optimizer
        if not math.isfinite(loss):
            fault = f"the loss is {loss}"
        elif batch + 1 == self.params["steps"] and (
            odd := first_not_finite([*self.model.weights, *optimizer.variables])
        ):
            fault = f"{odd} is NaN or infinite"
        else:
            return
        # Of several devices these may be variables that Python's own conversions refuse.
        step = int(np.asarray(optimizer.iterations))
        rate = float(np.asarray(optimizer.learning_rate))
        raise TrainingDiverged(
            f"stage {self._stage}: {fault} at step {step} with learning rate {rate:.3g}", step, loss
        )


def first_not_finite(variables: Iterable[keras.Variable]) -> str | None:
    """Return the path of the first of some variables that holds NaN or an infinite value."""
    return next((v.path for v in variables if not np.isfinite(np.asarray(v)).all()), None)


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
