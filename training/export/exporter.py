"""Export trained networks to single files, and describe them for those who serve them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_dpn.export import export_litert, export_onnx
from keras_dpn.io.formats import is_image, list_visible
from keras_dpn.io.images import read_image
from keras_dpn.presets.files import METADATA, read_metadata

from ..evaluation.results import Evaluation
from ..evaluation.scores import SCORES
from ..rundir.paths import evaluation_files, load_config
from . import Format
from .verification import file_inputs, resize

CALIBRATION_IMAGES = 100
QUANTIZATIONS: dict[Format, Literal["float16", "dynamic", "int8"] | None] = {
    "litert": None,
    "litert_float16": "float16",
    "litert_dynamic": "dynamic",
    "litert_int8": "int8",
}


def export_file(
    model: keras.Model,
    out: Path,
    format: Format,
    image_size: tuple[int, int] | None,
    calibration_images: Sequence[np.ndarray] | None,
) -> Path:
    """Write one of the formats that are a single file, and return its path.

    Args:
        model: of a run or a preset.
        out: directory of the exported model.
        format: any but saved_model.
        image_size: height and width to which images are resized; None for any size.
        calibration_images: for litert_int8, uint8 (H, W, 3) each.
    """
    if format == "onnx":
        return export_onnx(model, file_of(out, format), image_size=image_size)
    quantization = QUANTIZATIONS[format]
    representative = None
    if calibration_images is not None and quantization == "int8":
        representative = [
            {
                name: value[0]
                for name, value in file_inputs(
                    model, image if image_size is None else resize(image, image_size)
                ).items()
            }
            for image in calibration_images
        ]
    return export_litert(
        model,
        file_of(out, format),
        quantization=quantization,
        representative=representative,
        image_size=image_size,
    )


def file_of(out: Path, format: Format) -> Path:
    """Return the file that `export_file` writes."""
    name = "model.onnx" if format == "onnx" else f"{format.replace('litert', 'model')}.tflite"
    return out / name


def read_calibration_images(folder: Path) -> list[np.ndarray]:
    """Read the first hundred images of a folder.

    Raises:
        ValueError: where there is none.
    """
    files = [*filter(is_image, list_visible(folder))]
    if not files:
        raise ValueError(f"{folder}: expected a folder of images, received one without.")
    return [read_image(file) for file in files[:CALIBRATION_IMAGES]]


def describe(directory: Path) -> dict[str, Any]:
    """Return the metadata of a preset, or the scores and the configuration of a run."""
    if (directory / METADATA).is_file():
        return {"preset": read_metadata(directory)}
    return {"scores": read_scores(directory), "config": load_config(directory)}


def read_scores(work_dir: Path) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return the scores of a run's evaluations by split, head and name."""
    scores = {}
    for split, file in evaluation_files(work_dir).items():
        heads = Evaluation.load(file, with_counts=False).heads
        scores[split] = {h.name: {name: h.value(name) for name in SCORES} for h in heads}
    return scores
