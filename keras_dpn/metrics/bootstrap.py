"""Paired bootstrap: whether one prediction's mIoU differs from another's by more than chance."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_dpn.ops.checks import check_positive_int


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    block: int = 1,
    samples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Return a bootstrap confidence interval for the difference in mIoU of two predictions.

    The images are resampled with replacement, the same ones for both predictions, and the mIoU of
    each resample is compared. If the interval contains zero, another set of such images could have
    favoured the other prediction. The interval doesn't cover the variation between training runs
    with different seeds.

    Args:
        first: integers `(N, L, L)`, the confusion matrices of N images.
        second: integers `(N, L, L)`, those of another prediction for the same images.
        block: how many successive images are resampled together. Frames of a video are similar;
            resampled one by one, they would make any difference look significant.
        samples: number of resamples.
        confidence: confidence level of the interval, between 0 and 1.
        seed: of the random numbers.

    Returns:
        Dictionary: "first" and "second", the mIoU on all images; "difference", second minus first;
        "interval", a pair, its lower and upper end; "wins", the fraction of the resamples in which
        the second prediction is better; ties count half.

    Raises:
        ValueError: if the counts do not fit together, there are fewer than two blocks, or an
            argument is out of its range.

    References:
    - Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 13: percentile interval

    Example:

    >>> good, bad = [[4, 0], [0, 4]], [[4, 0], [2, 2]]
    >>> result = paired_bootstrap([bad, bad, good], [good, good, good])
    >>> round(result["difference"], 3), result["interval"][0] > 0
    (0.292, False)
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 3 or first.shape[1] != first.shape[2] or first.shape != second.shape:
        raise ValueError(
            "Invalid values for arguments `first` and `second`: expected confusion matrices "
            f"(N, L, L) of the same N images, received shapes {first.shape} and {second.shape}."
        )
    block = check_positive_int("block", block)
    samples = check_positive_int("samples", samples)
    if not 0 < confidence < 1:
        raise ValueError(
            "Invalid value for argument `confidence`: expected a number between 0 and 1, received "
            f"{confidence}."
        )
    starts = np.arange(0, len(first), block)
    if len(starts) < 2:
        raise ValueError(
            "Invalid value for argument `block`: expected two blocks of images or more, received "
            f"{block} for {len(first)} images."
        )
    draws = np.random.default_rng(seed).multinomial(
        len(starts), np.full(len(starts), 1 / len(starts)), size=samples
    )
    all_once = np.ones((1, len(starts)), int)
    whole, drawn = [], []
    for confusions in (first, second):
        counts = np.add.reduceat(_counts(confusions), starts)
        whole.append(float(_mean_iou(all_once, counts)[0]))
        drawn.append(_mean_iou(draws, counts))
    differences = drawn[1] - drawn[0]
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {
        "first": whole[0],
        "second": whole[1],
        "difference": whole[1] - whole[0],
        "interval": (float(low), float(high)),
        "wins": float(np.mean(np.sign(differences) + 1) / 2),
    }


def _counts(confusions: np.ndarray) -> np.ndarray:
    """Return the intersection and union of each class, `(N, 2, L)`."""
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    return np.stack([hits, confusions.sum(1) + confusions.sum(2) - hits], axis=1)


def _mean_iou(draws: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mIoU of each resample, `(samples,)`, given its counts of each block."""
    hits, union = np.moveaxis(np.tensordot(draws, counts, 1), 1, 0)
    present = union > 0
    return (hits / np.maximum(union, 1)).sum(1) / np.maximum(present.sum(1), 1)
