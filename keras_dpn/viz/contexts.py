"""Label compatibilities and label contexts of trained pairwise terms, as arrays."""

import numpy as np


def compatibility_matrix(b13_kernel: np.ndarray, mixtures: int) -> np.ndarray:
    """Return the penalty of b13 and b14 for label u (row) if label v (column) fills the window.

    Each b13 filter is summed over its window (Fig. 4a of the paper, Fig. 6a of its journal
    version), and the result is the smallest of a label's K sums: b14's output if v fills the
    window. Low means that u is likely next to v. A constant added to a column changes no
    prediction, as the softmax is over u: compare within columns.

    Args:
        b13_kernel: (n, n, L, L*K), with a label's K filters adjacent. It weights b12's output; if
            b12's scalar a is negative, negate the kernel.
        mixtures: K.

    Returns:
        float (L, L).

    Raises:
        ValueError: if the kernel does not have this shape.

    Example:
    >>> compatibility_matrix(np.ones((9, 9, 21, 105)), mixtures=5).shape
    (21, 21)
    """
    kernel = _split_mixtures(b13_kernel, mixtures)
    return kernel.sum(axis=(0, 1)).min(axis=-1).T


def frame_kernels(b13_kernel: np.ndarray, frames: int) -> np.ndarray:
    """Split filters over the labels of several frames by frame.

    In `models.SpatialTemporalDPN` b13's input are each frame's linked neighbours t-1, t, t+1, their
    labels concatenated. `context_maps` and `compatibility_matrix` take the filters of one frame as
    those of a network for images.

    Args:
        b13_kernel: (n, n, frames*L, L*K).
        frames: number of frames; 1 for `models.DPN`.

    Returns:
        float64 (frames, n, n, L, L*K), in order of time, with the frame itself in the middle.

    Raises:
        ValueError: if the kernel doesn't have this number of frames.

    Example:
    >>> frame_kernels(np.ones((7, 7, 3 * 11, 55)), frames=3).shape
    (3, 7, 7, 11, 55)
    """
    kernel = np.asarray(b13_kernel, "float64")
    if kernel.ndim != 4 or frames < 1 or kernel.shape[2] % frames:
        raise ValueError(
            "Invalid value for argument `b13_kernel`: expected (window, window, frames * labels, "
            f"labels * mixtures) of {frames} frames, received shape {kernel.shape}."
        )
    height, width, _, outputs = kernel.shape
    return np.moveaxis(kernel.reshape(height, width, frames, -1, outputs), 2, 0)


