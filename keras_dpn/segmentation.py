"""Segmentation: the labels of one image, with probabilities, overlays and files."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.files import atomic_file
from keras_dpn.inference.images import resize
from keras_dpn.probabilities import to_labels
from keras_dpn.viz import image_png, label_png, overlay


class Segmentation:
    """The labels of one image.

    Attributes:
        image: the image, uint8 or float (H, W, 3).
        classes: `Classes`, names and colours of the labels.
        maps: probabilities (h, w, L) by head, at the size that the network saw.
        source: the file of the image; None if it came as an array.
        is_unfamiliar: whether the mean confidence is lower than on any validation image, as for an
            image unlike the training images; None if the confidence on the validation images isn't
            known.
    """

    def __init__(
        self,
        image: np.ndarray,
        maps: Mapping[str, np.ndarray],
        classes: Classes,
        *,
        source: Path | None = None,
        lowest_confidence: float | None = None,
    ) -> None:
        self.image = image
        self.maps = dict(maps)
        self.classes = classes
        self.source = source
        self._file = None if source is None else source.absolute()
        self._lowest_confidence = lowest_confidence

    @cached_property
    def labels(self) -> np.ndarray:
        """The most probable class of every pixel, uint8 (H, W)."""
        return self.head_labels(self._last)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probability of every class at every pixel, float32 (H, W, L)."""
        return self.head_probabilities(self._last)

    @property
    def shares(self) -> dict[str, float]:
        """The fraction of the pixels by the class's name, the largest first, without zeros."""
        counts = np.bincount(self.labels.ravel(), minlength=self.classes.num_classes)
        fractions = {
            self.classes.names[i]: float(counts[i] / self.labels.size) for i in np.argsort(-counts)
        }
        return {name: fraction for name, fraction in fractions.items() if fraction}

    @cached_property
    def confidence(self) -> float:
        """The mean, over the pixels, of the most probable class's probability, 0 to 1."""
        return float(self.maps[self._last].max(axis=-1).mean())

    @property
    def is_unfamiliar(self) -> bool | None:
        """Whether the mean confidence is lower than on any validation image."""
        if self._lowest_confidence is None:
            return None
        return self.confidence < self._lowest_confidence

    def head_probabilities(self, head: str) -> np.ndarray:
        """Return the probabilities at one of the heads, float32 (H, W, L).

        Args:
            head: a key of `maps`.

        Raises:
            KeyError: for another name.
        """
        return resize(self.maps[head], *self.image.shape[:2])

    def head_labels(self, head: str) -> np.ndarray:
        """Return the labels at one of the heads, uint8 (H, W).

        Args:
            head: a key of `maps`.

        Raises:
            KeyError: for another name.
        """
        return self._most_probable(head)[0]

    def head_confidences(self, head: str) -> np.ndarray:
        """Return the most probable class's probability at one of the heads, float32 (H, W).

        Args:
            head: a key of `maps`.

        Raises:
            KeyError: for another name.
        """
        return self._most_probable(head)[1]

    def _most_probable(self, head: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels and their probabilities, both (H, W)."""
        maps, size = self.maps[head], self.image.shape[:2]
        if maps.shape[:2] == size:
            return to_labels(maps), maps.max(axis=-1)
        best, labels = np.zeros(size, "float32"), np.zeros(size, "uint8")
        for index in range(maps.shape[-1]):
            # All at once they take a hundred times the image's memory.
            probability = resize(maps[..., index : index + 1], *size)[..., 0]
            higher = probability > best
            best[higher], labels[higher] = probability[higher], index
        return labels, best

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """Return the image with the labels' colours blended over it, uint8 (H, W, 3).

        Args:
            alpha: weight of the colours, 0 to 1.
        """
        return overlay(self.image, self.labels, self.classes.colors, self.classes.ignore, alpha)

    def save(self, path: str | Path, what: Literal["labels", "overlay"] = "labels") -> None:
        """Write the labels, or the image with their colours over it, as a PNG file.

        Args:
            path: NAME.png. The file of the image itself is never overwritten.
            what: "labels", a palette PNG whose values are the labels and which viewers show in
                the classes' colours; or "overlay".

        Raises:
            ValueError: for another suffix or value, and for the image's own file.
            OSError: if the file can't be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ValueError(
                f"{path}: expected a name that ends in .png, which keeps every label as it is."
            )
        if what not in ("labels", "overlay"):
            raise ValueError(
                "Invalid value for argument `what`: expected 'labels' or 'overlay', received "
                f"{what!r}."
            )
        if self._file is not None and _is_same_file(path, self._file):
            raise ValueError(f"{path}: the result would overwrite the image. Give another name.")
        if what == "labels":
            content = label_png(self.labels, self.classes.colors, self.classes.ignore)
        else:
            content = image_png(self.overlay())
        with atomic_file(path, len(content)) as temporary:
            temporary.write_bytes(content)

    @property
    def _last(self) -> str:
        return next(reversed(self.maps))

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        largest = ", ".join(f"{name} {share:.0%}" for name, share in list(self.shares.items())[:5])
        return f"<Segmentation {width}x{height}: {largest}>"


def _is_same_file(path: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, also where its name may be written otherwise."""
    exist = path.exists() and other.exists()
    return path.samefile(other) if exist else path.resolve() == other.resolve()
