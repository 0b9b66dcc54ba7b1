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


def prediction_of(row: Row) -> Prediction:
    """Return the prediction of a row, with maps cropped to the size of the image."""
    maps = {name: row[name] for name in ("labels", "probabilities") if name in row}
    stages = {name: row[name] for name in OUTPUTS["stages"] if name in row}
    if "sizes" in row:
        height, width = row["sizes"]
        maps = {name: x[:height, :width] for name, x in maps.items()}
        stages = {name: x[:, :height, :width] for name, x in stages.items()}
    return Prediction(
        **maps,
        **stages,
        overlay=row.get("overlay_bytes"),
        label_png=row.get("label_png_bytes"),
        class_names=tuple(row["class_names"]) if "class_names" in row else None,
        class_colors=row.get("class_colors"),
    )
