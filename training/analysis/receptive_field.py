"""Measure the theoretical and the effective receptive field of a unit (ParseNet, 3.1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dpn import viz
from keras_dpn.models.model_file import load_model as read_model
from keras_dpn.receptive_field import (
    discrepancy_map,
    effective_field,
    map_size,
    theoretical_field,
)

from ..rundir.models import load_model
from ..utils.files import write_bytes, write_json
from ..utils.progress import progress

Box = tuple[int, int, int, int]  # top, left, bottom, right


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Settings of the experiment that measures the effective field.

    Args:
        unit: row and column of the unit's cell; the middle one of the map by default.
        channel: as in `discrepancy_map`.
        patch: side of the patch of noise, in pixels.
        stride: pixels from one position of the patch to the next.
        batch_size: images per batch.
        threshold: as in `effective_field`.
        seed: of the noise.
    """

    unit: tuple[int, int] | None = None
    channel: int | None = None
    patch: int = 16
    stride: int = 8
    batch_size: int = 8
    threshold: float = 0.1
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """Both fields of a unit.

    Args:
        layer: name of the unit's layer.
        map_size: rows and columns of its map.
        unit: row and column of the unit's cell.
        image_size: height and width.
        theoretical_size: height and width of the theoretical field; None for an unlimited one.
        unlimited: why it is unlimited, layer by layer.
        box: the theoretical field within the image.
        effective_fraction: fraction of the box's pixels in the effective field.
        effective_box: the smallest box around the effective field.
        changes: float32 (rows, columns), change of the unit by position of the patch.
        experiment: settings of the measurement.
    """

    layer: str
    map_size: tuple[int, int]
    unit: tuple[int, int]
    image_size: tuple[int, int]
    theoretical_size: tuple[int, int] | None
    unlimited: tuple[str, ...]
    box: Box
    effective_fraction: float
    effective_box: Box
    changes: np.ndarray
    experiment: Experiment

    @property
    def center(self) -> tuple[float, float]:
        """Row and column of the unit's middle in the image, in pixels."""
        sizes = zip(self.unit, self.map_size, self.image_size, strict=True)
        row, column = ((index + 0.5) * side / cells - 0.5 for index, cells, side in sizes)
        return row, column

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        limited = self.theoretical_size
        return {
            "layer": self.layer,
            "map_size": list(self.map_size),
            "unit": list(self.unit),
            "channel": self.experiment.channel,
            "image_size": list(self.image_size),
            "theoretical_size": None if limited is None else list(limited),
            "unlimited": list(self.unlimited),
            "box": list(self.box),
            "effective_share": self.effective_fraction,
            "effective_box": list(self.effective_box),
            "threshold": self.experiment.threshold,
            "patch": self.experiment.patch,
            "stride": self.experiment.stride,
            "seed": self.experiment.seed,
            "changes": self.changes.tolist(),
        }

    def describe(self) -> str:
        """Return the result in a line."""
        top, left, bottom, right = self.box
        inside = f"{bottom - top}x{right - left}"
        if self.theoretical_size is None:
            theory = f"the whole image, {inside} pixels"
        else:
            height, width = self.theoretical_size
            theory = f"{height}x{width} pixels, {inside} of them in the image"
        fraction = f"{100 * self.effective_fraction:.0f}%"
        return f"{self.layer}: theoretical field {theory}; effective field {fraction} of that"

    def save(self, path: Path, image: np.ndarray, /, **sources: str) -> None:
        """Draw the fields over the image, and write the numbers as JSON next to the plot.

        Args:
            path: PNG file to write.
            image: the image that the fields were measured on.
            **sources: further values for the JSON file.
        """
        figure = viz.plot_receptive_field(
            image, self.changes, self.experiment.stride, self.box, self.center, self.describe()
        )
        write_bytes(path, viz.figure_png(figure))
        write_json(path.with_suffix(".json"), {**sources, **self.to_json()})


def measure(
    model: keras.Model, image: np.ndarray, layer: str, experiment: Experiment | None = None
) -> Measurement:
    """Measure both fields of a unit.

    Args:
        model: a functional model of images.
        image: uint8 (H, W, 3).
        layer: name of one of its layers.
        experiment: the unit and the settings.

    Raises:
        ValueError: as `theoretical_field`, `discrepancy_map` and `effective_field`.
    """
    experiment = experiment or Experiment()
    height, width, _ = image.shape
    rows, columns = map_size(model, layer, (height, width))
    unit = experiment.unit or (rows // 2, columns // 2)
    field = theoretical_field(model, layer, unit, (height, width))
    box = field.box((height, width))
    changes = discrepancy_map(
        model,
        layer,
        image,
        unit,
        channel=experiment.channel,
        patch=experiment.patch,
        stride=experiment.stride,
        batch_size=experiment.batch_size,
        within=box,
        seed=experiment.seed,
        progress=_with_progress,
    )
    seen, fraction = effective_field(changes, box, experiment.stride, experiment.threshold)
    size = None
    if not field.unlimited:
        size = int(field.size[0]), int(field.size[1])
    return Measurement(
        layer=layer,
        map_size=(rows, columns),
        unit=unit,
        image_size=(height, width),
        theoretical_size=size,
        unlimited=tuple(field.unlimited),
        box=box,
        effective_fraction=fraction,
        effective_box=_box_around(seen, box, experiment.stride),
        changes=changes,
        experiment=experiment,
    )


def load_network(path: Path) -> keras.Model:
    """Load the model of a run, or any from a .keras file.

    Raises:
        ValueError: for another file.
    """
    if path.is_dir():
        return load_model(path)
    if not path.is_file() or path.suffix != ".keras":
        raise ValueError(f"{path}: expected a .keras file or the directory of a run.")
    return read_model(path)


def _with_progress(batches: list[Any]) -> Iterable[Any]:
    return progress(batches, "covering positions")


def _box_around(seen: np.ndarray, box: Box, stride: int) -> Box:
    """Return the smallest rectangle around the effective field, within a box."""
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    return (
        max(int(rows[0]) * stride, box[0]),
        max(int(columns[0]) * stride, box[1]),
        min((int(rows[-1]) + 1) * stride, box[2]),
        min((int(columns[-1]) + 1) * stride, box[3]),
    )
