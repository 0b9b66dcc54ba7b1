"""Masks with a CSV file of classes, as on Kaggle (class_dict.csv) and from Roboflow."""

from pathlib import Path

from keras_dpn.io.formats import is_image, list_visible

from ..dataset import Example
from ..io.class_files import LabelledClasses, read_class_dict, read_roboflow_classes
from .base import FileDataset
from .voc import color_map

_SPLITS = {"valid": "val", "validation": "val"}
# What follows an image's name in its label map's, and what an image's name may end with instead.
_LABEL_ENDINGS = ("", "_mask", "_L", "_label", "_labels", "_gt")
_IMAGE_ENDING = "_sat"
_CLASS_FILES = ("class_dict.csv", "class_dict_seg.csv")
_ROBOFLOW = "_classes.csv"


class ClassDictDataset(FileDataset):
    """Directories of images and masks, one per split, with a CSV file of classes.

    Args:
        data_dir: holds `class_dict.csv`, with a class's name, red, green and blue per row, or
            Roboflow's `_classes.csv` in each split's directory, with the number in the masks and
            the name. Of each split, `train/`, `val/` (or `valid/`)..., the masks are in
            `train_labels/` or next to the images, with the image's name or `NAME_mask`, `NAME_L`,
            `NAME_label`, `NAME_gt`; images may be called `NAME_sat`.

    Raises:
        ValueError: if there is no such file or no split, or the file is broken.
    """

    name = "class_dict"

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        self.classes, self.label_values = _read_classes(data_dir)
        self.prefers_colors = self.label_values is None
        self.splits, self.unlabelled = {}, {}
        for folder in filter(Path.is_dir, list_visible(data_dir)):
            if folder.name.endswith("_labels"):
                continue
            split = _SPLITS.get(folder.name, folder.name)
            examples = _list_examples(folder, data_dir / f"{folder.name}_labels")
            if any(example.label for example in examples):
                self.splits[split] = examples
            elif examples:
                self.unlabelled = {**self.unlabelled, split: examples}
        if not self.splits:
            raise ValueError(f"{data_dir}: expected train/, val/... with images and masks.")


def _read_classes(data_dir: Path) -> LabelledClasses:
    for name in _CLASS_FILES:
        if (data_dir / name).is_file():
            return LabelledClasses(read_class_dict(data_dir / name))
    files = list_visible(data_dir, f"*/{_ROBOFLOW}")
    if not files:
        raise ValueError(f"{data_dir / _CLASS_FILES[0]}: no such file, and no {_ROBOFLOW}.")
    found = [read_roboflow_classes(path, color_map(256)) for path in files]
    if any(classes != found[0] for classes in found):
        raise ValueError(f"{files[0]} and those of other splits differ; they must agree.")
    return found[0]


def _list_examples(folder: Path, labels_folder: Path) -> tuple[Example, ...]:
    """Return the images of a directory; without label maps for those that have none."""
    files = _images(folder)
    labels = files
    if labels_folder.is_dir():
        labels = _images(labels_folder)
    found: dict[str, tuple[Path, Path | None]] = {}
    for stem, path in files.items():
        name = stem.removesuffix(_IMAGE_ENDING)
        own = (labels.get(f"{name}{ending}") for ending in _LABEL_ENDINGS)
        found[stem] = path, next((label for label in own if label not in (None, path)), None)
    masks = {label for _, label in found.values()}
    images = {stem: pair for stem, pair in found.items() if pair[0] not in masks}
    has_labels = any(label for _, label in images.values())
    return tuple(
        # An image without a mask among others is an issue that `keras-dpn check-data` lists.
        Example(stem, image, label or (labels_folder / f"{stem}.*" if has_labels else None), index)
        for index, (stem, (image, label)) in enumerate(images.items())
    )


def _images(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_visible(folder) if path.is_file() and is_image(path)}