def context_maps(b13_kernel: np.ndarray, mixtures: int) -> np.ndarray:
    """Return where label v tends to be around label u: penalties (L, L, n, n), low is likely.

    `maps[u, v, y, x]` is the penalty of b13 and b14 for u if v is at that position of the window
    (the pixel itself: `middle_of(n)`), minus its mean over u, which doesn't affect the softmax. It
    is the smallest of the K mixtures, as in b14.

    Args and Raises as in `compatibility_matrix`.

    Example:
    >>> kernel = np.zeros((3, 3, 2, 2))
    >>> kernel[0, 1, 1, 0] = -4.0  # label 1 above makes label 0 likely
    >>> context_maps(kernel, mixtures=1)[0, 1].tolist()
    [[0.0, -2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    maps = _split_mixtures(b13_kernel, mixtures).min(axis=-1)  # (n, n, v, u)
    maps = maps.transpose(3, 2, 0, 1)  # (u, v, n, n)
    return maps - maps.mean(axis=0, keepdims=True)


def label_affinity(pairwise: np.ndarray, exist: np.ndarray | None = None) -> np.ndarray:
    """Return how strongly a potential associates two labels: (L, L).

    The mean of its logits over edges, minus the means of rows and columns, which only express that
    a label is frequent. Rows are the first node's label, columns its neighbour's.

    Args:
        pairwise: (..., E, L, L), logits of `layers.PairwisePotential`, of one or many images.
        exist: bool (E,) or of the leading axes (..., E), which edges exist; None if all.

    Returns:
        float64 (L, L), high is likely.

    Raises:
        ValueError: for other shapes, and without an edge.

    Example:
    >>> logits = np.array([[[3.0, 5.0], [0.0, 0.0]]])  # label 1 next to label 0, of one edge
    >>> label_affinity(logits).tolist()
    [[-0.5, 0.5], [0.5, -0.5]]
    """
    pairwise = np.asarray(pairwise, "float64")
    if pairwise.ndim < 3 or pairwise.shape[-1] != pairwise.shape[-2]:
        raise ValueError(
            "Invalid value for argument `pairwise`: expected logits (..., E, L, L), received shape "
            f"{pairwise.shape}."
        )
    exist = np.ones(pairwise.shape[:-2], bool) if exist is None else np.asarray(exist, bool)
    edges = pairwise[np.broadcast_to(exist, pairwise.shape[:-2])]  # (all edges, L, L)
    if not len(edges):
        raise ValueError(
            "Invalid value for argument `exist`: expected at least one edge, received none."
        )
    mean = edges.mean(axis=0)
    return mean - mean.mean(axis=0) - mean.mean(axis=1, keepdims=True) + mean.mean()


def strongest_contexts(maps: np.ndarray, count: int, per_label: int = 2) -> list[tuple[int, int]]:
    """Return the (u, v) whose maps are lowest in a tenth of the window, `per_label` for each u.

    A label's map of itself is excluded, as nearly always it favours more of the same label; so is
    the pixel itself, the middle of the window.

    Args:
        maps: (L, L, n, n) from `context_maps`, or (frames, L, L, n, n), whose window spans frames.
        count: largest number of pairs.
        per_label: largest number of pairs with the same u.
    """
    around = without_middle(maps)
    lowest = np.nanquantile(around, 0.1, axis=(0, 3, 4))  # a single low position would be noise
    np.fill_diagonal(lowest, np.inf)
    chosen: list[tuple[int, int]] = []
    for index in np.argsort(lowest, axis=None, kind="stable"):
        u, v = divmod(int(index), lowest.shape[1])
        if u != v and sum(other == u for other, _ in chosen) < per_label:
            chosen.append((u, v))
    return chosen[:count]


def without_middle(maps: np.ndarray) -> np.ndarray:
    """Return context maps with NaN at the pixel itself, unless the window is a single pixel.

    (L, L, n, n) or (frames, L, L, n, n) to (frames, L, L, n, n).
    """
    maps = by_frame(maps, axes=4)
    frames, n = len(maps), maps.shape[-1]
    middle = middle_of(n)
    itself = np.zeros((frames, 1, 1, n, n), bool)
    itself[frames // 2, ..., middle, middle] = n > 1
    return np.where(itself, np.nan, maps)


def middle_of(window: int) -> int:
    """Return the position of the pixel itself in b13's window, a convolution with padding "same".

    A window of an even size reaches one position further to the right and to the bottom.
    """
    return (window - 1) // 2


def by_frame(array: np.ndarray, axes: int) -> np.ndarray:
    """Add the axis of frames to an array of one frame; return that of several unchanged."""
    return np.reshape(array, (-1, *np.shape(array)[-axes:]))


def _split_mixtures(b13_kernel: np.ndarray, mixtures: int) -> np.ndarray:
    """Reshape (n, n, v, u*K) to float64 (n, n, v, u, K)."""
    kernel = np.asarray(b13_kernel, "float64")
    if kernel.ndim != 4 or mixtures < 1 or kernel.shape[3] != kernel.shape[2] * mixtures:
        raise ValueError(
            "Invalid value for argument `b13_kernel`: expected (window, window, labels, labels * "
            f"mixtures) with {mixtures} mixtures, received shape {kernel.shape}."
        )
    return kernel.reshape(*kernel.shape[:3], kernel.shape[2], mixtures)
