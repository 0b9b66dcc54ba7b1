"""PASCAL VOC 2012 with the Semantic Boundaries Dataset (SBD): 20 classes of objects and background.

From http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (the archive of training and validation, and
for submissions that of the test) and http://home.bharathh.info/pubs/codes/SBD/download.html, both
unpacked in one directory. The images are from Flickr, whose terms of use hold for them; neither
page states a licence for the labels.

    split         images  labels
    train           1464  VOC's
    trainaug       10582  VOC's of its training images, SBD's of all others except val's
    val             1449  VOC's
    test            1456  not public: `keras-dpn submit`

SBD's lists overlap VOC's: some of its training images are in VOC's val. VOC's labels have a border
of 255, not counted, around each object; SBD's have none.
"""

from pathlib import Path

import numpy as np

from keras_dpn.classes import Classes

from ..dataset import Example
from ..io.images import match_values, read_label
from ..io.matlab import read_mat
from .base import FileDataset, find_root, list_examples, read_names


def color_map(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return VOC's palette: groups of three bits of a label are the high bits of its colour.

    Args:
        count: the number of colours, up to 256.

    Example:
    >>> color_map(3)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """
    labels, bits = np.arange(count)[:, None], np.arange(8)
    channels = [((labels >> (3 * bits + c) & 1) << (7 - bits)).sum(axis=1) for c in range(3)]
    return tuple((int(r), int(g), int(b)) for r, g, b in zip(*channels, strict=True))


CLASSES = Classes(
    (
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
    color_map(21),
)

_LABELS_BY_ID = {label: label for label in range(CLASSES.num_classes)}


class VOCDataset(FileDataset):
    """PASCAL VOC 2012, and SBD if present, as their archives unpack.

    Args:
        data_dir: holds `VOCdevkit/VOC2012/` (or is `VOCdevkit` or `VOC2012`) with `JPEGImages/`,
            `SegmentationClass/` and `ImageSets/Segmentation/`, and for the split `trainaug`
            `benchmark_RELEASE/dataset/` with `cls/`, `train.txt` and `val.txt`.

    Raises:
        ValueError: if there is no VOC 2012, or a list is missing or broken.
    """

    name = "voc"
    classes = CLASSES
    expected_size = {"train": 1464, "trainaug": 10582, "val": 1449, "test": 1456}
    subset_of = {"train": "trainaug"}

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        root = find_root(
            data_dir,
            ("VOCdevkit/VOC2012", "VOC2012", "."),
            "ImageSets/Segmentation",
            "PASCAL VOC 2012",
        )
        lists, images = root / "ImageSets" / "Segmentation", (root / "JPEGImages", ".jpg")
        labels = root / "SegmentationClass", ".png"
        self.splits = {
            split: list_examples(read_names(lists / f"{split}.txt"), images, labels)
            for split in ("train", "val")
        }
        self.unavailable = {"test": "its labels are not public; see `keras-dpn submit`."}
        if (lists / "test.txt").is_file():
            self.unlabelled = {"test": list_examples(read_names(lists / "test.txt"), images)}
        sbd = data_dir / "benchmark_RELEASE" / "dataset"
        if sbd.is_dir():
            self.splits["trainaug"] = self.splits["train"] + self._list_sbd(sbd, images)
        else:
            self.unavailable["trainaug"] = f"{sbd}: no such directory; expected SBD."

    def read_labels(self, example: Example) -> np.ndarray:
        if example.label_file.suffix == ".mat":
            values = read_mat(example.label_file, "GTcls", "Segmentation")
            return match_values(values, _LABELS_BY_ID, example.label_file)
        return read_label(example.label_file, self.classes)

    def _list_sbd(self, sbd: Path, images: tuple[Path, str]) -> tuple[Example, ...]:
        """Return SBD's examples that are in no split of VOC's."""
        known = {example.name for split in self.splits.values() for example in split}
        names = [*read_names(sbd / "train.txt"), *read_names(sbd / "val.txt")]
        others = [name for name in dict.fromkeys(names) if name not in known]
        first = len(self.splits["train"])
        return list_examples(others, images, (sbd / "cls", ".mat"), first)
