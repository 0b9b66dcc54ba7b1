"""Checks of the arguments of a `MeanFieldCRF`."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from keras_dpn.ops.checks import check_one_of

# A weight and its standard deviations, each one number, or one per axis or channel.
Kernel: TypeAlias = Sequence[float | Sequence[float]]

_LEARNABLE = ("weights", "compatibility", "bandwidths")
# Standard deviations are clipped to this range. Points are 1 apart: even narrower kernels are 0
# between them as well, but would cost the lattice its precision.
_LOWEST = {"sa": 1e-2, "sb": 1e-15}
_HIGHEST = 1e30


def standardize_kernels(bilateral: Any, spatial: Any) -> list[tuple[Any, ...]]:
    """Return the kernels as (weight, sa, sb) or (weight, sg) with numbers or tuples; or raise."""
    sequence = isinstance(bilateral, (tuple, list))
    several = sequence and len(bilateral) > 0 and isinstance(bilateral[0], (tuple, list))
    bilaterals = () if bilateral is None else bilateral if several else (bilateral,)
    kernels = [_check_kernel("bilateral", kernel, 3) for kernel in bilaterals]
    if spatial is not None:
        kernels.append(_check_kernel("spatial", spatial, 2))
    if not kernels:
        raise ValueError(
            "Invalid values for arguments `bilateral` and `spatial`: expected at least one kernel, "
            f"received {bilateral} and {spatial}."
        )
    return kernels


def _check_kernel(name: str, kernel: Any, length: int) -> tuple[Any, ...]:
    expected = {3: "(weight, sa, sb)", 2: "(weight, sg)"}[length]
    if not isinstance(kernel, (tuple, list)) or len(kernel) != length:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected {expected}, received {kernel!r}."
        )
    weight, *sigmas = kernel
    if not _is_number(weight) or weight < 0:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected a weight of at least 0 in {expected}, "
            f"received {kernel!r}."
        )
    for sigma in sigmas:
        values = sigma if isinstance(sigma, (tuple, list)) else (sigma,)
        if not values or not all(_is_number(value) and value > 0 for value in values):
            raise ValueError(
                f"Invalid value for argument `{name}`: expected standard deviations above 0 in "
                f"{expected}, received {kernel!r}."
            )
    return tuple(kernel)


def bandwidths_of(name: str, sigma: Any, count: int) -> np.ndarray:
    """Return one standard deviation for each dimension, within the range that is computed.

    Args:
        name: "sa", of positions, or "sb", of guidance values.
        sigma: one number for all dimensions, or one each.
        count: of the dimensions.
    """
    lowest = _LOWEST[name]
    if not isinstance(sigma, (tuple, list)):
        return np.full(count, np.clip(sigma, lowest, _HIGHEST), "float32")
    if len(sigma) != count:
        raise ValueError(
            f"Invalid value for {name} in argument `bilateral` or `spatial`: expected one number "
            f"or {count}, received {sigma!r}."
        )
    # Positions are in the lattice from the last axis to the first.
    sigmas = sigma[::-1] if name == "sa" else sigma
    return np.clip(sigmas, lowest, _HIGHEST).astype("float32")


def standardize_compatibility(compatibility: Any) -> str | list[list[float]]:
    """Return the name of a compatibility, or a matrix as lists; or raise."""
    if isinstance(compatibility, str):
        return check_one_of(
            "compatibility", compatibility, ("potts", "matrix", "matrix_per_kernel")
        )
    try:
        matrix = np.asarray(compatibility, "float64")
    except (TypeError, ValueError):  # rows of different lengths, or no numbers
        matrix = np.empty(0)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(
            "Invalid value for argument `compatibility`: expected 'potts', 'matrix', "
            "'matrix_per_kernel' or the finite numbers of a matrix (L, L), received "
            f"{compatibility!r}."
        )
    return matrix.tolist()


def standardize_learnable(
    names: Any, filter: str, compatibility: str | list[list[float]]
) -> tuple[str, ...]:
    """Return the names of what training changes as a tuple; or raise.

    Args:
        names: some of "weights", "compatibility" and "bandwidths".
        filter: as in `MeanFieldCRF`.
        compatibility: as `standardize_compatibility` returns it.
    """
    if not isinstance(names, (tuple, list)):
        raise ValueError(
            "Invalid value for argument `trainable_weights_of`: expected a tuple or list of names "
            f"from {sorted(_LEARNABLE)}, received {names!r}."
        )
    learnable = tuple(check_one_of("trainable_weights_of", name, _LEARNABLE) for name in names)
    if "bandwidths" in learnable and filter == "permutohedral":
        raise ValueError(
            "Invalid value for argument `trainable_weights_of`: the permutohedral lattice has "
            "no gradients for bandwidths; use filter='window' (or 'exact' on small images), "
            "or leave 'bandwidths' out and search them, as DeepLab does."
        )
    if "compatibility" in learnable and compatibility == "potts":
        raise ValueError(
            "Invalid value for argument `trainable_weights_of`: Potts' model has no weights; "
            "use compatibility='matrix' or 'matrix_per_kernel'."
        )
    return learnable


def check_probability(name: str, value: float) -> float:
    """Return a smallest probability of a label; raise ValueError for what can't be one."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected a number from 0 to below 1 / labels, "
            f"received {value!r}."
        )
    return value


def check_pruning(prune_below: float, filter: str, compatibility: str | list[list[float]]) -> float:
    """Return the threshold; raise ValueError unless it is one and the other arguments allow it."""
    if check_probability("prune_below", prune_below) and (
        compatibility != "potts" or filter == "window"
    ):
        raise ValueError(
            "Invalid value for argument `prune_below`: needs compatibility='potts' and the "
            f"filter 'permutohedral' or 'exact', received {prune_below!r} with "
            f"compatibility={compatibility!r} and filter={filter!r}."
        )
    return prune_below


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and math.isfinite(value)
