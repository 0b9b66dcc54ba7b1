"""The files of a preset: written atomically, and verified before they are read."""

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.download import file_digest
from keras_dpn.files import atomic_directory
from keras_dpn.ops.checks import check_number, check_positive_int
from keras_dpn.version import __version__

CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # as keras.saving.load_model reads them
METADATA, CLASSES, CARD = "metadata.json", "classes.json", "README.md"
WEIGHTS_DTYPES = ("float32", "float16", "int8")


@dataclass(frozen=True, kw_only=True)
class Card:
    """The description of a preset's network.

    Args:
        description: its classes and training data in one line.
        miou: mean IoU in percent on the validation split, if known.
        size: the shorter side, in pixels, of the images that it was trained on; others are resized
            to it first. None for any size.
        lowest_confidence: the lowest mean confidence, 0 to 1, of a validation image; images below
            it are unlike the training images.
        text: the model card, Markdown: data, command, scores per class, weaknesses, licence.

    Raises:
        ValueError: for values out of these ranges.
    """

    description: str = ""
    miou: float | None = None
    size: int | None = None
    lowest_confidence: float | None = None
    text: str = ""

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {}
        if self.size is not None:
            checked["size"] = check_positive_int("size", self.size)
        if self.miou is not None:
            checked["miou"] = check_number("miou", self.miou, minimum=0)
        if self.lowest_confidence is not None:
            lowest = check_number("lowest_confidence", self.lowest_confidence, minimum=0)
            checked["lowest_confidence"] = lowest
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def write_preset(
    model: keras.Model,
    directory: str | Path,
    *,
    classes: Classes | None = None,
    card: Card | None = None,
    weights_dtype: str = "float32",
) -> None:
    """Write a preset's directory atomically.

    Args:
        model: a network of `keras_dpn.models`.
        directory: a new or empty directory.
        classes: names and colours of the model's classes.
        card: the model's description, scores and text.
        weights_dtype: "float32"; "float16" for files of half the size; "int8" for about a quarter:
            each kernel is rounded to 8 bits, with one scale for each output channel. Keras reads
            all of them.

    Raises:
        ValueError: for a directory that isn't empty, another number of classes than the
            model's, another dtype, or weights beyond the range of float16.
    """
    card = card or Card()
    if weights_dtype not in WEIGHTS_DTYPES:
        raise ValueError(
            "Invalid value for argument `weights_dtype`: expected one of "
            f"{', '.join(WEIGHTS_DTYPES)}, received {weights_dtype!r}."
        )
    labels = max(2, model.num_classes)  # one class is the second of two labels
    if classes is not None and classes.num_classes != labels:
        raise ValueError(
            f"Invalid value for argument `classes`: expected {labels} as the model has, "
            f"received {classes.num_classes}."
        )
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(
            f"{directory}: expected a new or an empty directory, received one with files."
        )
    with atomic_directory(directory) as partial:
        _write_model(model, partial)
        if weights_dtype != "float32":
            _narrow(partial / WEIGHTS, weights_dtype)
        if classes is not None:
            _write_json(partial / CLASSES, classes.to_json())
        if card.text:
            (partial / CARD).write_text(card.text, encoding="utf-8")
        _write_json(partial / METADATA, _metadata(model, partial, card, weights_dtype))


def read_metadata(directory: Path) -> dict[str, Any]:
    """Return the content of `metadata.json`.

    Raises:
        ValueError: if the directory is no preset, or one of its files is damaged.
    """
    metadata = read_json(directory / METADATA)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("sha256"), dict):
        raise ValueError(
            f"{directory / METADATA}: expected the metadata of a preset, with the SHA-256 of its "
            "files. Write the preset again with `save_to_preset`."
        )
    size, confidence = metadata.get("size"), metadata.get("lowest_confidence")
    is_size = size is None or (type(size) is int and size > 0)
    if not is_size or not isinstance(confidence, (int, float, type(None))):
        raise ValueError(
            f"{directory / METADATA}: expected `size` in pixels and `lowest_confidence` as numbers "
            f"or null, received {size!r:.100} and {confidence!r:.100}."
        )
    return metadata


