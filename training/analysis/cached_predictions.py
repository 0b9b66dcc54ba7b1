"""Predictions of a network on some images of a split, kept in files."""

import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ..data.dataset import Dataset
from ..utils.files import atomic_file, reading
from ..utils.progress import progress

Predict = Callable[[np.ndarray], np.ndarray]


def cache_predictions(
    dataset: Dataset,
    split: str,
    num_images: int,
    folder: Path,
    source: Path,
    load: Callable[[], Predict],
) -> list[Path]:
    """Write the probabilities of images of a split, unless they exist already.

    Args:
        dataset: the images and their labels.
        split: "train" or "val".
        num_images: evenly spaced over the split; all of them if there are no more.
        folder: receives a file per image, with the image, its labels and the probabilities: 4 bytes
            per pixel and class.
        source: the network's file; if that or an image changes, the prediction is made again.
        load: returns the network as a function from an image to probabilities.

    Returns:
        The files.

    Raises:
        ValueError: for another split, one without images, or fewer than one image.
    """
    if split not in ("train", "val"):
        raise ValueError(
            f"Invalid value for argument `split`: expected 'train' or 'val', received {split!r}; "
            "settings must not be chosen on a split to test on."
        )
    if num_images < 1:
        raise ValueError(
            f"Invalid value for argument `num_images`: expected 1 or more, not {num_images}."
        )
    examples = dataset.examples(split)
    if not examples:
        raise ValueError(f"The split '{split}' of {dataset.name} has no images.")
    load = functools.cache(load)  # only if a prediction is missing
    network = hashlib.sha256(source.read_bytes()).digest()
    files = []
    count = min(num_images, len(examples))
    chosen = np.linspace(0, len(examples) - 1, count).round().astype(int)
    for index in progress(chosen, "predicting", count):
        image, labels = dataset.read(examples[index])
        digest = _digest([network, image.tobytes(), labels.tobytes()])
        file = folder / f"{split}_{index:05d}.npz"
        if not file.is_file() or _digest_of(file) != digest:
            probabilities = load()(image)
            with atomic_file(file) as temporary:
                np.savez(
                    temporary,
                    digest=np.array(digest),
                    image=image,
                    labels=labels,
                    probabilities=probabilities,
                )
        files.append(file)
    return files


def read_prediction(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, labels and probabilities of a file."""
    with reading(file, "a prediction"), np.load(file) as arrays:
        return arrays["image"], arrays["labels"], arrays["probabilities"]


def digest_predictions(files: Sequence[Path]) -> str:
    """Return a digest of the networks, images and labels of all files."""
    return _digest(_digest_of(file).encode() for file in files)


def _digest_of(file: Path) -> str:
    with reading(file, "a prediction"), np.load(file) as arrays:
        return str(arrays["digest"])


def _digest(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()
