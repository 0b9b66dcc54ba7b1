"""What became of each input: a manifest of the results, and a list of the files with problems."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..data.statistics import count_labels
from .manifest import result_file
from .remote import Source, local_or_remote

Kind = Literal["image", "video"]
SUFFIXES = (".jsonl", ".parquet")
ERRORS = "errors.jsonl"
"""The list of the files that can't be read, or not in full, in the directory of the results."""


@dataclass(frozen=True)
class FileResult:
    """What became of one input.

    Args:
        kind: of the input.
        name: of its results.
        height: of its labels, in pixels; None if it can't be read.
        width: of its labels, in pixels.
        frames: how many frames of a video were predicted; None for an image.
        fractions: fraction of each class in the pixels of all its labels, 0 to 1.
        problems: why it can't be read, or not in full; empty if it can.
        summary: a line about a video.
        confidence: of an image's labels, 0 to 1, see `Segmentation`; None if it isn't known.
        is_unfamiliar: whether that is lower than on any validation image, likewise.
    """

    kind: Kind
    name: str
    height: int | None = None
    width: int | None = None
    frames: int | None = None
    fractions: Sequence[float] | None = None
    problems: Sequence[str] = ()
    summary: str = ""
    confidence: float | None = None
    is_unfamiliar: bool | None = None

    @property
    def is_written(self) -> bool:
        """Whether there are labels."""
        return self.height is not None


def class_fractions(counts: np.ndarray) -> list[float]:
    """Return the fraction of each class from its pixels.

    Example:
    >>> class_fractions(np.array([3, 1, 0]))
    [0.75, 0.25, 0.0]
    """
    return (counts / max(counts.sum(), 1)).tolist()


def image_result(name: str, labels: np.ndarray, num_classes: int) -> FileResult:
    """Return the result of an image of these labels, (H, W)."""
    height, width = labels.shape
    fractions = class_fractions(count_labels(labels, num_classes))
    return FileResult("image", name, height, width, fractions=fractions)


def written_image(name: str, out: Path, num_classes: int) -> FileResult:
    """Return the result of an image that an earlier run has labelled, from its label map."""
    from PIL import Image

    with Image.open(result_file(out, "labels", name), formats=["PNG"]) as labels:
        return image_result(name, np.asarray(labels), num_classes)


def encode_manifest(path: Path, rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    """Return a manifest as a file of that suffix: Parquet, or JSON lines.

    Args:
        path: the file.
        rows: of the results, with the columns that `lists.write_lists` names.
        names: of the classes.

    Raises:
        ValueError: for another suffix, and for Parquet without pyarrow.
    """
    check_suffix(path)
    if path.suffix == ".jsonl":
        return json_lines(rows)
    pa, parquet = _pyarrow(path)
    fractions = pa.struct([(name, pa.float64()) for name in names])
    columns = {"path": pa.string(), "result": pa.string(), "height": pa.int32()}
    columns |= {"width": pa.int32(), "frames": pa.int32(), "fractions": fractions}
    columns |= {"confidence": pa.float64()}
    stream = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(list(columns.items())))
    parquet.write_table(table, stream)
    return stream.getvalue()


def check_suffix(path: Path) -> None:
    """Raise a ValueError unless a manifest is of a format that is known, and its package there."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected a manifest that ends in {' or '.join(SUFFIXES)}.")
    if path.suffix == ".parquet":
        _pyarrow(path)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as JSON lines.

    Example:
    >>> json_lines([{"path": "a.png"}, {"path": "b.png"}]).splitlines()
    [b'{"path": "a.png"}', b'{"path": "b.png"}']
    """
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read_manifest(path: Path) -> list[Source]:
    """Return the inputs that a manifest lists in its column `path`.

    Relative paths are relative to the manifest's directory. Other columns are ignored.

    Raises:
        ValueError: if it can't be read, or a row has no path.
    """
    check_suffix(path)
    try:
        if path.suffix == ".parquet":
            _, parquet = _pyarrow(path)
            paths = parquet.read_table(path, columns=["path"])["path"].to_pylist()
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
            paths = [json.loads(line)["path"] for line in lines if line.strip()]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(
            f"{path}: expected a manifest with the column 'path' ({error or type(error).__name__})."
        ) from error
    for number, listed in enumerate(paths, 1):
        if not listed or not isinstance(listed, str):
            raise ValueError(f"{path}: expected a path in row {number}, received {listed!r}.")
    found = [local_or_remote(listed) for listed in paths]
    return [path.parent / source if isinstance(source, Path) else source for source in found]


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError(
            f"{path}: Parquet needs pyarrow: pip install pyarrow. Or name a .jsonl file."
        ) from None
    return pyarrow, parquet
