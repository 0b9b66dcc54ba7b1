"""CamVid in SegNet's layout: 11 classes, `train.txt`, `val.txt` and `test.txt` of file pairs."""

import itertools
import re
from pathlib import Path

import numpy as np

from training.data.clips import FilmedClips
from training.data.dataset import Classes, Example, read_lines
from training.data.flow import FlowCache
from training.data.images import read_image

SPLITS = ("train", "val", "test")

CLASSES = Classes(
    names=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    ignore=11,
)


# A frame's name: its sequence and its number at 30 frames a second, as 0001TP_006690 or
# 0006R0_f00930.
_NAME = re.compile(r"(?P<sequence>.+)_f?(?P<number>\d+)")

# Steps in time above this many of a sequence's usual ones are a hole: labels are a frame off here
# and there (0016E5_00901 for 00900).
_HOLE = 1.5


class CamVidDataset(FilmedClips):
    """CamVid as SegNet's tutorial ships it, also as clips.

    A frame's neighbours are the labelled frames before and after it, in the order of their names,
    as the videos themselves are seldom at hand: 30 frames (1 s) apart, and 2 (1/15 s) in the part
    of 0016E5 that is SegNet's `val`. A sequence ends where names have a hole, or the list does.

    Args:
        data_dir: holds `train.txt`, `val.txt` and `test.txt` (one of them is enough), each line
            an image and its label map, relative to `data_dir`. Of absolute paths, as SegNet's
            own lists have them (`/SegNet/CamVid/train/x.png`), the last two parts count.
        flow: computes and keeps the flow; by default nothing is kept.

    Raises:
        ValueError: where there is no list, or a line of one is not a pair.
    """

    name = "camvid"
    classes = CLASSES

    def __init__(self, data_dir: Path, flow: FlowCache | None = None):
        super().__init__(flow)
        data_dir = Path(data_dir)
        lists = {split: data_dir / f"{split}.txt" for split in SPLITS}
        found = {split: path for split, path in lists.items() if path.is_file()}
        if not found:
            raise ValueError(
                f"{data_dir}: expected CamVid in SegNet's layout, with train.txt, val.txt or "
                "test.txt; none is there."
            )
        self.splits = {split: _read_list(path) for split, path in found.items()}
        self.sequences = {
            split: _split_sequences(examples) for split, examples in self.splits.items()
        }

    def read_frame(self, example: Example) -> np.ndarray:
        return read_image(example.image)


def _read_list(path: Path) -> tuple[Example, ...]:
    examples = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        pair = line.split()
        if len(pair) != 2:
            raise ValueError(
                f"{path}, line {number}: expected an image and a label map, received {line!r}."
            )
        image, label = (path.parent / _relative(entry) for entry in pair)
        examples.append(Example(image.stem, image, label, len(examples)))
    return tuple(examples)


def _relative(entry: str) -> Path:
    path = Path(entry)
    return Path(*path.parts[-2:]) if path.is_absolute() else path


def _split_sequences(examples: tuple[Example, ...]) -> tuple[tuple[Example, ...], ...]:
    places = {example: _place(example) for example in examples}
    ordered = sorted(examples, key=places.get)
    films = itertools.groupby(ordered, key=lambda example: places[example][0])
    return tuple(piece for _, film in films for piece in _split_at_holes(list(film)))


def _place(example: Example) -> tuple[str, int]:
    """The sequence and the number of a frame; a name of another kind is a sequence of its own."""
    match = _NAME.fullmatch(example.name)
    return (match["sequence"], int(match["number"])) if match else (example.name, 0)


def _split_at_holes(film: list[Example]) -> list[tuple[Example, ...]]:
    numbers = [_place(example)[1] for example in film]
    steps = np.diff(numbers)
    holes = np.flatnonzero(steps > _HOLE * np.median(steps)) + 1 if len(steps) else []
    ends = [0, *holes, len(film)]
    return [tuple(film[start:stop]) for start, stop in itertools.pairwise(ends)]