def check_files(directory: Path, metadata: dict[str, Any]) -> None:
    """Raise ValueError unless each file has the SHA-256 that the metadata says."""
    for name, expected in metadata["sha256"].items():
        path = directory / name
        if Path(name).name != name or not path.is_file():
            raise ValueError(f"{path}: the preset lacks this file. Download or copy it again.")
        received = file_digest(path)
        if received != expected:
            raise ValueError(
                f"{path}: expected SHA-256 {expected}, received {received}; the file is damaged or "
                "was changed. Download or copy the preset again."
            )


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raise ValueError with its name if it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, received {error}.") from None


def _metadata(
    model: keras.Model, directory: Path, card: Card, weights_dtype: str
) -> dict[str, Any]:
    facts = asdict(card)
    del facts["text"]
    names = sorted(path.name for path in directory.iterdir() if path.name != METADATA)
    return {
        **read_json(directory / METADATA),  # written by Keras: its version and the date
        "keras_dpn_version": __version__,
        "date_saved": datetime.now(UTC).strftime("%Y-%m-%d@%H:%M:%S"),
        "network": type(model).__name__,
        "parameters": int(model.count_params()),
        "weights_dtype": weights_dtype,
        **facts,
        "sha256": {name: file_digest(directory / name) for name in names},
    }


def _write_model(model: keras.Model, directory: Path) -> None:
    """Write the files that `keras.saving.load_model` reads from a directory.

    They are those inside of a `.keras` file, whose weights Keras writes in memory: HDF5 ends the
    process with a segmentation fault where it can't write to a disk that is full.
    """
    archive = directory / "model.keras"
    model.save(archive)
    with zipfile.ZipFile(archive) as members:
        members.extractall(directory)
    archive.unlink()


def _narrow(path: Path, dtype: str) -> None:
    """Rewrite a weights file with its floats in float16, or in int8 as far as they are kernels."""
    target = io.BytesIO()
    with h5py.File(path, "r") as old, h5py.File(target, "w") as new:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                made = new.require_group(name)
            else:
                value = stored_values(item[()], dtype, name)
                is_rounded = dtype == "int8" and value.ndim > 1
                storage = {"compression": "gzip", "shuffle": True} if is_rounded else {}
                made = new.create_dataset(name, data=value, **storage)
            for key, attribute in item.attrs.items():
                made.attrs[key] = attribute

        old.visititems(copy)
        for key, attribute in old.attrs.items():
            new.attrs[key] = attribute
    path.write_bytes(target.getvalue())


def stored_values(value: np.ndarray, weights_dtype: str, name: str) -> np.ndarray:
    """Return a tensor as a preset stores it.

    Args:
        value: float32 as Keras has it; others are returned as they are.
        weights_dtype: as in `write_preset`.
        name: of the tensor, for the message.

    Raises:
        ValueError: if a value is beyond the range of float16.
    """
    if weights_dtype == "float32" or value.dtype != np.float32:
        return value
    if weights_dtype == "int8" and value.ndim > 1:
        value = _round_to_8_bits(value)
    with np.errstate(over="ignore"):  # raises below
        value = value.astype("float16")
    if not np.isfinite(value).all():
        raise ValueError(
            f"Invalid value for argument `weights_dtype`: {name} has values beyond the range of "
            "float16; use 'float32'."
        )
    return value


def _round_to_8_bits(kernel: np.ndarray) -> np.ndarray:
    """Round each output channel (the last axis) to 255 equal steps around 0.

    The steps are powers of two: float16 holds each multiple exactly, with low bits of zeros that
    gzip leaves out.
    """
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)), initial=0.0)
    step = np.exp2(np.ceil(np.log2(np.where(largest == 0, 1, largest) / 127)))
    return (np.round(kernel / step) * step).astype(kernel.dtype)


def _write_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
