"""Colour masks with labelmap.txt, as CVAT ("Segmentation mask") and Datumaro export them."""

from pathlib import Path
from unicodedata import normalize

from keras_dpn.io.formats import is_image, list_visible

from ..dataset import Example
from ..io.class_files import read_labelmap
from .base import FileDataset, find_file, read_relative_names


class LabelmapDataset(FileDataset):
    """Label maps in the colours of `labelmap.txt`.

    Args:
        data_dir: holds `labelmap.txt`, `SegmentationClass/` with a PNG per image, `JPEGImages/`,
            which CVAT writes with "Save images" (copy it otherwise), and
            `ImageSets/Segmentation/`: a list of names per split, CVAT's `default.txt` for all.

    Raises:
        ValueError: if a list or `labelmap.txt` is missing or broken, or two classes have the same
            colour.
    """

    name = "labelmap"
    prefers_colors = True

    def __init__(self, data_dir: Path) -> None:
        data_dir = Path(data_dir)
        if not (data_dir / "labelmap.txt").is_file():
            raise ValueError(f"{data_dir / 'labelmap.txt'}: no such file; expected CVAT's export.")
        self.classes = read_labelmap(data_dir / "labelmap.txt")
        lists = list_visible(data_dir / "ImageSets" / "Segmentation", "*.txt")
        if not lists:
            raise ValueError(f"{data_dir / 'ImageSets/Segmentation'}: expected a list per split.")
        images = data_dir / "JPEGImages"
        files = {
            normalize("NFC", path.relative_to(images).with_suffix("").as_posix()): path
            for path in list_visible(images, "**/*")
            if path.is_file() and is_image(path)
        }
        self.splits = {
            path.stem: tuple(
                Example(
                    name,
                    files.get(normalize("NFC", name), images / f"{name}.jpg"),
                    find_file(data_dir / "SegmentationClass" / f"{name}.png"),
                    index,
                )
                for index, name in enumerate(read_relative_names(path))
            )
            for path in lists
        }
