"""SIFT Flow (Liu, Yuen and Torralba, 2009): 33 classes of outdoor scenes, 256x256.

From http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip. The images and
labels are from LabelMe; the archive states no licence.

    split  images
    train      2486
    test        200  those in TestSet1.txt

Of the 2688 images the two without labels, highway_bost181 and street_urb506, are in no split.
Files number the classes from 1; 0 is unlabelled and becomes 255. Three classes, cow, desert and
moon, occur in no image of the test. There is no official palette; VOC's is used, without its
first colour.
"""

from pathlib import Path, PureWindowsPath

import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.io.formats import list_visible

from ..dataset import Example, read_lines
from ..io.images import match_values
from ..io.matlab import read_mat
from .base import FileDataset, find_root, list_examples
from .voc import color_map

CLASSES = Classes(
    names=(
        "awning",
        "balcony",
        "bird",
        "boat",
        "bridge",
        "building",
        "bus",
        "car",
        "cow",
        "crosswalk",
        "desert",
        "door",
        "fence",
        "field",
        "grass",
        "moon",
        "mountain",
        "person",
        "plant",
        "pole",
        "river",
        "road",
        "rock",
        "sand",
        "sea",
        "sidewalk",
        "sign",
        "sky",
        "staircase",
        "streetlight",
        "sun",
        "tree",
        "window",
    ),
    colors=color_map(34)[1:],
)

_LABELS_BY_ID = {0: CLASSES.ignore} | {label + 1: label for label in range(CLASSES.num_classes)}
_SCENES = "spatial_envelope_256x256_static_8outdoorcategories"
_UNLABELLED = {"highway_bost181", "street_urb506"}


class SiftFlowDataset(FileDataset):
    """SIFT Flow as its archive unpacks.

    Args:
        data_dir: holds `TestSet1.txt`, and `Images/` and `SemanticLabels/`, each with
            `spatial_envelope_256x256_static_8outdoorcategories/`. Every image, and all labels,
            that the list doesn't name are for training.

    Raises:
        ValueError: if one of them is missing.
    """

    name = "sift_flow"
    classes = CLASSES
    expected_size = {"train": 2486, "test": 200}

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        images, labels = (
            find_root(data_dir, (".",), f"{folder}/{_SCENES}", "SIFT Flow") / folder / _SCENES
            for folder in ("Images", "SemanticLabels")
        )
        names = {path.stem for path in list_visible(images, "*.jpg")}
        names |= {path.stem for path in list_visible(labels, "*.mat")}
        test = _read_list(data_dir / "TestSet1.txt")
        train = sorted(names - set(test) - _UNLABELLED)
        self.splits = {
            split: list_examples(listed, (images, ".jpg"), (labels, ".mat"))
            for split, listed in (("train", train), ("test", test))
        }

    def read_labels(self, example: Example) -> np.ndarray:
        return match_values(read_mat(example.label_file, "S"), _LABELS_BY_ID, example.label_file)


def _read_list(path: Path) -> list[str]:
    """Read the names in a list of files, whose lines are paths with slashes or backslashes."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the names of the test's images.")
    return [PureWindowsPath(line.strip()).stem for line in read_lines(path) if line.strip()]
