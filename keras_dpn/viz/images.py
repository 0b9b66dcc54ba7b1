"""Images side by side, with titles, legends and lines."""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_dpn.viz.figure import INK
from keras_dpn.viz.label_maps import Colors, check_same_size, colorize
from keras_dpn.viz.png import to_uint8

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

NODE_COLOR, EDGE_COLOR = "#D55E00", "#0072B2"


def legend(names: Sequence[str], colors: Colors, width: int = 640, size: int = 15) -> np.ndarray:
    """Draw colour swatches with the classes' names, in rows that fit the width.

    Args:
        names: the L classes.
        colors: as in `colorize`.
        width: width of the legend in pixels; a longer name makes it wider.
        size: font size in pixels.

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
    canvas = Image.new("RGB", (width, rows * line + size), "white")
    draw = ImageDraw.Draw(canvas)
    for i, (name, color) in enumerate(zip(names, colors, strict=True)):
        x, y = size // 2 + i % columns * cell, size // 2 + i // columns * line
        draw.rectangle((x, y + 3, x + size, y + 3 + size), fill=tuple(color), outline="#777777")
        draw.text((x + size + 6, y + 3 + size / 2), name, fill=INK, font=font, anchor="lm")
    return np.asarray(canvas)


def side_by_side(
    images: Sequence[np.ndarray], titles: Sequence[str], columns: int | None = None
) -> np.ndarray:
    """Arrange images next to each other on white, each under its title.

    Args:
        images: (H, W, 3), 0-255; sizes may differ.
        titles: one for each image; a title wider than its column is made smaller, then truncated.
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
        sheet.paste(Image.fromarray(to_uint8(image)), (x, y + title_height))
    return np.asarray(sheet)


def labelled_frame(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    colors: Colors,
    ignore: int | None = 255,
) -> np.ndarray:
    """Draw an image next to its label map, with a legend below, at a size for a screen.

    Frames of one size give images of one size, as videos need: both parts are downsampled to at
    most 960x720, and upsampled by an integer factor if they are narrower than 320 pixels.

    Args:
        image: (H, W, 3), 0-255.
        labels: as in `colorize`.
        names: the L classes.
        colors: as in `colorize`.
        ignore: as in `colorize`.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: as `colorize` and `legend`, and for an image of another size.

    Example:
    >>> labels = np.zeros((120, 160), "uint8")
    >>> labelled_frame(np.zeros((120, 160, 3)), labels, ["road"], [(90, 90, 90)]).shape
    (326, 664, 3)
    """
    from PIL import Image

    image, colored = np.asarray(image), colorize(labels, colors, ignore)
    check_same_size(image, colored)
    height, width = colored.shape[:2]
    scale = min(960 / width, 720 / height, max(1, math.ceil(320 / width)))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    smooth, exact = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
    parts = [
        np.asarray(Image.fromarray(pixels).resize(size, resampling))
        for pixels, resampling in ((to_uint8(image), smooth), (colored, exact))
    ]
    sheet = side_by_side(parts, ("input", "labels"))
    return stack([sheet, _legend_of_width(tuple(names), tuple(map(tuple, colors)), sheet.shape[1])])


@functools.lru_cache(maxsize=1)
def _legend_of_width(
    names: tuple[str, ...], colors: tuple[tuple[int, ...], ...], width: int
) -> np.ndarray:
    """Return the legend, the same for all frames of a video."""
    return legend(names, colors, width, size=int(np.clip(width / 75, 13, 20)))


def stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """Stack images vertically on white: uint8 (sum of heights, largest width, 3)."""
    width = max(image.shape[1] for image in images)
    padded = [
        np.pad(to_uint8(i), ((0, 0), (0, width - i.shape[1]), (0, 0)), constant_values=255)
        for i in images
    ]
    return np.concatenate(padded)


def draw_edges(
    image: np.ndarray, node: int, neighbors: Sequence[int], map_size: tuple[int, int]
) -> np.ndarray:
    """Draw the edges of one node of a feature map's graph on an image.

    Args:
        image: (H, W, 3), 0-255, of the map (h, w).
        node: index of its cell, in row-major order of the map.
        neighbors: indices of the cells at the other ends, for example
            `edges[exist & (edges[:, 0] == node), 1]` of `ops.box_edges`.
        map_size: (h, w).

    Returns:
        uint8 (H, W, 3): lines from the middle of the node's cell, the large dot, to the others'.

    Raises:
        ValueError: if an index is not one of the map's h * w cells.
    """
    from PIL import Image, ImageDraw

    cells = np.array([node, *neighbors], dtype=int)
    _check_cells(cells, map_size)
    image = to_uint8(image)
    fine = 4  # Pillow's lines are aliased: draw larger, then downsample
    cell = fine * np.divide(image.shape[:2], map_size)  # height, width
    y, x = (np.stack(np.unravel_index(cells, map_size), -1) + 0.5).T * cell[:, None]
    unit = max(0.06 * cell.min(), 0.6 * fine)
    drawing = Image.new("RGBA", (fine * image.shape[1], fine * image.shape[0]))
    draw = ImageDraw.Draw(drawing)
    for color, more in (
        ("white", unit),
        (EDGE_COLOR, 0),
    ):  # a white outline is visible on any image
        for end in zip(x[1:], y[1:], strict=True):
            draw.line([(x[0], y[0]), end], fill=color, width=round(unit + more))
            draw.circle(end, 2 * unit + more / 2, fill=color)
    draw.circle((x[0], y[0]), 4.5 * unit, fill="white")
    draw.circle((x[0], y[0]), 4 * unit, fill=NODE_COLOR)
    drawing = drawing.resize(image.shape[1::-1], Image.Resampling.BOX)
    base = Image.fromarray(image).convert("RGBA")
    return np.asarray(Image.alpha_composite(base, drawing).convert("RGB"))


def _check_cells(cells: np.ndarray, map_size: tuple[int, int]) -> None:
    wrong = cells[(cells < 0) | (cells >= math.prod(map_size))]
    if wrong.size:
        raise ValueError(
            "Invalid value for arguments `node` and `neighbors`: expected cells 0 to "
            f"{math.prod(map_size) - 1} of a map of {map_size[0]}x{map_size[1]}, received "
            f"{wrong[0]}."
        )


def _fitted(title: str, width: int, size: int) -> tuple[str, "FreeTypeFont"]:
    """Return the title and a font in which it fits the width: first smaller, then truncated."""
    while size > 9 and _font(size).getlength(title) > width:
        size -= 1
    font = _font(size)
    if font.getlength(title) <= width:
        return title, font
    while title and font.getlength(title + "…") > width:
        title = title[:-1]
    return title + "…", font


def _font(size: int) -> "FreeTypeFont":
    """Return Matplotlib's font: the same on every machine, with more than Latin letters."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
