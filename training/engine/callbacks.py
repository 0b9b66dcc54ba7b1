"""Callbacks for the end of a batch and of an epoch."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import keras
import numpy as np

from ..utils.progress import ProgressBar
from .optimizers import averaged_weights

_LOGGER = logging.getLogger("keras_dpn")
_SHOWN = ("loss", "miou", "val_loss", "val_miou")  # of an epoch's scores


class TrainingDiverged(ValueError):
    """Raised if the loss or the weights become NaN or infinite.

    Args:
        message: what happened, and where.
        step: updates of the stage up to then.
        loss: mean over the epoch's steps up to then.
    """

    def __init__(self, message: str, step: int, loss: float) -> None:
        super().__init__(message)
        self.step = step
        self.loss = loss


class StopOnNaN(keras.callbacks.Callback):
    """Raise `TrainingDiverged` at the first batch whose loss is NaN or infinite.

    At the last batch of an epoch it also checks the weights and the optimizer's variables: no loss
    is computed after their update, before they are validated and saved.

    Args:
        stage: name of the stage, for the message.
    """

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss, optimizer = float((logs or {})["loss"]), self.model.optimizer
        is_last = batch + 1 == self.params["steps"]
        if keras.backend.backend() == "jax" and (is_last or not math.isfinite(loss)):
            self.model.jax_state_sync()  # the step's variables are outside of the model
        if not math.isfinite(loss):
            cause = f"the loss is {loss}"
        elif is_last and (path := first_not_finite([*self.model.weights, *optimizer.variables])):
            cause = f"{path} is NaN or infinite"
        else:
            return
        # With several devices these may be variables that float() doesn't convert.
        step = int(np.asarray(optimizer.iterations))
        rate = float(np.asarray(optimizer.learning_rate))
        raise TrainingDiverged(
            f"stage {self._stage}: {cause} at step {step} with learning rate {rate:.3g}", step, loss
        )


def first_not_finite(variables: Iterable[keras.Variable]) -> str | None:
    """Return the path of the first variable that contains NaN or an infinite value."""
    return next((v.path for v in variables if not np.isfinite(np.asarray(v)).all()), None)


class ValidateAverages(keras.callbacks.Callback):
    """Validate the moving averages of the weights if the optimiser has them."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._stack.enter_context(averaged_weights(self.model.optimizer))

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        self._stack.close()


class Steps(keras.callbacks.Callback):
    """Advance a progress bar by each step."""

    def __init__(self, bar: ProgressBar) -> None:
        super().__init__()
        self._bar = bar

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.advance()


class Epochs(keras.callbacks.Callback):
    """Log the scores of each epoch and the remaining time, and pass the scores on."""

    def __init__(
        self, stage: str, first: int, on_end: Callable[[int, dict[str, float], float], None]
    ) -> None:
        super().__init__()
        self._stage = stage
        self._first = first
        self._on_end = on_end
        self._started = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch_started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        now, done = time.monotonic(), epoch + 1 - self._first
        scores = {name: float(value) for name, value in (logs or {}).items()}
        self._on_end(epoch, scores, now - self._epoch_started)
        rest = 0 if self.model.stop_training else self.params["epochs"] - epoch - 1
        left = (now - self._started) / done * rest
        _LOGGER.info(
            "stage %s: epoch %d of %d, %s%s",
            self._stage,
            epoch + 1,
            self.params["epochs"],
            ", ".join(f"{name} {scores[name]:.4g}" for name in _SHOWN if name in scores),
            f", about {_readable(left)} left in this stage" if left else "",
        )


def _readable(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
