"""Find presets by name, directory, training run or address."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from keras_dpn.classes import Classes
from keras_dpn.deprecation import nearest_name
from keras_dpn.download import MAX_BYTES
from keras_dpn.presets.files import (
    CARD,
    CLASSES,
    CONFIG,
    METADATA,
    WEIGHTS,
    check_files,
    read_json,
    read_metadata,
)

_INCLUDED = Path(__file__).parent  # with a directory per preset
_HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
RUN_MODEL = "model.keras"  # in a training run's directory, next to classes.json


@dataclass(frozen=True)
class PresetInfo:
    """A summary of a preset, without its weights.

    Attributes:
        name: as `from_preset` takes it.
        network: name of its class in `keras_dpn.models`.
        description: its classes and training data in one line.
        parameters: number of weights.
        classes: names of its classes; empty if the preset doesn't name them.
        miou: mean IoU in percent on its validation split; None if unknown.
    """

    name: str
    network: str
    description: str
    parameters: int
    classes: tuple[str, ...]
    miou: float | None


@cache
def available() -> dict[str, PresetInfo]:
    """Return the presets that come with the package, by name.

    Example:

    >>> available()["dpn_scenes"].network
    'DPN'
    """
    directories = sorted(path.parent for path in _INCLUDED.glob(f"*/{METADATA}"))
    return {directory.name: _info(directory) for directory in directories}


def is_directory(source: str | Path) -> bool:
    """Return whether a source of weights is a preset or a run rather than a file."""
    text = str(source)
    return text in available() or text.startswith("hf://") or Path(source).is_dir()


def find(source: str | Path) -> Path:
    """Return the local directory of a preset or a run, downloaded if it is on the Hub.

    Args:
        source: the name of an included preset, a preset's directory, the directory of a finished
            training run, or `hf://org/name[@revision]` on the Hugging Face Hub (needs
            huggingface_hub). A local directory is never looked up online.

    Raises:
        ValueError: for an unknown name, a directory that is neither, and a download of more than
            2 GiB.
        OSError: if a download fails.
    """
    text = str(source)
    if text.startswith("hf://"):
        return _download(text)
    if text in available():
        return _INCLUDED / text
    directory = Path(source)
    if (directory / METADATA).is_file() or (directory / RUN_MODEL).is_file():
        return directory
    if directory.is_dir():
        raise ValueError(
            f"{directory}: expected a preset ({CONFIG}, {WEIGHTS}, {METADATA}) or a finished "
            f"training run ({RUN_MODEL}), received neither."
        )
    raise ValueError(
        f"{text}: no such directory, and no preset of this name; {nearest_name(text, available())}"
    )


def weights_file(directory: Path) -> Path:
    """Return the file with the weights of a preset, after verifying it, or of a run.

    Args:
        directory: the result of `find`.

    Raises:
        ValueError: if a file of the preset is damaged.
    """
    if not (directory / METADATA).is_file():
        return directory / RUN_MODEL
    check_files(directory, read_metadata(directory))
    return directory / WEIGHTS


def read_classes(directory: Path) -> Classes | None:
    """Return the classes of a preset or a run; None if it doesn't name them.

    Raises:
        ValueError: for a file without valid classes; the message names it.
    """
    path = directory / CLASSES
    if not path.is_file():
        return None
    try:
        return Classes.from_json(read_json(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _info(directory: Path) -> PresetInfo:
    metadata = read_metadata(directory)
    classes = read_classes(directory)
    return PresetInfo(
        name=directory.name,
        network=metadata["network"],
        description=metadata["description"],
        parameters=metadata["parameters"],
        classes=classes.names if classes else (),
        miou=metadata["miou"],
    )


def _download(address: str) -> Path:
    match = _HUB.fullmatch(address)
    if match is None:
        raise ValueError(
            "Invalid value for argument `preset`: expected hf://org/name or "
            f"hf://org/name@revision, received {address!r}."
        )
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise ValueError(
            f"{address}: presets on the Hugging Face Hub need huggingface_hub; install it with "
            "pip install huggingface_hub."
        ) from None
    fetch = partial(
        huggingface_hub.snapshot_download,
        match["repo"],
        revision=match["revision"],
        allow_patterns=[CONFIG, WEIGHTS, METADATA, CLASSES, CARD],
    )
    if (size := _size_to_download(fetch)) > MAX_BYTES:
        raise ValueError(f"{address}: {size} bytes are too many, at most {MAX_BYTES} are fetched.")
    try:
        path = fetch()
    except Exception as error:  # of many types: no network, no such repository, no permission
        raise OSError(
            f"{address}: the download failed: {error}. Check the name and the connection, or give "
            "a local directory."
        ) from error
    return Path(path)


def _size_to_download(fetch: Callable[..., Any]) -> int:
    try:
        planned = fetch(dry_run=True)
    except Exception:  # such as no network: then there may be a copy, or the download fails
        return 0
    return sum(file.file_size or 0 for file in planned if file.will_download)
