"""PASCAL-Context: the images of PASCAL VOC 2010 with 59 classes of objects and stuff, and the rest.

From https://cs.stanford.edu/~roozbeh/pascal-context/ (the labels, trainval.tar.gz) and
http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ (the images, from Flickr, whose terms of use hold
for them), both unpacked in one directory. The labels' page states no licence.

    split  images
    train      4998
    val        5105

Files hold 459 categories by number. The 59 most frequent are the classes, in the order of the
authors' 59_labels.txt, which names three of them differently from their labels.txt: diningtable for
table, bedcloth for bedclothes and clothes for cloth. All others are background, which counts:
nothing is ignored. There is no official palette; VOC's is extended to 60 colours.
"""

from pathlib import Path

import numpy as np

from keras_dpn.classes import Classes

from ..dataset import Example
from ..io.images import match_values
from ..io.matlab import read_mat
from .base import FileDataset, find_root, list_examples, read_names
from .voc import color_map

# The number of each class among the 459 of labels.txt.
IDS = {
    "aeroplane": 2,
    "bicycle": 23,
    "bird": 25,
    "boat": 31,
    "bottle": 34,
    "bus": 45,
    "car": 59,
    "cat": 65,
    "chair": 72,
    "cow": 98,
    "diningtable": 397,
    "dog": 113,
    "horse": 207,
    "motorbike": 258,
    "person": 284,
    "pottedplant": 308,
    "sheep": 347,
    "sofa": 368,
    "train": 416,
    "tvmonitor": 427,
    "bag": 9,
    "bed": 18,
    "bench": 22,
    "book": 33,
    "building": 44,
    "cabinet": 46,
    "ceiling": 68,
    "clothes": 80,
    "computer": 85,
    "cup": 104,
    "door": 115,
    "fence": 144,
    "floor": 158,
    "flower": 159,
    "food": 162,
    "grass": 187,
    "ground": 189,
    "keyboard": 220,
    "light": 232,
    "mountain": 259,
    "mouse": 260,
    "curtain": 105,
    "platform": 296,
    "sign": 355,
    "plate": 295,
    "road": 324,
    "rock": 326,
    "shelves": 349,
    "sidewalk": 354,
    "sky": 360,
    "snow": 366,
    "bedcloth": 19,
    "track": 415,
    "tree": 420,
    "truck": 424,
    "wall": 440,
    "water": 445,
    "window": 454,
    "wood": 458,
}
CLASSES = Classes(("background", *IDS), color_map(len(IDS) + 1))

_LABELS_BY_ID = dict.fromkeys(range(460), 0) | {
    id_: i for i, id_ in enumerate(IDS.values(), start=1)
}


class PascalContextDataset(FileDataset):
    """PASCAL-Context's labels next to VOC 2010, as their archives unpack.

    Args:
        data_dir: holds `VOCdevkit/VOC2010/` (or is `VOCdevkit` or `VOC2010`) with `JPEGImages/` and
            `ImageSets/Main/`, and `trainval/` with a .mat file per image, which may also be in
            `VOC2010/`.

    Raises:
        ValueError: if one of them is missing, or a list is broken.
    """

    name = "pascal_context"
    classes = CLASSES
    expected_size = {"train": 4998, "val": 5105}

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        folders = "VOCdevkit/VOC2010", "VOC2010", "."
        root = find_root(data_dir, folders, "ImageSets/Main", "PASCAL VOC 2010")
        folders = ".", *folders[:2]
        labels = find_root(data_dir, folders, "trainval", "PASCAL-Context's .mat files")
        self.splits = {
            split: list_examples(
                read_names(root / "ImageSets" / "Main" / f"{split}.txt"),
                (root / "JPEGImages", ".jpg"),
                (labels / "trainval", ".mat"),
            )
            for split in ("train", "val")
        }

    def read_labels(self, example: Example) -> np.ndarray:
        return match_values(
            read_mat(example.label_file, "LabelMap"), _LABELS_BY_ID, example.label_file
        )
