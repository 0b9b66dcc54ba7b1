"""Datasets whose images and label maps are files."""

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from unicodedata import normalize

import numpy as np

from keras_dpn.io.images import ImageError, read_image

from ..dataset import Dataset, Example, read_lines
from ..io.images import read_label, size_message


class FileDataset(Dataset):
    """A dataset whose examples have an image and a label map in a file each.

    Override `read_labels` if the label maps are not those of `read_label`.

    Attributes:
        prefers_colors: whether the colours of palette label maps count, as in `read_label`.
    """

    prefers_colors = False

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = read_image(example.image_file), self.read_labels(example)
        if pixels.shape[:2] != labels.shape:
            raise ImageError(size_message(example.image_file, pixels, example.label_file, labels))
        return pixels, labels

    def read_labels(self, example: Example) -> np.ndarray:
        return read_label(
            example.label_file,
            self.classes,
            self.label_values,
            prefers_colors=self.prefers_colors,
        )


def find_root(data_dir: Path, folders: Sequence[str], mark: str, expected: str) -> Path:
    """Return the first of several folders that contains a certain file or folder.

    Args:
        data_dir: the directory.
        folders: candidates in it, such as "VOCdevkit/VOC2012"; "." is the directory itself.
        mark: the file or folder to find.
        expected: the dataset, for the message.

    Raises:
        ValueError: if none contains it.
    """
    for folder in folders:
        if (data_dir / folder / mark).exists():
            return data_dir / folder
    raise ValueError(f"{data_dir / folders[0] / mark}: not there; expected {expected}.")


def find_file(*paths: Path) -> Path:
    """Return the first path that is a file, perhaps with its accents in another form of Unicode.

    macOS writes them as characters of their own (NFD), most lists and annotations don't (NFC).
    Directories are read only if no path is a file as it is. Without a file the first path is
    returned.
    """
    return next(filter(Path.is_file, chain(paths, map(_in_other_form, paths))), paths[0])


def _in_other_form(path: Path) -> Path:
    """Return the path of the directory's entry whose name has the same characters, if any."""
    if path.name.isascii() or not path.parent.is_dir():
        return path
    names = _names_in(path.parent, path.parent.stat().st_mtime_ns)
    return path.with_name(names.get(normalize("NFC", path.name), path.name))


@lru_cache(maxsize=16)
def _names_in(directory: Path, changed: int) -> dict[str, str]:
    """Return the names in a directory by their NFC form; `changed` is when it last did."""
    return {normalize("NFC", name): name for name in os.listdir(directory)}


def read_names(path: Path) -> list[str]:
    """Read the names in a split's list, one per line.

    Raises:
        ValueError: naming the file, where it is missing or is no list of names.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the names of a split's images.")
    names = [line.strip() for line in read_lines(path) if line.strip()]
    for name in names:
        if Path(name).name != name:
            raise ValueError(f"{path}: expected an image's name per line, received {name!r}.")
    return names


def read_relative_names(path: Path) -> list[str]:
    """Read the names in a split's list, one per line, which may have directories.

    Raises:
        ValueError: naming the file, if it is no list, or a name leads out of the directory.
    """
    names = [line.strip() for line in read_lines(path) if line.strip()]
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts or "\\" in name:
            raise ValueError(f"{path}: expected names below the directory, received {name!r}.")
    return names


def list_examples(
    names: Iterable[str],
    images: tuple[Path, str],
    labels: tuple[Path, str] | None = None,
    first: int = 0,
) -> tuple[Example, ...]:
    """Return examples whose files have their names.

    Args:
        names: the names.
        images: the images' directory, and what follows the name: ".jpg".
        labels: the same for the label maps, if there are any.
        first: the index of the first example.
    """
    return tuple(
        Example(name, _file(images, name), _file(labels, name) if labels else None, index)
        for index, name in enumerate(names, start=first)
    )


def _file(location: tuple[Path, str], name: str) -> Path:
    folder, ending = location
    return folder / f"{name}{ending}"
