"""What a data set is: classes, named splits of examples, and a way to read one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_dpn.classes import Classes


@dataclass(frozen=True)
class Example:
    """One picture with its label map: the files of it, or its number in a generated split."""

    name: str
    image: Path | None = None
    label: Path | None = None
    index: int = 0


class Dataset(ABC):
    """Named splits of examples that share their classes.

    Attributes:
        name: a short name for messages.
        classes: the `Classes`.
        splits: the examples of each split, in order. They are listed, not read: files may be
            missing or broken (`training.check_data` finds out).
        unlabelled: pictures whose labels are not public, by split; their examples have no label.
        unavailable: by split, why its examples can't be had here.
        official: by split, how many examples the complete data set has.
        within: by split, another that has all its examples on purpose.
    """

    name: str
    classes: Classes
    splits: dict[str, tuple[Example, ...]]
    unlabelled: Mapping[str, tuple[Example, ...]] = {}
    unavailable: Mapping[str, str] = {}
    official: Mapping[str, int] = {}
    within: Mapping[str, str] = {}

    @abstractmethod
    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        """Reads one example.

        Returns:
            The image, uint8 (H, W, 3) RGB, and its labels, uint8 (H, W): 0..L-1 or the ignore
            label.

        Raises:
            ValueError: naming the file, where it can't be read or does not fit.
        """

    def read_labels(self, example: Example) -> np.ndarray:
        """Reads the labels of one example alone, uint8 (H, W), as `read` does."""
        return self.read(example)[1]

    def examples(self, split: str) -> tuple[Example, ...]:
        """The examples of a split.

        Raises:
            ValueError: on a split that the data set does not have.
        """
        if split in self.unavailable:
            raise ValueError(f"{self.name} {split}: {self.unavailable[split]}")
        if split not in self.splits:
            raise ValueError(
                f"Invalid value for argument `split`: {self.name} has {sorted(self.splits)}, "
                f"received {split!r}."
            )
        return self.splits[split]


def read_lines(path: Path) -> list[str]:
    """The lines of a text file.

    Raises:
        ValueError: naming the file, where it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8 ({error}).") from None
