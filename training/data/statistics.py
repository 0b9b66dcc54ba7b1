"""How often each class occurs, and the loss weights that follow from it."""

import numpy as np

from .dataset import Dataset


def pixel_counts(dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Counts the pixels of each class.

    Args:
        dataset: a data set; every label map of the split is read.
        split: which of its splits.

    Returns:
        Two int64 arrays (L,): the pixels of each class, and all counted (not ignored) pixels of
        those pictures that show the class.
    """
    num_classes = dataset.classes.num_classes
    counts = np.zeros(num_classes, "int64")
    where_present = np.zeros(num_classes, "int64")
    for example in dataset.examples(split):
        _, labels = dataset.read(example)
        here = count_labels(labels, num_classes)
        counts += here
        where_present += here.sum() * (here > 0)
    return counts, where_present


def count_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The pixels of each class in a label map (H, W), int64 (L,); the ignore label is left out."""
    return np.bincount(labels.ravel(), minlength=256)[:num_classes]


def median_frequency_weights(
    counts: np.ndarray, where_present: np.ndarray, *, cap: float = np.inf, power: float = 1.0
) -> np.ndarray:
    """Loss weights that give rare classes their due (Eigen and Fergus, 2015).

    A class's frequency is its share of the pixels of those pictures that show it; its weight is
    the median of the frequencies over its own.

    Args:
        counts: pixels of each class, from `pixel_counts`.
        where_present: pixels of the pictures that show the class, from `pixel_counts`.
        cap: the largest weight; extreme ones make training unstable.
        power: exponent of the weights before the cap; 0.5 is the square root, 0 makes all 1.

    Returns:
        float32 (L,); 0 for classes that never occur: they have no pixel to weigh.

    Raises:
        ValueError: where no class has a pixel, or `cap` or `power` is out of range.

    Example:
    >>> median_frequency_weights(np.array([60, 30, 10]), np.array([100, 100, 100])).tolist()
    [0.5, 1.0, 3.0]
    """
    counts, where_present = np.asarray(counts, "float64"), np.asarray(where_present, "float64")
    seen = counts > 0
    if not seen.any():
        raise ValueError("Expected pixels of at least one class in `counts`; all are 0.")
    if cap <= 0 or power < 0:
        raise ValueError(
            f"Expected `cap` above 0 and `power` from 0 up, received {cap} and {power}."
        )
    frequencies = counts[seen] / where_present[seen]
    weights = np.zeros(len(counts), "float32")
    weights[seen] = np.minimum((np.median(frequencies) / frequencies) ** power, cap)
    return weights


def class_frequencies(counts: np.ndarray) -> np.ndarray:
    """Each class's share of all counted pixels, float64 (L,); zeros where there are none."""
    counts = np.asarray(counts, "float64")
    return counts / max(counts.sum(), 1)
