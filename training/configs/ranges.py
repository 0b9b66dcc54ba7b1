"""The ranges of a stage's settings."""

import math
import operator
import re
from collections.abc import Iterator
from typing import Any

_FROM_0 = (
    # A stage with 0 epochs and 0 steps is left out.
    *("epochs", "steps", "patience"),
    *("learning_rate", "power", "momentum", "weight_decay", "warmup_steps"),
    *("loss.class_weight_power", "loss.class_weight_cap", "loss.unary"),
)
_FROM_1 = ("accumulate", "batch_size", "step_epochs")


def problems(config: Any, option: str) -> Iterator[str]:
    """Yield the errors in the settings of a stage that is trained; the engine checks its losses.

    Args:
        config: a `StageConfig`, whose module imports this one.
        option: their name on the command line, for messages.
    """

    def expected(name: str, values: str) -> str:
        received = operator.attrgetter(name)(config)
        return f"expected {option}.{name.replace('_', '-')} {values}, received {received!r}"

    for minimum, names in ((0, _FROM_0), (1, _FROM_1)):
        for name in names:
            value = operator.attrgetter(name)(config)
            if value is not None and not minimum <= value < math.inf:
                yield expected(name, f"from {minimum} up")
    if config.ema_momentum is not None and not 0 < config.ema_momentum < 1:
        yield expected("ema_momentum", "in (0, 1)")
    if config.clip_norm is not None and not 0 < config.clip_norm < math.inf:
        yield expected("clip_norm", "above 0")
    if not 0 < config.decay <= 1:
        yield expected("decay", "in (0, 1]")
    if not all(0 <= rate < math.inf for rate in config.layer_rates.values()):
        yield expected("layer_rates", "with factors from 0 up")
    for name, patterns in (("layer_rates", config.layer_rates), ("freeze", [config.freeze])):
        if not all(map(_is_pattern, patterns)):
            yield expected(name, "with regular expressions")


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True
