"""Predictions of a served model, read from the rows of a transport."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from keras_dpn.client.transports import Row

Output = Literal["labels", "probabilities", "overlay", "label_png", "classes", "stages"]
# By a client's output, the outputs of the signature that contain it.
OUTPUTS: dict[str, tuple[str, ...]] = {
    "labels": ("labels",),
    "probabilities": ("probabilities",),
    "overlay": ("overlay_bytes",),
    "label_png": ("label_png_bytes",),
    "classes": ("class_names", "class_colors"),
    "stages": ("stage_labels", "stage_confidences"),
}
# Signatures with one output of a client alone, and the sizes.
SIGNATURES = {"overlay": "overlay", "label_png": "label_png"}
OUTPUTS_OF_CLIPS = ("labels", "probabilities", "stages")
# Of each map of an image's size: the axes before those of the image, and behind them.
_OTHER_AXES = {
    "labels": (0, 0),
    "probabilities": (0, 1),
    "stage_labels": (1, 0),
    "stage_confidences": (1, 0),
}


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for an image or a clip; None for outputs that weren't requested.

    Attributes:
        labels: uint8 (H, W), for a clip those of its center frame; or (T, H, W), if the network
            predicts all frames.
        probabilities: float32 (H, W, L), or (T, H, W, L).
        overlay: a PNG file of the image blended with its labels' colours.
        label_png: a PNG file whose values are the labels, shown in the classes' colours.
        class_names: L names.
        class_colors: uint8 (L, 3), red, green, blue.
        stage_labels: uint8 (S, H, W), or (S, T, H, W), the labels at each of the network's heads;
            their names are in `model.json` under "stages".
        stage_confidences: uint8, of the same shape, the probabilities of these labels in percent.
    """

    labels: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    overlay: bytes | None = None
    label_png: bytes | None = None
    class_names: tuple[str, ...] | None = None
    class_colors: np.ndarray | None = None
    stage_labels: np.ndarray | None = None
    stage_confidences: np.ndarray | None = None


def prediction_of(row: Row, frames: tuple[int, ...] | None = None) -> Prediction:
    """Return the prediction of a row, with maps cropped to the size of the image.

    Args:
        row: the outputs of a transport.
        frames: for a clip, the shape of its frames (T, H, W, 3).

    Raises:
        ValueError: if the outputs aren't those of one image, or of this clip.
    """
    maps = {name: np.asarray(row[name]) for name in _OTHER_AXES if name in row}
    if frames is None:
        height, width = size = np.asarray(row["sizes"]).tolist()
        _check("sizes", min(size) >= 1, size)
        maps = {
            name: x[(slice(None),) * _OTHER_AXES[name][0] + (slice(height), slice(width))]
            for name, x in maps.items()
        }
        expected: set[tuple[int, ...]] = {(height, width)}
    else:
        expected = {frames[1:3], frames[:3]}
    shapes = {name: x.shape for name, x in maps.items()}
    sizes = {
        shape[_OTHER_AXES[name][0] : len(shape) - _OTHER_AXES[name][1]]
        for name, shape in shapes.items()
    }
    _check(", ".join(maps), len(sizes) <= 1 and sizes <= expected, list(shapes.values()))
    for name in ("overlay_bytes", "label_png_bytes"):
        _check(name, isinstance(row.get(name, b""), bytes), "another type")
    names, colors = row.get("class_names"), row.get("class_colors")
    if names is not None:
        is_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
        _check("class_names", is_names, "another type")
    if colors is not None:
        _check("class_colors", colors.ndim == 2 and colors.shape[-1] == 3, colors.shape)
    return Prediction(
        **maps,
        overlay=row.get("overlay_bytes"),
        label_png=row.get("label_png_bytes"),
        class_names=None if names is None else tuple(names),
        class_colors=colors,
    )


def _check(name: str, fits: bool, received: object) -> None:
    if not fits:
        raise ValueError(f"unexpected shape or type of {name}: {received}")
