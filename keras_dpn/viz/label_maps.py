"""Label maps in colour."""

from collections.abc import Sequence

import numpy as np

from keras_dpn.viz.png import png, to_uint8

Colors = Sequence[Sequence[int]]

IGNORE_COLOR = (224, 224, 192)  # the colour of void in PASCAL VOC's palette


def colorize(labels: np.ndarray, colors: Colors, ignore: int | None = 255) -> np.ndarray:
    """Colour a label map: each class in its colour, ignored pixels in `IGNORE_COLOR`.

    Args:
        labels: integers (H, W), 0 to L-1 or `ignore`.
        colors: one (red, green, blue), 0-255, for each of the L classes.
        ignore: label of pixels without a class; None if there are none.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: if `labels` is not (H, W) integers, or contains a value without a colour; if
            `colors` are not integers 0-255.

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
    """Blend the colours of a label map over its image; ignored pixels show the image.

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
    colored = colorize(labels, colors, ignore)
    check_same_size(image, colored)
    if not 0 <= alpha <= 1:
        raise ValueError(
            "Invalid value for argument `alpha`: expected 0 (the image) to 1 (the label map), "
            f"received {alpha}."
        )
    mixed = to_uint8((1 - alpha) * image + alpha * colored)
    if ignore is None:
        return mixed
    return np.where(np.asarray(labels)[..., None] == ignore, to_uint8(image), mixed)


def label_png(labels: np.ndarray, colors: Colors, ignore: int | None = 255) -> bytes:
    """Return a label map as a palette PNG: its values are the labels, viewers show the colours.

    Args and Raises as in `colorize`.
    """
    from PIL import Image

    labels = _check_labels(labels, colors, ignore)
    canvas = Image.fromarray(labels.astype("uint8"))
    canvas.putpalette(_palette(colors, ignore).tobytes())
    return png(canvas)


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


def check_same_size(image: np.ndarray, colored: np.ndarray) -> None:
    """Raise ValueError unless an image is as large as a coloured label map."""
    if image.shape != colored.shape:
        raise ValueError(
            "Invalid value for argument `image`: expected the labels' height and width and 3 "
            f"channels {colored.shape}, received {image.shape}."
        )


def _palette(colors: Colors, ignore: int | None) -> np.ndarray:
    """Return uint8 (256, 3): the classes' colours and that of the ignore label."""
    table = np.asarray(colors)
    if table.ndim != 2 or table.shape[1] != 3 or not 1 <= len(table) <= 256:
        raise ValueError(
            "Invalid value for argument `colors`: expected one (red, green, blue) for each of 1 to "
            f"256 classes, received shape {table.shape}."
        )
    is_integer = np.issubdtype(table.dtype, np.integer)
    known = (table >= 0) & (table <= 255) if is_integer else np.zeros(table.shape, bool)
    if not known.all():
        raise ValueError(
            "Invalid value for argument `colors`: expected integers 0 to 255, received "
            f"{table[~known].flat[0]} of {table.dtype}."
        )
    palette = np.zeros((256, 3), "uint8")
    palette[: len(table)] = table
    if ignore is not None:
        palette[ignore] = IGNORE_COLOR
    return palette
