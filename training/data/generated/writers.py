"""Write datasets as files, in the layouts that `FolderDataset` and `ClipFolder` read."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_dpn.classes import Classes
from keras_dpn.viz import image_png, label_png

from ...utils.files import json_bytes, write_bytes
from ...utils.progress import progress
from ..clips.base import ClipDataset
from ..dataset import Dataset, Example
from ..io.flo import flo_bytes

Write = Callable[[Path, bytes], None]

FOLDERS = ("images", "clips", "labels", "flow", "splits")
"""The folders of the layouts."""


def write_dataset(dataset: Dataset, out: Path, write: Write = write_bytes) -> None:
    """Write a dataset in the layout that `FolderDataset` reads.

    Args:
        dataset: any dataset whose examples have different names.
        out: directory to write; created if it doesn't exist. Label maps are palette PNGs, so that
            an image viewer shows the classes' colours.
        write: writes a file.
    """
    for split, examples in dataset.splits.items():
        for example in progress(examples, split):
            _write_example(dataset, example, out, "images", write)
        _write_split(out, split, [example.name for example in examples], write)
    write_classes(out, dataset.classes, write)


def write_clips(dataset: ClipDataset, out: Path, write: Write = write_bytes) -> None:
    """Write a dataset of clips in the layout that `ClipFolder` reads.

    Args:
        dataset: a dataset whose frames all have labels, and are named SEQUENCE/FRAME.
        out: directory to write; created if it doesn't exist.
        write: writes a file.
    """
    for split, sequences in dataset.sequences.items():
        for sequence in progress(sequences, split):
            for example in sequence:
                _write_example(dataset, example, out, "clips", write)
            for first, second in itertools.pairwise(sequence):
                link = out / "flow" / first.name
                write(Path(f"{link}_forward.flo"), flo_bytes(dataset.flow(first, second)))
                write(Path(f"{link}_backward.flo"), flo_bytes(dataset.flow(second, first)))
        _write_split(out, split, [sequence[0].name.split("/")[0] for sequence in sequences], write)
    write_classes(out, dataset.classes, write)


def write_classes(out: Path, classes: Classes, write: Write = write_bytes) -> None:
    """Write `classes.json` of a dataset of files."""
    write(out / "classes.json", json_bytes(classes.to_json()))


def _write_example(
    dataset: Dataset, example: Example, out: Path, folder: str, write: Write
) -> None:
    pixels, labels = dataset.read(example)
    classes = dataset.classes
    write(out / folder / f"{example.name}.png", image_png(pixels))
    label_map = label_png(labels, classes.colors, classes.ignore)
    write(out / "labels" / f"{example.name}.png", label_map)


def _write_split(out: Path, split: str, names: Sequence[str], write: Write) -> None:
    content = "".join(f"{name}\n" for name in names)
    write(out / "splits" / f"{split}.txt", content.encode())
