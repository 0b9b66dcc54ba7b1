"""Optimisers with a learning rate a layer, and the papers' L2 penalty."""

import math
import re

import keras

from training.configs.base import StageConfig


class _LayerRates:
    """Mixin: a factor on the learning rate for each layer.

    `keras.optimizers.MultiOptimizer` does the same with one optimiser a group, but has no
    learning rate that a callback could log (keras 3.15.1).
    """

    def __init__(self, layer_rates: dict[str, float], **kwargs):
        super().__init__(**kwargs)
        self._layer_rates = {re.compile(pattern): rate for pattern, rate in layer_rates.items()}

    def build(self, variables):
        self._factors = [self.rate_factor(variable) for variable in variables]
        super().build(variables)

    def rate_factor(self, variable: keras.Variable) -> float:
        """The product of the factors whose pattern matches the variable's layer."""
        layer = variable.path.split("/")[-2]
        rates = (rate for pattern, rate in self._layer_rates.items() if pattern.fullmatch(layer))
        return math.prod(rates)

    def update_step(self, gradient, variable, learning_rate):
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


class LayerRatesSGD(_LayerRates, keras.optimizers.SGD):
    """SGD with momentum, a rate a layer and the papers' L2 penalty on kernels.

    Keras's own `weight_decay` is decoupled from the gradient.
    """

    def __init__(self, layer_rates: dict[str, float], l2_penalty: float = 0.0, **kwargs):
        super().__init__(layer_rates, **kwargs)
        self._l2_penalty = l2_penalty

    def build(self, variables):
        self._has_penalty = [is_kernel(variable) for variable in variables]
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        if self._l2_penalty and self._has_penalty[self._get_variable_index(variable)]:
            gradient = gradient + keras.ops.cast(self._l2_penalty * variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)


class LayerRatesAdamW(_LayerRates, keras.optimizers.AdamW):
    """AdamW with a rate a layer; only kernels decay."""


def is_kernel(variable: keras.Variable) -> bool:
    """Whether weight decay is meant for a variable: not for biases, nor for a random field's."""
    return variable.name == "kernel"


def build_optimizer(
    config: StageConfig, steps_per_epoch: int, variables: list[keras.Variable]
) -> keras.optimizers.Optimizer:
    """The optimiser of a stage, built for the variables that it trains."""
    rate = _schedule(config, steps_per_epoch)
    if config.optimizer == "sgd":
        optimizer = LayerRatesSGD(
            config.layer_rates,
            l2_penalty=config.weight_decay,
            learning_rate=rate,
            momentum=config.momentum,
            global_clipnorm=config.clip_norm,
        )
    else:
        optimizer = LayerRatesAdamW(
            config.layer_rates,
            learning_rate=rate,
            weight_decay=config.weight_decay,
            global_clipnorm=config.clip_norm,
        )
        optimizer.exclude_from_weight_decay([v for v in variables if not is_kernel(v)])
    optimizer.build(variables)
    return optimizer


def _schedule(config: StageConfig, steps_per_epoch: int):
    if config.schedule == "poly":
        return keras.optimizers.schedules.PolynomialDecay(
            config.learning_rate, config.epochs * steps_per_epoch, 0.0, power=config.power
        )
    if config.schedule == "step":
        return keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate, config.step_epochs * steps_per_epoch, 0.1, staircase=True
        )
    return config.learning_rate
