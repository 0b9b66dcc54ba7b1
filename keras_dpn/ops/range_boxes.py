"""Edges of a graph on a feature map: from each cell to the cells in a box next to it."""

import math
import numbers
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops, random

from keras_dpn.ops.checks import check_one_of, check_positive_int
from keras_dpn.typing import Tensor

RELATIONS = {
    "surrounding": (-0.2, -0.2, 0.2, 0.2),
    "above": (-0.3, -0.2, 0.0, 0.2),
    "below": (0.0, -0.2, 0.3, 0.2),
    "left": (-0.2, -0.3, 0.2, 0.0),
    "right": (-0.2, 0.0, 0.2, 0.3),
}
"""Boxes (top, left, bottom, right) around a cell, in units of the map's shorter side."""

_SLACK = 1e-4  # of a cell, for rounding errors: 0.7 * 10 is less than 7


def box_neighbors(
    height: int | Tensor,
    width: int | Tensor,
    box: str | Sequence[float],
    *,
    allow_empty: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the cells of a feature map that are in a box next to each cell.

    Lin et al., Efficient piecewise training of deep structured models (arXiv:1504.01013), Fig. 3:
    a node of the graph is connected to all others in its range box. A cell is in the box if its
    centre is, including the border; but a box that begins at the cell's own row or column excludes
    that, so that cells to the side aren't above.

    Args:
        height: rows of the map, integer or scalar tensor.
        width: its columns.
        box: one of `RELATIONS`, or (top, left, bottom, right) as fractions of the shorter of
            `height` and `width`, relative to the cell; downwards and to the right is positive.
        allow_empty: whether the map may be too small for any neighbour, if its sizes are integers.

    Returns:
        Pair of int32 `(N, K)`: the neighbours of each of the N = height * width cells, all in
        row-major order; and bool `(N, K)`: which of them exist. A neighbour outside of the map is
        replaced by the cell itself and doesn't exist.

    Raises:
        ValueError: for an unknown relation and a box whose ends are in the wrong order; if sizes
            are integers, unless `allow_empty`, for a box smaller than a cell, and one so far away
            that it contains no other cell of the map.

    Example:

    >>> neighbors, exist = box_neighbors(3, 1, (-1.0, 0.0, 0.0, 0.0))
    >>> neighbors
    [[0]
     [0]
     [1]]
    >>> exist[:, 0]
    [False  True  True]
    """
    rows, columns = _box_offsets(height, width, box, allow_empty)
    dy, dx = (ops.reshape(d, (1, -1)) for d in _grid(rows, columns))
    y, x = (ops.reshape(i, (-1, 1)) for i in _grid((0, height), (0, width)))
    there_y, there_x = y + dy, x + dx
    inside_y = ops.logical_and(there_y >= 0, there_y < height)
    inside_x = ops.logical_and(there_x >= 0, there_x < width)
    other = ops.logical_or(dy != 0, dx != 0)
    exist = ops.logical_and(ops.logical_and(inside_y, inside_x), other)
    return ops.where(exist, there_y * width + there_x, y * width + x), exist


def count_neighbors(height: int, width: int, box: str | Sequence[float]) -> int:
    """Return K, the number of neighbours per cell in `box_neighbors`, existing or not.

    Args:
        height: rows of the map, integer.
        width: its columns, integer.
        box: as in `box_neighbors`.

    Raises:
        ValueError: as `box_neighbors`.

    Example:

    >>> count_neighbors(14, 18, "surrounding")  # including the cell itself, which doesn't exist
    25
    """
    return math.prod(after - first for first, after in _box_offsets(height, width, box))


def sample_neighbors(
    neighbors: Tensor, exist: Tensor, count: int, seed: int | keras.random.SeedGenerator | None
) -> tuple[Tensor, Tensor]:
    """Sample at most `count` of each cell's neighbours, without replacement.

    Args:
        neighbors: int32 `(N, K)` from `box_neighbors`.
        exist: bool `(N, K)`.
        count: M, integer >= 1.
        seed: integer or `keras.random.SeedGenerator`.

    Returns:
        Pair `(N, min(M, K))` of the sampled neighbours, and which of them exist.

    Raises:
        ValueError: for a count below 1.

    Example:

    >>> neighbors, exist = box_neighbors(4, 4, (-1.0, -1.0, 1.0, 1.0))
    >>> drawn, exist = sample_neighbors(neighbors, exist, count=5, seed=0)
    >>> tuple(drawn.shape), bool(keras.ops.all(exist))
    ((16, 5), True)
    """
    check_positive_int("count", count)
    order = random.uniform(ops.shape(neighbors), seed=seed)
    order = ops.argsort(ops.where(exist, order, 2.0), axis=-1)[:, :count]
    return tuple(ops.take_along_axis(x, order, axis=-1) for x in (neighbors, exist))


def box_edges(
    height: int | Tensor,
    width: int | Tensor,
    box: str | Sequence[float],
    count: int | None = None,
    seed: int | keras.random.SeedGenerator | None = None,
    *,
    allow_empty: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the edges from each cell of a feature map to the cells in a box next to it.

    An edge (p, q) leads from a cell to the neighbour in its box: in relation "above" q is above
    p. (p, q) of "above" is (q, p) of "below".

    Args:
        height: rows of the map, integer or scalar tensor.
        width: its columns.
        box: as in `box_neighbors`.
        count: M, the largest number of edges from each cell, sampled at random; None for all.
        seed: integer or `keras.random.SeedGenerator`, for the sampling.
        allow_empty: as in `box_neighbors`.

    Returns:
        Pair of int32 `(E, 2)`, the edges' two cells in row-major order of the map, and bool `(E,)`,
        which of them exist. The K edges of a cell are consecutive, E = N * K, with K the number of
        cells in the box or M; an edge that doesn't exist leads from a cell to itself.

    Raises:
        ValueError: as `box_neighbors` and `sample_neighbors`.

    Example:

    >>> edges, exist = box_edges(3, 1, (-1.0, 0.0, 0.0, 0.0))
    >>> edges[exist]
    [[1 0]
     [2 1]]
    """
    neighbors, exist = box_neighbors(height, width, box, allow_empty=allow_empty)
    if count is not None:
        neighbors, exist = sample_neighbors(neighbors, exist, count, seed)
    cells = ops.arange(ops.shape(neighbors)[0], dtype="int32")[:, None]
    cells = ops.broadcast_to(cells, ops.shape(neighbors))
    edges = ops.stack([cells, neighbors], axis=-1)  # (N, K, 2)
    return ops.reshape(edges, (-1, 2)), ops.reshape(exist, (-1,))


def standardize_box(box: str | Sequence[float]) -> tuple[float, ...]:
    """Return the box (top, left, bottom, right) of a relation; raise ValueError if unknown."""
    if isinstance(box, str):
        return RELATIONS[check_one_of("relation", box, tuple(RELATIONS))]
    sides = tuple(box) if isinstance(box, (tuple, list)) else ()
    if len(sides) != 4 or not all(isinstance(n, numbers.Real) and math.isfinite(n) for n in sides):
        raise ValueError(
            "Invalid value for argument `box`: expected a relation's name or four numbers (top, "
            f"left, bottom, right), received {box!r}."
        )
    if sides[0] > sides[2] or sides[1] > sides[3]:
        raise ValueError(
            "Invalid value for argument `box`: expected top <= bottom and left <= right, received "
            f"{box!r}."
        )
    return sides


def _box_offsets(
    height: int | Tensor,
    width: int | Tensor,
    box: str | Sequence[float],
    allow_empty: bool = False,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return the offsets of rows and columns to the cells in a box, each (first, end)."""
    top, left, bottom, right = standardize_box(box)
    known = isinstance(height, int) and isinstance(width, int)
    side = min(height, width) if known else ops.minimum(height, width)
    rows, columns = _offsets(top, bottom, side), _offsets(left, right, side)
    if known and not allow_empty:
        _check_offsets(rows, columns, height, width, box)
    return _within(rows, height), _within(columns, width)


def _offsets(low: float, high: float, side: int | Tensor) -> tuple[Any, Any]:
    """Return the first offset in cells from `low` to `high` sides, and the end."""
    if isinstance(side, int):
        first, last = math.ceil(low * side - _SLACK), math.floor(high * side + _SLACK)
    else:
        side = ops.cast(side, "float32")
        first, last = ops.ceil(low * side - _SLACK), ops.floor(high * side + _SLACK)
        first, last = ops.cast(first, "int32"), ops.cast(last, "int32")
    if low == 0 < high:
        first = first + 1
    if low < 0 == high:
        last = last - 1
    return first, last + 1


def _check_offsets(
    rows: tuple[Any, Any],
    columns: tuple[Any, Any],
    height: int | Tensor,
    width: int | Tensor,
    box: str | Sequence[float],
) -> None:
    if _holds_no_other(rows, columns):
        raise ValueError(
            "Invalid value for argument `box`: expected one that is larger than a cell, received "
            f"{box!r} on a map of {height}x{width}."
        )
    if _holds_no_other(_within(rows, height), _within(columns, width)):
        raise ValueError(
            "Invalid value for argument `box`: expected one that contains another cell of the map, "
            f"received {box!r}, without any edge on a map of {height}x{width}."
        )


def _holds_no_other(rows: tuple[Any, Any], columns: tuple[Any, Any]) -> bool:
    is_empty = rows[0] >= rows[1] or columns[0] >= columns[1]
    return is_empty or rows == columns == (0, 1)


def _within(offsets: tuple[Any, Any], size: int | Tensor) -> tuple[Any, Any]:
    """Return the offsets that lead from some cell of an axis to another."""
    first, after = offsets
    if all(isinstance(n, int) for n in (first, after, size)):
        first = max(first, 1 - size)
        return first, max(min(after, size), first)
    first = ops.maximum(first, 1 - size)
    return first, ops.maximum(ops.minimum(after, size), first)


def _grid(rows: tuple[Any, Any], columns: tuple[Any, Any]) -> list[Tensor]:
    ranges = (ops.arange(*rows, dtype="int32"), ops.arange(*columns, dtype="int32"))
    return ops.meshgrid(*ranges, indexing="ij")
