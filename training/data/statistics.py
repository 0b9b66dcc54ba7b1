"""Class frequencies, and the loss weights computed from them."""

import numpy as np


def count_labels(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels of each class in a label map (H, W), int64 (L,), without ignored ones."""
    return np.bincount(labels.ravel(), minlength=num_classes)[:num_classes]


def median_frequency_weights(
    counts: np.ndarray, where_present: np.ndarray, *, cap: float = np.inf, power: float = 1.0
) -> np.ndarray:
    """Return loss weights that balance rare and frequent classes (Eigen and Fergus, 2015).

    A class's frequency is its fraction of the pixels of the images that contain it; its weight is
    the median of the frequencies divided by its own.

    Args:
        counts: pixels of each class.
        where_present: pixels of the images that contain the class.
        cap: the largest weight; extreme ones make training unstable.
        power: exponent of the weights before the cap; 0.5 is the square root, 0 makes all 1.

    Returns:
        float32 (L,); 0 for classes that never occur.

    Raises:
        ValueError: if no class has a pixel, or `cap` or `power` is out of range.

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
    """Return each class's fraction of all counted pixels, float64 (L,); zeros if there are none."""
    counts = np.asarray(counts, "float64")
    return counts / max(counts.sum(), 1)
