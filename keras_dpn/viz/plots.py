"""Figures of training runs, scores and receptive fields."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from keras_dpn.viz.figure import INK, as_text, hide_frame, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

# Okabe and Ito's colours
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CURVES: tuple[tuple[str, Literal["-", "--"], str], ...] = (
    (COLORS[0], "--", "training"),
    (COLORS[1], "-", "validation"),
)


def plot_curves(history: Sequence[Mapping[str, Any]]) -> "Figure":
    """Plot loss and mean IoU over a run's epochs, training and validation, with its stages.

    Args:
        history: one mapping per epoch, in order: "stage", "epoch" (from 1 in each stage; 0 for the
            values before it) and any of "loss", "val_loss", "miou", "val_miou".

    Raises:
        ValueError: without an epoch.
    """
    if not history:
        raise ValueError(
            "Invalid value for argument `history`: expected at least one epoch, received none."
        )
    figure = new_figure(8.0, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True)
    start = 0
    for order, (stage, rows) in enumerate(_by_stage(history)):
        stop = start + max(row["epoch"] for row in rows)
        if order % 2 == 0:
            for axes in (upper, lower):
                axes.axvspan(start, stop, color="#f2f4f7", zorder=0, linewidth=0)
        _draw_curves(upper, rows, start, ("loss", "val_loss"), 1)
        _draw_curves(lower, rows, start, ("miou", "val_miou"), 100)
        # Names alternate between two lines, as short stages leave no room on one.
        style: dict[str, Any] = {
            "xycoords": ("data", "axes fraction"),
            "textcoords": "offset points",
        }
        shift = (0, 4 + 12 * (order % 2))
        upper.annotate(
            as_text(stage), ((start + stop) / 2, 1), xytext=shift, ha="center", fontsize=9, **style
        )
        start = stop
    upper.set_ylabel("loss")
    lower.set_ylabel("mean IoU, %")
    lower.set_xlabel("epochs, all stages")
    lower.set_xlim(0, max(start, 1))
    lower.xaxis.get_major_locator().set_params(integer=True)
    lines = _legend_lines()
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False)
    return figure


def plot_trimap(
    curves: Mapping[str, Sequence[float | None]], around: Literal["void", "boundary"] = "void"
) -> "Figure":
    """Plot mean IoU in bands around void or class boundaries, against the width of the bands.

    "final" and "final+crf" have the same colour, dashed without the CRF and solid with it.

    Args:
        curves: by name the mean IoU, 0 ... 1, at widths of 1, 2, ... pixels; None without a pixel.
        around: "void" or "boundary", as in `metrics.trimap_distance`.

    Raises:
        ValueError: if no curve has a value.
    """
    if all(value is None for values in curves.values() for value in values):
        raise ValueError(
            "Invalid value for argument `curves`: expected a mean IoU at one width at least, "
            f"received none: no pixel is near the {around}. Labels without void pixels have "
            'bands around the class boundaries only ("boundary").'
        )
    figure = new_figure(7.0, 4.2)
    axes = figure.subplots()
    stages = list(dict.fromkeys(name.partition("+")[0] for name in curves))
    pairs = any("+" in name for name in curves)
    for name, values in curves.items():
        stage, plus, _ = name.partition("+")
        dash = "--" if pairs and not plus else "-"
        color = COLORS[stages.index(stage) % len(COLORS)]
        percent = 100 * np.array(values, "float64")
        axes.plot(np.arange(1, len(values) + 1), percent, dash, color=color, label=as_text(name))
    hide_frame(axes)
    center = {"void": "the void", "boundary": "the class boundaries"}[around]
    axes.set_xlabel(f"width of the band around {center}, pixels")
    axes.set_ylabel("mean IoU, %")
    axes.set_xlim(left=0)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def plot_iterations(
    num_iterations: Sequence[int], curves: Mapping[str, Sequence[float | None]]
) -> "Figure":
    """Plot mean IoU by the number of mean-field updates, Fig. 6b of the DPN paper.

    Args:
        num_iterations: the numbers.
        curves: for each legend entry, mean IoU in 0 ... 1 after each number of updates.

    Raises:
        ValueError: for a curve of another length.
    """
    for name, values in curves.items():
        if len(values) != len(num_iterations):
            raise ValueError(
                f"Invalid value for argument `curves`: expected {len(num_iterations)} scores for "
                f"{name!r}, received {len(values)}."
            )
    figure = new_figure(6.0, 3.8)
    axes = figure.subplots()
    for (name, values), color in zip(curves.items(), itertools.cycle(COLORS), strict=False):
        axes.plot(
            num_iterations,
            100 * np.array(values, "float64"),
            "o-",
            color=color,
            label=as_text(name),
        )
    hide_frame(axes)
    axes.set_xlabel("mean-field updates")
    axes.set_ylabel("mean IoU, %")
    axes.set_xticks(list(num_iterations))
    if len(curves) > 1:
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def plot_crf_search(settings: Sequence[tuple[Sequence[float], float]], baseline: float) -> "Figure":
    """Plot mean IoU by the parameters of a dense CRF's bilateral kernel, a heat map per weight.

    The best setting is framed; settings that were not tried are grey.

    Args:
        settings: ((w1, sigma_alpha, sigma_beta), mean IoU in 0 ... 1) for each setting.
        baseline: mean IoU without the CRF.

    Raises:
        ValueError: without a setting.
    """
    if not settings:
        raise ValueError(
            "Invalid value for argument `settings`: expected at least one, received none."
        )
    tried = {tuple(setting): 100 * miou for setting, miou in settings}
    weights, alphas, betas = (sorted(set(axis)) for axis in zip(*tried, strict=True))
    rows = -(-len(weights) // 4)
    columns = -(-len(weights) // rows)
    panel = max(2.2, 0.3 * len(betas) + 0.4), max(1.5, 0.3 * len(alphas) + 0.3)  # inches
    figure = new_figure(max(5.5, columns * panel[0] + 1.8), rows * panel[1] + 1.3)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    limits = {"vmin": min(tried.values()), "vmax": max(tried.values())}
    for axes in grid[len(weights) :]:
        axes.set_axis_off()
    for axes, weight in zip(grid, weights, strict=False):
        shown = [[tried.get((weight, a, b), np.nan) for b in betas] for a in alphas]
        plotted = axes.imshow(shown, cmap="Blues", origin="lower", aspect="auto", **limits)
        axes.set_title(f"w1 = {weight:g}", fontsize=9, color=INK)
        _label_search(axes, alphas, betas)
    weight, alpha, beta = best = max(tried, key=tried.__getitem__)
    frame = {"marker": "s", "markersize": 15, "fillstyle": "none", "markeredgewidth": 2}
    best_cell = betas.index(beta), alphas.index(alpha)
    grid[weights.index(weight)].plot(*best_cell, color=COLORS[1], **frame)
    figure.suptitle(
        f"mean IoU, {tried[best]:.2f}% at w1 {weight:g}, sigma_alpha {alpha:g}, sigma_beta {beta:g}"
        f"\n{100 * baseline:.2f}% without the CRF",
        fontsize=9,
    )
    bar = figure.colorbar(plotted, ax=list(grid), shrink=0.8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure


def plot_receptive_field(
    image: np.ndarray,
    discrepancy: np.ndarray,
    stride: int,
    box: tuple[int, int, int, int],
    unit: tuple[float, float],
    title: str,
) -> "Figure":
    """Plot a unit's theoretical receptive field as a frame, and its discrepancy map.

    Args:
        image: uint8 (H, W, 3).
        discrepancy: from `receptive_field.discrepancy_map`.
        stride: pixels from one of its cells to the next.
        box: top, left, bottom and right of the theoretical field within the image.
        unit: row and column of the unit's middle in the image, in pixels.
        title: title of the figure.
    """
    height, width = image.shape[:2]
    wide = width > 1.5 * height
    rows, columns = (2, 1) if wide else (1, 2)
    panel = (8.6 if wide else 4.2) * height / width + 0.4  # inches
    figure = new_figure(9.6, min(9.6, rows * panel + 0.6))
    panels = figure.subplots(rows, columns)
    top, left, bottom, right = box
    for axes in panels:
        axes.imshow(image)
        frame = {"fill": False, "edgecolor": COLORS[1], "linewidth": 2, "clip_on": False}
        axes.add_patch(_rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **frame))
        axes.plot(unit[1], unit[0], "+", color=COLORS[1], markersize=10, markeredgewidth=2)
        axes.set_xticks([])
        axes.set_yticks([])
    panels[0].set_title("frame: theoretical field", fontsize=9, color=INK)
    panels[1].set_title("change under a patch of noise", fontsize=9, color=INK)
    rows, columns = (n * stride for n in discrepancy.shape)
    position = {"extent": (-0.5, columns - 0.5, rows - 0.5, -0.5), "interpolation": "nearest"}
    shown = panels[1].imshow(discrepancy, cmap="magma", vmin=0, alpha=0.8, **position)
    panels[1].set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    bar = figure.colorbar(shown, ax=list(panels), shrink=0.8)
    bar.set_label("change of the unit", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_feature_scales(scales: Mapping[str, Sequence[float]]) -> "Figure":
    """Plot lengths of feature vectors by layer, on a logarithmic scale: median and quartiles.

    Args:
        scales: by layer, in the order of the network, lower quartile, median and upper quartile.

    Raises:
        ValueError: without a layer, or if no length is above 0, as the scale is logarithmic.
    """
    if not scales or not max(max(values) for values in scales.values()) > 0:
        raise ValueError(
            "Invalid value for argument `scales`: expected lengths above 0 of one layer at least, "
            f"received {dict(scales)}."
        )
    figure = new_figure(7.0, 0.45 * len(scales) + 1.2)
    axes = figure.subplots()
    for row, (low, middle, high) in enumerate(scales.values()):
        axes.plot([low, high], [row, row], color=COLORS[0], linewidth=7, alpha=0.4)
        axes.plot(middle, row, "o", color=COLORS[0], markersize=7)
        label: dict[str, Any] = {
            "xytext": (0, 7),
            "textcoords": "offset points",
            "ha": "center",
            "fontsize": 8,
        }
        text = f"{middle:.0f}" if middle >= 100 else f"{middle:.3g}"
        axes.annotate(text, (middle, row), **label)
    axes.set_xscale("log")
    axes.set_yticks(range(len(scales)), [*map(as_text, scales)])
    axes.set_ylim(len(scales) - 0.5, -0.7)
    axes.set_xlabel("L2 norm of the feature vector: median, and the middle half of all positions")
    axes.grid(axis="x", color="#e4e4e4")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _by_stage(history: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    return [
        (stage, list(rows)) for stage, rows in itertools.groupby(history, lambda row: row["stage"])
    ]


def _draw_curves(
    axes: "Axes",
    rows: Sequence[Mapping[str, Any]],
    start: int,
    keys: tuple[str, str],
    factor: float,
) -> None:
    """Plot one stage's training and validation values over the epochs since the run's start."""
    for key, (color, dash, _) in zip(keys, CURVES, strict=True):
        known = [row for row in rows if row.get(key) is not None and np.isfinite(row[key])]
        epochs = [start + row["epoch"] for row in known]
        values = [factor * row[key] for row in known]
        if known:  # an empty line that isn't clipped would distort the layout
            axes.plot(epochs, values, dash, color=color, marker="o", markersize=3.5, clip_on=False)
    hide_frame(axes)


def _label_search(axes: "Axes", alphas: Sequence[float], betas: Sequence[float]) -> None:
    """Label the parameters of one heat map of a search; grey out missing settings."""
    axes.set_facecolor("#dddddd")
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas], rotation=90)
    axes.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set_xlabel("sigma_beta, intensity levels", fontsize=8)
    axes.set_ylabel("sigma_alpha, pixels", fontsize=8)
    axes.label_outer()
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)


def _rectangle(*args: Any, **kwargs: Any) -> "Rectangle":
    from matplotlib.patches import Rectangle

    return Rectangle(*args, **kwargs)


def _legend_lines() -> list["Line2D"]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=color, linestyle=dash, marker="o", markersize=3.5, label=name)
        for color, dash, name in CURVES
    ]
