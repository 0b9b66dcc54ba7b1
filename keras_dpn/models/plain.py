"""Arguments of a network as its configuration has them."""

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a copy of an argument, as JSON has it: Keras tracks the dictionaries of a model."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(map(plain, value))
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
