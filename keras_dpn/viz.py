"""Pictures of label maps, of what the pairwise terms have learned, and of a training run.

Needs Pillow, and Matplotlib for the plots; both are imported where they are used, so that the
library itself needs only Keras and NumPy. Plots are Matplotlib figures: `figure_png` writes them.
"""

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.ImageFont import FreeTypeFont

Colors = Sequence[Sequence[int]]

IGNORE_COLOR = (224, 224, 192)  # what PASCAL VOC's palette gives to void
INK = "#222222"
CURVES = (("#0072B2", "--", "training"), ("#D55E00", "-", "validation"))  # Okabe and Ito's colours


# === Label maps ===


def colorize(labels: np.ndarray, colors: Colors, ignore: int | None = 255) -> np.ndarray:
    """Paints a label map: each class in its colour, ignored pixels in `IGNORE_COLOR`.

    Args:
        labels: integers (H, W), 0 to L-1 or `ignore`.
        colors: one (red, green, blue), 0-255, for each of the L classes.
        ignore: value of pixels without a class; None if there are none.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: if `labels` is not (H, W) integers, or holds a value that has no colour.

    Example:
    >>> colorize(np.array([[0, 1]]), [(255, 0, 0), (0, 0, 255)]).tolist()
    [[[255, 0, 0], [0, 0, 255]]]
    """
    return _palette(colors, ignore)[_check_labels(labels, colors, ignore)]


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    colors: Colors,
    ignore: int | None = 255,
    alpha: float = 0.5,
) -> np.ndarray:
    """Lays the colours of a label map over its image; ignored pixels show the image alone.

    Args:
        image: (H, W, 3), 0-255.
        labels: as in `colorize`.
        colors: as in `colorize`.
        ignore: as in `colorize`.
        alpha: weight of the colours, 0 (the image) to 1 (the label map).

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: as `colorize`, and for an image of another size or an alpha outside 0..1.
    """
    image = np.asarray(image)
    painted = colorize(labels, colors, ignore)
    if image.shape != painted.shape:
        raise ValueError(
            "Invalid value for argument `image`: expected the labels' height and width and 3 "
            f"channels {painted.shape}, received {image.shape}."
        )
    if not 0 <= alpha <= 1:
        raise ValueError(
            "Invalid value for argument `alpha`: expected 0 (the image) to 1 (the label map), "
            f"received {alpha}."
        )
    mixed = _to_uint8((1 - alpha) * image + alpha * painted)
    if ignore is None:
        return mixed
    return np.where(np.asarray(labels)[..., None] == ignore, _to_uint8(image), mixed)


def label_png(labels: np.ndarray, colors: Colors, ignore: int | None = 255) -> bytes:
    """A label map as a palette PNG: the pixel values are the labels, a viewer shows the colours.

    Args and Raises as in `colorize`.
    """
    from PIL import Image

    labels = _check_labels(labels, colors, ignore)
    picture = Image.fromarray(labels.astype("uint8"))
    picture.putpalette(_palette(colors, ignore).tobytes())
    return _png(picture)


def image_png(image: np.ndarray) -> bytes:
    """An image (H, W, 3), 0-255, as PNG bytes."""
    from PIL import Image

    return _png(Image.fromarray(_to_uint8(image)))


# === Compositions ===


