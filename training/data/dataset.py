"""Base classes of datasets: classes, named splits of examples, and reading of an example."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_dpn.classes import Classes


@dataclass(frozen=True)
class Example:
    """One image with its label map: its files, or its index in a generated split."""

    name: str
    image: Path | None = None
    label: Path | None = None
    index: int = 0

    @property
    def image_file(self) -> Path:
        """The image's file.

        Raises:
            ValueError: naming the example, if it has none.
        """
        if self.image is None:
            raise ValueError(f"{self.name}: the example has no image file.")
        return self.image

    @property
    def label_file(self) -> Path:
        """The label map's file.

        Raises:
            ValueError: naming the example, if it has none.
        """
        if self.label is None:
            raise ValueError(f"{self.image or self.name}: the example has no label map.")
        return self.label


class Dataset(ABC):
    """Named splits of examples that share their classes.

    Attributes:
        name: a short name for messages.
        classes: the `Classes`.
        splits: the examples of each split, in order. They are listed, not read: files may be
            missing or broken (`keras-dpn check-data` checks them).
        unlabelled: images whose labels are not public, by split; their examples have no label.
        unavailable: by split, why its examples are not available.
        expected_size: by split, how many examples the complete dataset has.
        subset_of: by split, another split that contains all its examples on purpose.
        label_values: the label of each number in label maps, if the dataset says them.
    """

    name: str
    classes: Classes
    splits: dict[str, tuple[Example, ...]]
    unlabelled: Mapping[str, tuple[Example, ...]] = {}
    unavailable: Mapping[str, str] = {}
    expected_size: Mapping[str, int] = {}
    subset_of: Mapping[str, str] = {}
    label_values: Mapping[int, int] | None = None

    @abstractmethod
    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        """Read one example.

        Returns:
            The image, uint8 (H, W, 3) RGB, and its labels, uint8 (H, W): 0..L-1 or the ignore
            label.

        Raises:
            ValueError: naming the file, if it can't be read or doesn't match.
        """

    def read_labels(self, example: Example) -> np.ndarray:
        """Read only the labels of one example, uint8 (H, W), as `read` does."""
        return self.read(example)[1]

    def examples(self, split: str) -> tuple[Example, ...]:
        """Return the examples of a split.

        Raises:
            ValueError: on a split that the dataset doesn't have.
        """
        if split in self.unavailable:
            raise ValueError(f"{self.name} {split}: {self.unavailable[split]}")
        if split not in self.splits:
            raise ValueError(
                f"Invalid value for argument `split`: {self.name} has {sorted(self.splits)}, "
                f"received {split!r}."
            )
        return self.splits[split]


def read_file(path: Path) -> bytes:
    """Read a file, but no pipe or device, which may wait, or go on, for ever.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    return path.read_bytes()


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file.

    Raises:
        ValueError: naming the file, if it isn't UTF-8.
        FileNotFoundError: as `read_file`.
    """
    try:
        return read_file(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8 ({error}).") from None
