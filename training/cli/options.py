"""Options that several commands share, each with one name and one meaning."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from keras_dpn.inference import InferenceSettings

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
# Training runs and presets, whose probabilities are averaged.
Runs = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(metavar="RUN ...", help_behavior_hint="(required)"),
]
# --model RUN --model PRESET
Models = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    tyro.conf.arg(help_behavior_hint="(required, repeatable)"),
]


@dataclass(frozen=True)
class DatasetOptions:
    """Which images."""

    dataset: str | None = None
    """Name of the dataset, as `keras-dpn check-data --help` lists them; by default that of the
    (first) run."""
    data_dir: Path | None = None
    """Directory of the dataset; by default that of the (first) run."""
    split: str = "val"
    """train, val or test."""


@dataclass(frozen=True)
class InferenceOptions:
    """How images are labelled."""

    scales: tuple[float, ...] = (1.0,)
    """Factors by which each image is resized; the probabilities are averaged."""
    horizontal_flip: bool = False
    """Average with the prediction of the flipped image as well."""
    tile: int | None = None
    """Side in pixels of the overlapping tiles that larger images are divided into, a multiple of 32
    from 512 up; by default as large as --memory-gib allows."""
    memory_gib: float | None = None
    """Memory in GiB that a forward pass may take, which sets the size of tiles; None: images are
    not divided. Several outputs, videos and a CRF need memory for whole images in addition."""
    max_pixels: int = 100_000_000
    """Images of more pixels are refused; sides below 64 count as 64."""
    precision: Precision = "float32"
    """Dtype policy in which the networks compute."""
    crf: Path | None = None
    """JSON file with the settings of a fully connected CRF, as `keras-dpn crf-search` writes it,
    which refines each prediction."""

    def settings(self) -> "InferenceSettings":
        """Return the settings of a `Predictor`."""
        from keras_dpn.inference import InferenceSettings

        return InferenceSettings(
            scales=self.scales,
            horizontal_flip=self.horizontal_flip,
            tile=self.tile,
            memory_gib=self.memory_gib,
            max_pixels=self.max_pixels,
        )

    def crf_settings(self) -> dict[str, Any] | None:
        """Return the settings in the CRF's file.

        Raises:
            ValueError: naming the file, and the field that is unknown or has a wrong value.
        """
        from ..configs.crf import read_crf

        return read_crf(self.crf) if self.crf else None


# Options of a group are listed like the others, without the group's name before them.
Dataset = Annotated[DatasetOptions, tyro.conf.arg(name="")]
Inference = Annotated[InferenceOptions, tyro.conf.arg(name="")]
