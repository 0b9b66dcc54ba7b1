"""Optimizers with a learning rate per layer, the papers' L2 penalty and accumulated gradients."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_dpn.typing import Tensor

from ..configs.schema import StageConfig

Schedule: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


# Mixins of optimizers; Keras has no types.
_Mixin: Any = keras.optimizers.Optimizer if TYPE_CHECKING else object


class _LayerRates(_Mixin):
    """Mixin for a factor on the learning rate of each layer.

    `keras.optimizers.MultiOptimizer` does the same with one optimizer per group, but has no
    learning rate that a callback could log (keras 3.15.1).
    """

    def __init__(self, layer_rates: dict[str, float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._layer_rates = {re.compile(pattern): rate for pattern, rate in layer_rates.items()}

    def build(self, variables: list[keras.Variable]) -> None:
        self._factors = [self.rate_factor(variable) for variable in variables]
        super().build(variables)

    def rate_factor(self, variable: keras.Variable) -> float:
        """Return the product of the factors whose pattern matches the variable's layer."""
        layer = variable.path.split("/")[-2]
        rates = (rate for pattern, rate in self._layer_rates.items() if pattern.fullmatch(layer))
        return math.prod(rates)

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor
    ) -> None:
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


class _Accumulation(_Mixin):
    """Mixin for updates by the mean gradient of several steps.

    `iterations`, and therefore schedules, count updates. Keras's own `gradient_accumulation_steps`
    lets schedules count steps, and MirroredStrategy refuses it on CPUs (keras 3.15.1).
    """

    def __init__(self, accumulate: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._accumulate = accumulate

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        if self._accumulate > 1:
            self._steps = self.add_variable((), dtype="int32", name="steps")
            self._sums = self.add_optimizer_variables(variables, "gradient_sum")

    def apply(
        self, grads: list[Tensor], trainable_variables: list[keras.Variable] | None = None
    ) -> Tensor:
        if self._accumulate == 1:
            return super().apply(grads, trainable_variables)
        if keras.backend.backend() != "tensorflow":
            return self._select_update(grads, trainable_variables)
        # The condition must enclose the synchronisation of devices, not the other way round.
        replica = tf.distribute.get_replica_context()
        return replica.merge_call(self._add_or_update, args=(grads, trainable_variables))

    def _add_or_update(
        self,
        strategy: tf.distribute.Strategy,
        grads: list[Tensor],
        variables: list[keras.Variable] | None,
    ) -> None:
        each = strategy.extended.call_for_each_replica
        self._steps.assign_add(1)
        ops.cond(
            ops.equal(self._steps % self._accumulate, 0),
            lambda: each(self._update, (grads, variables)),
            lambda: each(self._add, (grads,)),
        )

    def _select_update(self, grads: list[Tensor], variables: list[keras.Variable] | None) -> Tensor:
        # JAX has no conditions with side effects: compute each update, keep every n-th one.
        self._steps.assign_add(1)
        is_update = ops.equal(self._steps % self._accumulate, 0)
        sums = [total + gradient for total, gradient in zip(self._sums, grads, strict=True)]
        own = {id(variable) for variable in (self._steps, *self._sums)}
        updated = [v for v in (*self._trainable_variables, *self.variables) if id(v) not in own]
        before = [ops.convert_to_tensor(variable) for variable in updated]
        iterations = super().apply([total / self._accumulate for total in sums], variables)
        for variable, value in zip(updated, before, strict=True):
            variable.assign(ops.where(is_update, ops.convert_to_tensor(variable), value))
        for variable, total in zip(self._sums, sums, strict=True):
            variable.assign(ops.where(is_update, ops.zeros_like(total), total))
        return iterations

    def _add(self, grads: list[Tensor]) -> None:
        # Each device has its own sum; the update adds them up.
        self._backend_increment_gradient_accumulators(grads, self._sums)

    def _update(self, grads: list[Tensor], variables: list[keras.Variable] | None) -> None:
        pairs = zip(grads, self._sums, strict=True)
        super().apply(
            [(gradient + total) / self._accumulate for gradient, total in pairs], variables
        )
        self._add([-total for total in self._sums])

    def forget_steps(self) -> None:
        if self._accumulate > 1:
            for variable in (self._steps, *self._sums):
                variable.assign(ops.zeros(variable.shape, variable.dtype))


class LayerRatesSGD(_Accumulation, _LayerRates, keras.optimizers.SGD):
    """SGD with momentum, a rate per layer and the papers' L2 penalty on kernels.

    Keras's own `weight_decay` is decoupled from the gradient.
    """

    def __init__(self, l2_penalty: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._l2_penalty = l2_penalty

    def build(self, variables: list[keras.Variable]) -> None:
        self._has_penalty = [is_kernel(variable) for variable in variables]
        super().build(variables)

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor
    ) -> None:
        if self._l2_penalty and self._has_penalty[self._get_variable_index(variable)]:
            gradient = gradient + keras.ops.cast(self._l2_penalty * variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)


class LayerRatesAdamW(_Accumulation, _LayerRates, keras.optimizers.AdamW):
    """AdamW with a rate per layer; only kernels decay."""


def is_kernel(variable: keras.Variable) -> bool:
    """Return whether weight decay applies to a variable: not to biases or a random field's."""
    return variable.name == "kernel"


def build_optimizer(
    config: StageConfig, steps_per_epoch: int, variables: list[keras.Variable]
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a stage, built for the variables that it trains."""
    settings: dict[str, Any] = {
        "layer_rates": config.layer_rates,
        "accumulate": config.accumulate,
        "learning_rate": _schedule(config, steps_per_epoch // config.accumulate),
        "global_clipnorm": config.clip_norm,
        "use_ema": config.ema_momentum is not None,
        "ema_momentum": config.ema_momentum or 0.0,
    }
    if config.optimizer == "sgd":
        optimizer = LayerRatesSGD(
            l2_penalty=config.weight_decay, momentum=config.momentum, **settings
        )
    else:
        optimizer = LayerRatesAdamW(weight_decay=config.weight_decay, **settings)
        optimizer.exclude_from_weight_decay([v for v in variables if not is_kernel(v)])
    optimizer.build(variables)
    return optimizer


def forget_steps(optimizer: keras.optimizers.Optimizer) -> None:
    """Discard gradients accumulated since the last update of an optimizer of `build_optimizer`.

    In half precision a step whose gradients overflow does not count, so that an epoch may end in
    the middle of an update; checkpoints don't contain the sums of the devices.
    """
    getattr(
        optimizer, "inner_optimizer", optimizer
    ).forget_steps()  # Keras wraps it to scale losses


@contextmanager
def averaged_weights(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Replace the weights by their moving averages, if there are any."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.use_ema:
        yield
        return
    # Keras's SwapEMAWeights swaps by sums and differences, which changes the weights' last digits.
    weights, averages = optimizer._trainable_variables, optimizer._model_variables_moving_average
    kept = [np.array(weight) for weight in weights]
    for weight, average in zip(weights, averages, strict=True):
        # As an array: JAX's steps reuse the memory of the weights, which would be the average's.
        weight.assign(np.array(average))
    try:
        yield
    finally:
        for weight, value in zip(weights, kept, strict=True):
            weight.assign(value)


@keras.saving.register_keras_serializable(package="keras_dpn_training")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule multiplied by a factor that rises from 1 / steps to 1 in `steps` steps."""

    def __init__(self, schedule: Schedule, steps: int) -> None:
        super().__init__()
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step: Tensor) -> Tensor:
        rate = self.schedule(step) if callable(self.schedule) else self.schedule
        done = (ops.cast(step, "float32") + 1) / self.steps
        return rate * ops.minimum(done, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"schedule": self.schedule, "steps": self.steps}


def _schedule(config: StageConfig, updates_per_epoch: int) -> WarmUp:
    # A constant rate, too: a number would become one of the optimizer's variables, and a
    # checkpoint would restore the old one.
    return WarmUp(_schedule_after_warm_up(config, updates_per_epoch), max(1, config.warmup_steps))


def _schedule_after_warm_up(config: StageConfig, updates_per_epoch: int) -> Schedule:
    if config.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            config.learning_rate, config.epochs * updates_per_epoch
        )
    if config.schedule == "poly":
        return keras.optimizers.schedules.PolynomialDecay(
            config.learning_rate, config.epochs * updates_per_epoch, 0.0, power=config.power
        )
    if config.schedule == "step":
        return keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate, config.step_epochs * updates_per_epoch, 0.1, staircase=True
        )
    if config.schedule == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate, updates_per_epoch, config.decay, staircase=True
        )
    return config.learning_rate
