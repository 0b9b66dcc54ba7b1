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
    """How far the difference in mIoU of two predictions depends on the images it was measured on.

    The images are drawn again and again, with replacement, the same ones for both predictions, and
    the mIoU of each draw's counts is compared: an interval of the difference that holds zero says
    that another set of such images could have had the other prediction in front. It knows nothing
    of what another training run, with another seed, would have changed.

    Args:
        first: integers `(N, L, L)`, a confusion matrix for each of N images.
        second: integers `(N, L, L)`, of another prediction for the same images.
        block: how many successive images are drawn together. Frames of a film are alike, and drawn
            one by one they would make any difference look certain.
        samples: how many draws.
        confidence: share of the draws whose differences the interval holds, between 0 and 1.
        seed: of the draws.

    Returns:
        Dictionary: "first" and "second", the mIoU on all images; "difference", second minus first;
        "interval", a pair, its lower and upper end; "wins", the share of draws in which the second
        is the better one, draws without a difference counting half.

    Raises:
        ValueError: if the counts do not fit together, there are fewer than two blocks, or an
            argument is out of its range.

    References:
    - Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 13: percentile interval

    Example:

    >>> good, bad = [[4, 0], [0, 4]], [[4, 0], [2, 2]]
    >>> found = paired_bootstrap([bad, bad, good], [good, good, good])
    >>> round(found["difference"], 3), found["interval"][0] > 0
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
    """What IoU is made of: hits and union of every class, `(N, 2, L)`."""
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    return np.stack([hits, confusions.sum(1) + confusions.sum(2) - hits], axis=1)


def _mean_iou(draws: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mIoU of each draw, `(samples,)`, from its number of each block, `(samples, blocks)`."""
    hits, union = np.moveaxis(np.tensordot(draws, counts, 1), 1, 0)
    present = union > 0
    return (hits / np.maximum(union, 1)).sum(1) / np.maximum(present.sum(1), 1)
