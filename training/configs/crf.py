"""The settings of a fully connected CRF, in a run's configuration and in separate files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..utils.files import read_json


@dataclass(frozen=True)
class CRFConfig:
    """The CRF: arguments of `keras_dpn.layers.MeanFieldCRF`, which explains them."""

    num_iterations: int = 10
    """Mean-field updates."""
    bilateral: tuple[float, float, float] | None = (4.0, 121.0, 5.0)
    """Weight, standard deviations in pixels and in intensity levels of 0-255."""
    spatial: tuple[float, float] | None = (3.0, 3.0)
    """Weight, standard deviation in pixels."""
    compatibility: Literal["potts", "matrix", "matrix_per_kernel"] = "potts"
    """Cost of two labels next to each other: equal for all, a matrix, or a matrix per kernel."""
    filter: Literal["permutohedral", "window", "exact"] = "permutohedral"
    """Filtering: all pairs by a lattice, the pairs in a window, or all pairs exactly."""
    normalization: Literal["symmetric", "row", "none"] = "symmetric"
    """How the kernels are normalised by their sums."""
    trainable_weights_of: tuple[Literal["weights", "compatibility", "bandwidths"], ...] = ()
    """The parameters to train."""
    inference_iterations: int | None = None
    """Mean-field updates outside of training, instead of num_iterations."""
    window: int | None = None
    """Side of the window of the filter of that name, in pixels."""
    min_probability: float = 0.0
    """Smallest unary probability of a label; 0 leaves the logits as they are."""
    prune_below: float = 0.0
    """Filter only the labels of an image whose unary probability reaches this somewhere; 0: all."""

    def summary(self) -> str:
        """Return the CRF in a few words."""
        return f"CRF, {self.num_iterations} iterations"


def read_crf(path: Path) -> dict[str, Any]:
    """Return the settings in a file such as `keras-dpn crf-search` writes.

    Args:
        path: for example `{"num_iterations": 10, "bilateral": [4, 121, 5], "spatial": [3, 3]}`.

    Raises:
        ValueError: names the file, and the field that is unknown or has a wrong value.
    """
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: expected a JSON object, received {type(settings).__name__}.")
    try:
        check_crf(settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return settings


def check_crf(settings: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the setting which is unknown or has a wrong value.

    It refuses settings that are invalid by themselves; `MeanFieldCRF` refuses those that don't fit
    each other.
    """
    known = [field.name for field in fields(CRFConfig)]
    if unknown := [name for name in settings if name not in known]:
        raise ValueError(
            f"unknown fields: {', '.join(unknown)}; expected some of {', '.join(known)}."
        )
    for name, expected in {"bilateral": "(weight, sa, sb)", "spatial": "(weight, sg)"}.items():
        for kernel in _kernels(settings.get(name)):
            if not _is_kernel(kernel, length=expected.count(",") + 1):
                raise ValueError(
                    f"`{name}`: expected {expected}, a weight of at least 0 and standard "
                    f"deviations above 0, received {kernel!r}."
                )
    for name in ("num_iterations", "inference_iterations", "window"):
        for number in _several(settings.get(name)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(
                    f"`{name}`: expected an integer of at least 1, received {number!r}."
                )
    for name in ("filter", "normalization", "compatibility", "trainable_weights_of"):
        choices = _choices(name)
        for value in _several(settings.get(name)):
            if isinstance(value, str) and value not in choices:
                raise ValueError(
                    f"`{name}`: expected one of {', '.join(choices)}, received {value!r}."
                )


def _kernels(value: Any) -> list[Any]:
    """Return the kernels of a setting: none, one, or several."""
    several = isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple))
    return list(value) if several else [] if value is None else [value]


def _several(value: Any) -> list[Any]:
    """Return a value, or those of a list, as a list; None as an empty one."""
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _choices(name: str) -> tuple[str, ...]:
    """Return the values that a field takes, or that its items take."""
    hint = get_type_hints(CRFConfig)[name]
    return get_args(get_args(hint)[0]) if get_origin(hint) is tuple else get_args(hint)


def _is_kernel(kernel: Any, length: int) -> bool:
    if not isinstance(kernel, (list, tuple)) or len(kernel) != length:
        return False
    weight, *sigmas = kernel
    values = [x for sigma in sigmas for x in _several(sigma)]
    return _is_number(weight) and weight >= 0 and all(_is_number(x) and x > 0 for x in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
