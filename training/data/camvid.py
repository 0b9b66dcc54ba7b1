"""CamVid in SegNet's layout: 11 classes, `train.txt`, `val.txt` and `test.txt` of file pairs."""

from pathlib import Path

import numpy as np

from training.data.dataset import Classes, Dataset, Example, read_lines
from training.data.images import read_pair

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


class CamVidDataset(Dataset):
    """CamVid as SegNet's tutorial ships it.

    Args:
        data_dir: holds `train.txt`, `val.txt` and `test.txt` (one of them is enough), each line
            an image and its label map, relative to `data_dir`. Of absolute paths, as SegNet's
            own lists have them (`/SegNet/CamVid/train/x.png`), the last two parts count.

    Raises:
        ValueError: where there is no list, or a line of one is not a pair.
    """

    name = "camvid"
    classes = CLASSES

    def __init__(self, data_dir: Path):
        data_dir = Path(data_dir)
        lists = {split: data_dir / f"{split}.txt" for split in SPLITS}
        found = {split: path for split, path in lists.items() if path.is_file()}
        if not found:
            raise ValueError(
                f"{data_dir}: expected CamVid in SegNet's layout, with train.txt, val.txt or "
                "test.txt; none is there."
            )
        self.splits = {split: _read_list(path) for split, path in found.items()}

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(example.image, example.label, self.classes)


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
