"""Write datasets as files, in the layouts that `FolderDataset` and `ClipFolder` read."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from keras_dpn.classes import Classes
from keras_dpn.viz import image_png, label_png

from ...utils.files import write_bytes, write_json
from ...utils.progress import progress
from ..clips.base import ClipDataset
from ..dataset import Dataset, Example
from ..io.flo import write_flo


def write_dataset(dataset: Dataset, out: Path) -> None:
    """Write a dataset in the layout that `FolderDataset` reads.

    Args:
        dataset: any dataset whose examples have different names.
        out: directory to write; created if it doesn't exist. Label maps are palette PNGs, so that
            an image viewer shows the classes' colours.
    """
    for split, examples in dataset.splits.items():
        for example in progress(examples, split):
            _write_example(dataset, example, out, "images")
        _write_split(out, split, [example.name for example in examples])
    write_classes(out, dataset.classes)


def write_clips(dataset: ClipDataset, out: Path) -> None:
    """Write a dataset of clips in the layout that `ClipFolder` reads.

    Args:
        dataset: a dataset whose frames all have labels, and are named SEQUENCE/FRAME.
        out: directory to write; created if it doesn't exist.
    """
    for split, sequences in dataset.sequences.items():
        for sequence in progress(sequences, split):
            for example in sequence:
                _write_example(dataset, example, out, "clips")
            for first, second in itertools.pairwise(sequence):
                link = out / "flow" / first.name
                write_flo(Path(f"{link}_forward.flo"), dataset.flow(first, second))
                write_flo(Path(f"{link}_backward.flo"), dataset.flow(second, first))
        _write_split(out, split, [sequence[0].name.split("/")[0] for sequence in sequences])
    write_classes(out, dataset.classes)


def write_classes(out: Path, classes: Classes) -> None:
    """Write `classes.json` of a dataset of files."""
    write_json(out / "classes.json", classes.to_json())


def _write_example(dataset: Dataset, example: Example, out: Path, folder: str) -> None:
    pixels, labels = dataset.read(example)
    classes = dataset.classes
    write_bytes(out / folder / f"{example.name}.png", image_png(pixels))
    label_map = label_png(labels, classes.colors, classes.ignore)
    write_bytes(out / "labels" / f"{example.name}.png", label_map)


def _write_split(out: Path, split: str, names: Sequence[str]) -> None:
    content = "".join(f"{name}\n" for name in names)
    write_bytes(out / "splits" / f"{split}.txt", content.encode())