def legend(names: Sequence[str], colors: Colors, width: int = 640, size: int = 15) -> np.ndarray:
    """Colour swatches with the classes' names, in rows that fit the width.

    Args:
        names: the L classes.
        colors: as in `colorize`.
        width: of the picture, in pixels; a single longer name makes it wider.
        size: of the letters, in pixels.

    Returns:
        uint8 (height, width or more, 3), on white.

    Raises:
        ValueError: if there are more or fewer names than colours.
    """
    from PIL import Image, ImageDraw

    if len(names) != len(colors):
        raise ValueError(
            f"Invalid value for argument `names`: expected one for each of the {len(colors)} "
            f"colours, received {len(names)}."
        )
    font = _font(size)
    cell = size + 6 + max(round(font.getlength(n)) for n in names) + size
    width = max(width, cell + size)
    columns = (width - size) // cell
    rows = -(-len(names) // columns)
    line = round(1.6 * size)
    picture = Image.new("RGB", (width, rows * line + size), "white")
    draw = ImageDraw.Draw(picture)
    for i, (name, color) in enumerate(zip(names, colors, strict=True)):
        x, y = size // 2 + i % columns * cell, size // 2 + i // columns * line
        draw.rectangle((x, y + 3, x + size, y + 3 + size), fill=tuple(color), outline="#777777")
        draw.text((x + size + 6, y + 3 + size / 2), name, fill=INK, font=font, anchor="lm")
    return np.asarray(picture)


def side_by_side(
    images: Sequence[np.ndarray], titles: Sequence[str], columns: int | None = None
) -> np.ndarray:
    """Puts images next to each other on white, each under its title.

    Args:
        images: (H, W, 3), 0-255; sizes may differ.
        titles: one for each image; a title wider than its column is set smaller, then cut.
        columns: images in a row; all by default.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: if there is no image, or another number of titles.
    """
    from PIL import Image, ImageDraw

    if not images or len(images) != len(titles):
        raise ValueError(
            "Invalid value for argument `titles`: expected one for each image and at least one "
            f"image, received {len(titles)} titles for {len(images)} images."
        )
    columns = columns or len(images)
    gap = 8
    cell_height, cell_width = (max(i.shape[axis] for i in images) for axis in (0, 1))
    size = int(np.clip(cell_width / 14, 11, 22))
    title_height = 2 * size
    rows = -(-len(images) // columns)
    step_x, step_y = cell_width + gap, cell_height + title_height
    sheet = Image.new("RGB", (columns * step_x + gap, rows * step_y + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        x, y = gap + i % columns * step_x, i // columns * step_y
        text, font = _fitted(title, cell_width, size)
        draw.text((x, y + title_height / 2), text, fill=INK, font=font, anchor="lm")
        sheet.paste(Image.fromarray(_to_uint8(image)), (x, y + title_height))
    return np.asarray(sheet)


def stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """Puts images under each other on white: uint8 (sum of heights, largest width, 3)."""
    width = max(image.shape[1] for image in images)
    padded = [
        np.pad(_to_uint8(i), ((0, 0), (0, width - i.shape[1]), (0, 0)), constant_values=255)
        for i in images
    ]
    return np.concatenate(padded)


# === What the pairwise terms have learned ===


def compatibility_matrix(b13_kernel: np.ndarray, mixtures: int) -> np.ndarray:
    """The penalty that b13 and b14 give label u (row) where label v (column) fills the window.

    Each b13 filter is summed over its window (Fig. 4a of the paper, Fig. 6a of its journal
    version), and the smallest of a label's K sums counts: with v everywhere in the window, that is
    what b14's minimum answers. Low means that u is likely beside v. An amount added to a whole
    column changes no prediction, since the softmax runs over u: compare within columns.

    Args:
        b13_kernel: (n, n, L, L*K), a label's K filters side by side. It weighs what b12 gives; if
            b12's scalar a is negative, pass the kernel with its sign changed.
        mixtures: K.

    Returns:
        float (L, L).

    Raises:
        ValueError: if the kernel does not have this shape.

    Example:
    >>> compatibility_matrix(np.ones((9, 9, 21, 105)), mixtures=5).shape
    (21, 21)
    """
    kernel = _split_mixtures(b13_kernel, mixtures)
    return kernel.sum(axis=(0, 1)).min(axis=-1).T


def context_maps(b13_kernel: np.ndarray, mixtures: int) -> np.ndarray:
    """Where around label u label v tends to lie: penalties (L, L, n, n), low is likely.

    `maps[u, v, y, x]` is the penalty b13 and b14 give u when v alone is seen at that position of
    the window (middle: n // 2), less its mean over u: what all labels share drops out of the
    softmax, so only the difference counts. Of the K mixtures the smallest answers, as in b14.

    Args and Raises as in `compatibility_matrix`.

    Example:
    >>> kernel = np.zeros((3, 3, 2, 2))
    >>> kernel[0, 1, 1, 0] = -4.0  # label 1 above makes label 0 likely
    >>> context_maps(kernel, mixtures=1)[0, 1].tolist()
    [[0.0, -2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    maps = _split_mixtures(b13_kernel, mixtures).min(axis=-1)  # (n, n, v, u)
    maps = maps.transpose(3, 2, 0, 1)  # (u, v, n, n)
    return maps - maps.mean(axis=0, keepdims=True)


def strongest_contexts(maps: np.ndarray, count: int, per_label: int = 2) -> list[tuple[int, int]]:
    """The (u, v) whose maps are lowest in a tenth of the window, at most `per_label` for each u.

    A label's own map is left out: nearly always it says that more of the same is around it. So is
    the middle of the window, the pixel itself.
    """
    around = _without_middle(maps)
    lowest = np.nanquantile(around, 0.1, axis=(2, 3))  # a single low position would be noise
    np.fill_diagonal(lowest, np.inf)
    chosen: list[tuple[int, int]] = []
    for index in np.argsort(lowest, axis=None, kind="stable"):
        u, v = divmod(int(index), lowest.shape[1])
        if u != v and sum(other == u for other, _ in chosen) < per_label:
            chosen.append((u, v))
    return chosen[:count]


# === Plots ===


def plot_compatibility(matrix: np.ndarray, names: Sequence[str]) -> "Figure":
    """The label compatibilities as a matrix: blue where the column's label makes the row's likely.

    Args:
        matrix: (L, L) from `compatibility_matrix`. Each column is shown less its mean. The colours
            span what lies off the diagonal; a label's own surroundings may exceed them.
        names: the L classes.
    """
    matrix = _check_square(matrix, names, "matrix")
    centred = matrix - matrix.mean(axis=0)
    limit = np.abs(centred[~np.eye(len(names), dtype=bool)]).max(initial=0.0) or 1.0
    figure, axes = _matrix_figure(names)
    picture = axes.imshow(centred, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_xlabel("label that fills its surroundings")
    axes.set_ylabel("label")
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, ticks=[-limit, 0, limit])
    bar.ax.set_yticklabels(["likely", "as the\nmean label", "unlikely"])
    bar.outline.set_visible(False)
    return figure


def plot_contexts(
    maps: np.ndarray,
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]] | None = None,
    columns: int = 4,
) -> "Figure":
    """Contexts as the paper's Fig. 4b: 'A : B' shows in blue where B lies around A, the cross.

    Args:
        maps: (L, L, n, n) from `context_maps`.
        names: the L classes.
        pairs: (A, B) to draw; by default the twelve strongest.
        columns: patterns in a row.
    """
    _check_square(maps, names, "maps")
    pairs = strongest_contexts(maps, 12) if pairs is None else list(pairs)
    columns = min(columns, max(1, len(pairs)))
    rows = max(1, -(-len(pairs) // columns))
    figure = _figure(1.75 * columns + 1.0, 1.95 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    n = maps.shape[-1]
    maps = _without_middle(maps)
    limit = max((np.nanmax(np.abs(maps[pair])) for pair in pairs), default=0.0) or 1.0
    picture = None
    for axes in grid:
        axes.set_axis_off()
    for axes, (u, v) in zip(grid, pairs, strict=False):
        picture = axes.imshow(maps[u, v], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.plot(n // 2, n // 2, marker="+", color=INK, markersize=9, markeredgewidth=1.4)
        title = f"{names[u]} : {names[v]}"
        axes.set_title(title, fontsize=_title_size(title), color=INK, pad=4)
    if picture is not None:
        bar = figure.colorbar(picture, ax=figure.axes, shrink=min(0.9, 1.6 / rows), aspect=12)
        bar.set_ticks([-limit, 0, limit], labels=["likely", "neutral", "unlikely"])
        bar.outline.set_visible(False)
    return figure


def plot_confusion(confusion: np.ndarray, names: Sequence[str]) -> "Figure":
    """A confusion matrix in per cent of each true class; classes without pixels stay grey.

    Args:
        confusion: counts (L, L), truth in rows, predictions in columns.
        names: the L classes.
    """
    confusion = _check_square(confusion, names, "confusion").astype("float64")
    totals = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, totals, out=np.full_like(confusion, np.nan), where=totals > 0)
    figure, axes = _matrix_figure(names)
    axes.set_facecolor("#dddddd")
    picture = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    for (row, column), value in np.ndenumerate(100 * share):
        if value >= 0.5:
            color = "white" if value > 55 else INK
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8
            )
    bar = figure.colorbar(picture, ax=axes, shrink=0.8)
    bar.set_label("% of the true class")
    bar.outline.set_visible(False)
    return figure


def plot_curves(history: Sequence[Mapping[str, object]]) -> "Figure":
    """Loss and mean IoU over a run's epochs, training and validation, with its stages marked.

    Args:
        history: one mapping an epoch, in order: "stage", "epoch" (from 1 in each stage; 0 for the
            values before it) and any of "loss", "val_loss", "miou", "val_miou".

    Raises:
        ValueError: without an epoch.
    """
    if not history:
        raise ValueError(
            "Invalid value for argument `history`: expected at least one epoch, received none."
        )
    figure = _figure(8.0, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True)
    start = 0
    for order, (stage, rows) in enumerate(_by_stage(history)):
        stop = start + max(row["epoch"] for row in rows)
        if order % 2 == 0:
            for axes in (upper, lower):
                axes.axvspan(start, stop, color="#f2f4f7", zorder=0, linewidth=0)
        _draw_curves(upper, rows, start, ("loss", "val_loss"), 1)
        _draw_curves(lower, rows, start, ("miou", "val_miou"), 100)
        # Neighbouring names take turns on two lines: short stages leave no room for one line.
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        shift = (0, 4 + 12 * (order % 2))
        upper.annotate(
            stage, ((start + stop) / 2, 1), xytext=shift, ha="center", fontsize=9, **place
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


def figure_png(figure: "Figure", dpi: int = 144) -> bytes:
    """A figure as PNG bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def _by_stage(history: Sequence[Mapping[str, object]]) -> list[tuple[str, list]]:
    return [
        (stage, list(rows)) for stage, rows in itertools.groupby(history, lambda row: row["stage"])
    ]


def _draw_curves(
    axes: "Axes",
    rows: Sequence[Mapping[str, object]],
    start: int,
    keys: tuple[str, str],
    factor: float,
) -> None:
    """One stage's training and validation values over the epochs since the run's start."""
    for key, (color, dash, _) in zip(keys, CURVES, strict=True):
        known = [row for row in rows if row.get(key) is not None and np.isfinite(row[key])]
        epochs = [start + row["epoch"] for row in known]
        values = [factor * row[key] for row in known]
        if known:  # an empty line that is not clipped would upset the layout
            axes.plot(epochs, values, dash, color=color, marker="o", markersize=3.5, clip_on=False)
    axes.grid(axis="y", color="#e4e4e4")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)


def _legend_lines() -> list:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=color, linestyle=dash, marker="o", markersize=3.5, label=name)
        for color, dash, name in CURVES
    ]


def _matrix_figure(names: Sequence[str]) -> tuple["Figure", "Axes"]:
    side = max(2.0, 0.42 * len(names))
    text = 0.09 * max(len(name) for name in names)  # inches, the names beside the matrix
    figure = _figure(side + text + 1.8, side + 0.7 * text + 0.8)
    axes = figure.subplots()
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    return figure, axes


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure


def _title_size(title: str) -> float:
    return float(np.clip(200 / max(1, len(title)), 6.5, 10))


# === Helpers ===


def _without_middle(maps: np.ndarray) -> np.ndarray:
    """Context maps with NaN at the pixel itself, unless the window is nothing else."""
    n = maps.shape[-1]
    middle = np.zeros((n, n), bool)
    middle[n // 2, n // 2] = n > 1
    return np.where(middle, np.nan, maps)


def _check_labels(labels: np.ndarray, colors: Colors, ignore: int | None) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Invalid value for argument `labels`: expected integers of shape (height, width), "
            f"received {labels.dtype} of shape {labels.shape}."
        )
    known = (labels >= 0) & (labels < len(colors))
    if ignore is not None:
        known |= labels == ignore
    if not known.all():
        raise ValueError(
            f"Invalid value for argument `labels`: expected 0 to {len(colors) - 1} or the ignore "
            f"label {ignore}, received {labels[~known].flat[0]}. Give a colour for every class."
        )
    return labels


def _palette(colors: Colors, ignore: int | None) -> np.ndarray:
    """uint8 (256, 3): the classes' colours and that of the ignore label."""
    colors = np.asarray(colors)
    if colors.ndim != 2 or colors.shape[1] != 3 or not 1 <= len(colors) <= 256:
        raise ValueError(
            "Invalid value for argument `colors`: expected one (red, green, blue) for each of 1 to "
            f"256 classes, received shape {colors.shape}."
        )
    palette = np.zeros((256, 3), "uint8")
    palette[: len(colors)] = colors
    if ignore is not None:
        palette[ignore] = IGNORE_COLOR
    return palette


def _split_mixtures(b13_kernel: np.ndarray, mixtures: int) -> np.ndarray:
    """(n, n, v, u*K) to float64 (n, n, v, u, K)."""
    kernel = np.asarray(b13_kernel, "float64")
    if kernel.ndim != 4 or mixtures < 1 or kernel.shape[3] != kernel.shape[2] * mixtures:
        raise ValueError(
            "Invalid value for argument `b13_kernel`: expected (window, window, labels, labels * "
            f"mixtures) with {mixtures} mixtures, received shape {kernel.shape}."
        )
    return kernel.reshape(*kernel.shape[:3], kernel.shape[2], mixtures)


def _check_square(matrix: np.ndarray, names: Sequence[str], argument: str) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.shape[:2] != (len(names), len(names)):
        raise ValueError(
            f"Invalid value for argument `{argument}`: expected one row and one column for each of "
            f"the {len(names)} names, received shape {matrix.shape}."
        )
    return matrix


def _to_uint8(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    return image if image.dtype == np.uint8 else np.rint(image).clip(0, 255).astype("uint8")


def _fitted(title: str, width: int, size: int) -> tuple[str, "FreeTypeFont"]:
    """The title and a font in which it fits the width: smaller letters first, then fewer."""
    while size > 9 and _font(size).getlength(title) > width:
        size -= 1
    font = _font(size)
    if font.getlength(title) <= width:
        return title, font
    while title and font.getlength(title + "…") > width:
        title = title[:-1]
    return title + "…", font


def _font(size: int) -> "FreeTypeFont":
    """Matplotlib's own font: on every machine the same, and it has more than Latin letters."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _png(picture) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
