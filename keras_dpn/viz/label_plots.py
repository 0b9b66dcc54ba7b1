"""Figures of matrices and filters by label."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_dpn.viz.contexts import by_frame, middle_of, strongest_contexts, without_middle
from keras_dpn.viz.figure import INK, as_text, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NEIGHBORS = {
    "above": "label above it",
    "below": "label below it",
    "left": "label to its left",
    "right": "label to its right",
    "surrounding": "label around it",
}


def plot_compatibility(matrix: np.ndarray, names: Sequence[str]) -> "Figure":
    """Plot label compatibilities: blue where the column's label makes the row's likely.

    Args:
        matrix: (L, L) from `compatibility_matrix`, or (frames, L, L), drawn next to each other in
            order of time. Each column is drawn minus its mean. The colour scale covers the values
            off the diagonal; those on the diagonal may exceed it.
        names: the L classes.
    """
    matrix = _by_frame(matrix, names, "matrix", axes=2)
    centred = matrix - matrix.mean(axis=1, keepdims=True)
    limit = np.abs(centred[:, ~np.eye(len(names), dtype=bool)]).max(initial=0.0) or 1.0
    figure, grid = _matrix_figure(names, len(matrix))
    for axes, shown, moment in zip(grid, centred, _moments(len(matrix)), strict=True):
        plotted = axes.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set_title(moment, fontsize=10, color=INK)
        axes.set_xlabel("label that fills its surroundings")
    grid[0].set_ylabel("label")
    bar = figure.colorbar(plotted, ax=list(grid), shrink=0.8, ticks=[-limit, 0, limit])
    bar.ax.set_yticklabels(["likely", "as the\nmean label", "unlikely"])
    bar.outline.set_visible(False)
    return figure


def plot_label_affinity(
    matrix: np.ndarray, names: Sequence[str], relation: str | None = None
) -> "Figure":
    """Plot which labels a potential associates: blue where two labels go together.

    Args:
        matrix: (L, L) from `label_affinity`, high is likely: the node's label in rows, that of its
            neighbour in columns. The colour scale covers the values off the diagonal; those on the
            diagonal may exceed it.
        names: the L classes.
        relation: the potential's, as in `layers.RangeBoxGraph`: the position of the neighbour.
    """
    matrix = _check_square(matrix, names, "matrix")
    limit = np.abs(matrix[~np.eye(len(names), dtype=bool)]).max(initial=0.0) or 1.0
    figure, (axes,) = _matrix_figure(names)
    plotted = axes.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit)
    axes.set_ylabel("label")
    axes.set_xlabel(NEIGHBORS.get(relation or "", "label of its neighbour"))
    bar = figure.colorbar(plotted, ax=axes, shrink=0.8, ticks=[-limit, 0, limit])
    bar.ax.set_yticklabels(["unlikely", "neutral", "likely"])
    bar.outline.set_visible(False)
    return figure


def plot_contexts(
    maps: np.ndarray,
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]] | None = None,
    columns: int | None = None,
) -> "Figure":
    """Plot contexts as in the paper's Fig. 4b: 'A : B' is blue where B is likely around A.

    The cross marks A. Several frames are drawn side by side (Fig. 7b of its journal version): where
    B is likely around A in the previous frame, in A's frame and in the next one; in the others the
    cross is the pixel linked to A.

    Args:
        maps: (L, L, n, n) from `context_maps`, or (frames, L, L, n, n).
        names: the L classes.
        pairs: (A, B) to draw; by default the twelve strongest.
        columns: pairs per row; by default as many as fit on a page.
    """
    maps = _by_frame(maps, names, "maps", axes=4)
    frames, middle = len(maps), middle_of(maps.shape[-1])
    pairs = strongest_contexts(maps, 12) if pairs is None else list(pairs)
    columns = min(columns or max(1, min(4, 6 // frames)), max(1, len(pairs)))
    rows = max(1, -(-len(pairs) // columns))
    figure = new_figure(1.75 * columns * frames + 1.0, 1.95 * rows)
    ratios = ([1.0] * frames + [0.2] * (frames > 1)) * columns  # a gap after each pair's frames
    grid = figure.subplots(rows, len(ratios), squeeze=False, width_ratios=ratios)
    grid = grid.reshape(rows * columns, -1)[:, :frames]
    maps = without_middle(maps)
    limit = max((np.nanmax(np.abs(maps[:, u, v])) for u, v in pairs), default=0.0) or 1.0
    plotted = None
    for axes in figure.axes:
        axes.set_axis_off()
    for panels, (u, v) in zip(grid, pairs, strict=False):
        titles = _moments(frames)
        titles[frames // 2] = as_text(f"{names[u]} : {names[v]}\n{titles[frames // 2]}".strip())
        for axes, shown, title in zip(panels, maps[:, u, v], titles, strict=True):
            plotted = axes.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.plot(middle, middle, marker="+", color=INK, markersize=9, markeredgewidth=1.4)
            axes.set_title(title, fontsize=_title_size(title), color=INK, pad=4)
    if plotted is not None:
        bar = figure.colorbar(plotted, ax=figure.axes, shrink=min(0.9, 1.6 / rows), aspect=12)
        bar.set_ticks([-limit, 0, limit], labels=["likely", "neutral", "unlikely"])
        bar.outline.set_visible(False)
    return figure


def plot_confusion(confusion: np.ndarray, names: Sequence[str]) -> "Figure":
    """Plot a confusion matrix in percent of each true class; classes without pixels are grey.

    Args:
        confusion: counts (L, L), truth in rows, predictions in columns.
        names: the L classes.
    """
    confusion = _check_square(confusion, names, "confusion").astype("float64")
    totals = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, totals, out=np.full_like(confusion, np.nan), where=totals > 0)
    figure, (axes,) = _matrix_figure(names)
    axes.set_facecolor("#dddddd")
    plotted = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    for (row, column), value in np.ndenumerate(100 * share):
        if value >= 0.5:
            color = "white" if value > 55 else INK
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8
            )
    bar = figure.colorbar(plotted, ax=axes, shrink=0.8)
    bar.set_label("% of the true class")
    bar.outline.set_visible(False)
    return figure


def _matrix_figure(names: Sequence[str], count: int = 1) -> tuple["Figure", np.ndarray]:
    """Return axes for matrices side by side, with the names below each and left of the first."""
    side = max(2.0, (0.42 if count == 1 else 0.3) * len(names))
    text = 0.09 * max(len(name) for name in names)  # inches, the names next to the matrix
    figure = new_figure(count * side + text + 1.8, side + 0.7 * text + 0.8)
    grid = figure.subplots(1, count, squeeze=False, sharey=True)[0]
    names = [*map(as_text, names)]
    for axes in grid:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0, labelsize=9)
        axes.spines[:].set_visible(False)
    return figure, grid


def _moments(frames: int) -> list[str]:
    """Return titles for the frames around one at time t; none for a single frame."""
    if frames == 1:
        return [""]
    steps = range(-(frames // 2), frames // 2 + 1)
    return [f"t{step:+d}".replace("-", "−") if step else "t" for step in steps]


def _title_size(title: str) -> float:
    return float(np.clip(200 / max(1, len(title)), 6.5, 10))


def _by_frame(array: np.ndarray, names: Sequence[str], argument: str, axes: int) -> np.ndarray:
    """Return one array (L, L, ...) with `axes` axes for each frame."""
    array = by_frame(array, axes)
    _check_square(array[0], names, argument)
    return array


def _check_square(matrix: np.ndarray, names: Sequence[str], argument: str) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.shape[:2] != (len(names), len(names)):
        raise ValueError(
            f"Invalid value for argument `{argument}`: expected one row and one column for each of "
            f"the {len(names)} names, received shape {matrix.shape}."
        )
    return matrix
