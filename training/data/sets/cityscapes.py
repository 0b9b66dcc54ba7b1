"""Cityscapes, finely labelled: 19 classes of streets in 50 cities, 1024x2048.

From https://www.cityscapes-dataset.com (registration; for non-commercial use, see its
terms): leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, both unpacked in
one directory.

    split    images
    train       2975
    val          500
    test        1525  labels not public: `keras-dpn submit`

Files hold the dataset's 34 ids. The 19 evaluated ones become the train ids 0 to 18, in the order of
the classes here; the others are ignored (255).
"""

from pathlib import Path

import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.io.formats import list_visible

from ..dataset import Example
from ..io.images import match_values, read_indices
from .base import FileDataset, find_root

CLASSES = Classes(
    names=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    colors=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
)

# The id of each class, in the classes' order.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

_LABELS_BY_ID = dict.fromkeys(range(34), CLASSES.ignore) | {id_: i for i, id_ in enumerate(IDS)}
_IMAGE, _LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"


class CityscapesDataset(FileDataset):
    """Cityscapes as its archives unpack.

    Args:
        data_dir: holds `leftImg8bit/` and `gtFine/`, each with SPLIT/CITY/. All files of each
            split that has images are listed: an image without labels, or labels without their
            image, raise when they are read (`keras-dpn check-data` lists them).

    Raises:
        ValueError: if one of the two directories is missing, or has neither train nor val.
    """

    name = "cityscapes"
    classes = CLASSES
    expected_size = {"train": 2975, "val": 500, "test": 1525}
    unavailable = {"test": "its labels are not public; see `keras-dpn submit`."}

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        images = find_root(data_dir, (".",), "leftImg8bit", "Cityscapes") / "leftImg8bit"
        labels = find_root(data_dir, (".",), "gtFine", "Cityscapes") / "gtFine"
        present = [split for split in ("train", "val") if (images / split).is_dir()]
        if not present:
            raise ValueError(f"{images}: expected train/ or val/ of Cityscapes; neither there.")
        self.splits = {split: _list_split(images / split, labels / split) for split in present}
        test = _list_split(images / "test", None)
        self.unlabelled = {"test": test} if test else {}

    def read_labels(self, example: Example) -> np.ndarray:
        return match_values(read_indices(example.label_file), _LABELS_BY_ID, example.label_file)


def _list_split(images: Path, labels: Path | None) -> tuple[Example, ...]:
    names = _names(images, _IMAGE) | (_names(labels, _LABELS) if labels else set())
    return tuple(
        Example(
            Path(name).name,
            images / f"{name}{_IMAGE}",
            labels and labels / f"{name}{_LABELS}",
            index,
        )
        for index, name in enumerate(sorted(names))
    )


def _names(folder: Path, ending: str) -> set[str]:
    """Return CITY/NAME of the files with that ending."""
    paths = list_visible(folder, f"*/*{ending}")
    return {path.relative_to(folder).as_posix().removesuffix(ending) for path in paths}
