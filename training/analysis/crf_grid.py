"""Grids of a CRF's settings for a coarse-to-fine search."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

Setting = tuple[float, float, float]  # w1, sigma_alpha in pixels, sigma_beta in intensity levels
Axes = Sequence[Sequence[float]]

GRIDS = {
    "coarse": ((2.5, 5.0, 10.0), (30.0, 60.0, 120.0), (3.0, 6.0, 12.0)),
    "paper": (
        (5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
        (50.0, 60.0, 70.0, 80.0, 90.0, 100.0),
        (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
    ),
}


def starting_axes(grid: str, *axes: Sequence[float]) -> list[list[float]]:
    """Return the initial values of w1, sigma_alpha and sigma_beta, ascending.

    Args:
        grid: one of GRIDS.
        *axes: values of each parameter; the grid's where empty.

    Raises:
        ValueError: for a value that isn't above 0.
    """
    chosen = [sorted(set(own or values)) for own, values in zip(axes, GRIDS[grid], strict=True)]
    for name, axis in zip(("w1", "sigma_alpha", "sigma_beta"), chosen, strict=True):
        if axis[0] <= 0:
            raise ValueError(
                f"Invalid value for argument `{name}`: expected values above 0, received {axis}."
            )
    return chosen


def coarse_to_fine(axes: Axes, rounds: int, scores: Mapping[Setting, float]) -> Iterator[Setting]:
    """Yield the settings of a grid, then of `rounds` finer ones, each around the best so far.

    Args:
        axes: ascending values of each parameter.
        rounds: number of finer grids.
        scores: must contain the score of each setting before the next one is requested.
    """
    for _ in range(rounds + 1):
        grid = [(w1, alpha, beta) for w1, alpha, beta in itertools.product(*axes)]
        yield from grid
        best = max(grid, key=scores.__getitem__)
        axes = [finer(axis, value) for axis, value in zip(axes, best, strict=True)]


def count_settings(axes: Axes, rounds: int) -> int:
    """Return how many settings `coarse_to_fine` yields."""
    fine = math.prod(3 if len(axis) > 1 else 1 for axis in axes)
    return math.prod(map(len, axes)) + rounds * fine


def finer(axis: Sequence[float], value: float) -> Sequence[float]:
    """Return a value, and those halfway to its neighbours on a logarithmic scale.

    At the end of an axis the step outwards equals the one inwards; a single value has no
    neighbours.

    Example:
    >>> finer((5, 10, 20), 10), finer((30, 60, 120), 120)
    ((7.07, 10, 14.1), (84.9, 120, 170.0))
    """
    if len(axis) == 1:
        return axis
    index = axis.index(value)
    below = axis[index - 1] if index > 0 else value**2 / axis[1]
    above = axis[index + 1] if index + 1 < len(axis) else value**2 / axis[-2]
    low, high = (float(f"{math.sqrt(value * other):.3g}") for other in (below, above))
    return low, value, high
