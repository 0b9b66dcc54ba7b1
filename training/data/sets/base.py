"""Data sets whose pictures and label maps are files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from keras_dpn.io.images import ImageError, read_image

from ..dataset import Dataset, Example, read_lines
from ..io.images import read_label, size_message


class FileDataset(Dataset):
    """A data set whose every example has a picture and a label map in a file each.

    `read_labels` is to be overridden where label maps are not those of `read_label`.
    """

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = read_image(example.image), self.read_labels(example)
        if pixels.shape[:2] != labels.shape:
            raise ImageError(size_message(example.image, pixels, example.label, labels))
        return pixels, labels

    def read_labels(self, example: Example) -> np.ndarray:
        return read_label(example.label, self.classes)


def find_root(data_dir: Path, folders: Sequence[str], mark: str, expected: str) -> Path:
    """The first of some folders of a directory that has a certain file or folder.

    Args:
        data_dir: the directory.
        folders: places in it, as "VOCdevkit/VOC2012"; "." is the directory itself.
        mark: what has to be there.
        expected: the data set, for the message.

    Raises:
        ValueError: where none has it.
    """
    for folder in folders:
        if (data_dir / folder / mark).exists():
            return data_dir / folder
    raise ValueError(f"{data_dir / folders[0] / mark}: not there; expected {expected}.")


def read_names(path: Path) -> list[str]:
    """The names in a split's list, one on each line.

    Raises:
        ValueError: naming the file, where it is missing or is no list of names.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the names of a split's pictures.")
    names = [line.strip() for line in read_lines(path) if line.strip()]
    for name in names:
        if Path(name).name != name:
            raise ValueError(f"{path}: expected a picture's name on each line, received {name!r}.")
    return names


def list_examples(
    names: Iterable[str],
    images: tuple[Path, str],
    labels: tuple[Path, str] | None = None,
    first: int = 0,
) -> tuple[Example, ...]:
    """Examples whose files have their names.

    Args:
        names: the names.
        images: the pictures' directory, and what follows the name: ".jpg".
        labels: the same of the label maps, where there are any.
        first: the index of the first example.
    """
    return tuple(
        Example(name, _file(images, name), _file(labels, name) if labels else None, index)
        for index, name in enumerate(names, start=first)
    )


def _file(place: tuple[Path, str], name: str) -> Path:
    folder, ending = place
    return folder / f"{name}{ending}"
