"""Inference of networks for clips on whole videos: each frame in a window of its neighbours."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import keras
import numpy as np

from keras_dpn.ops.warp import INVALID_FLOW, check_flow

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray] | Iterable[tuple[np.ndarray, np.ndarray]]

T = TypeVar("T")


def clip_logits(
    terms: keras.Model,
    field: keras.Model,
    frames: Iterable[np.ndarray],
    flow: Flow | None,
    length: int,
) -> Iterator[list[np.ndarray]]:
    """Yield the logits of each frame of a video, in constant memory.

    Args:
        terms: model from frames to unary term and guidance image, see `SpatialTemporalDPN.split`.
        field: model from those and the frames to logits at one or several heads.
        frames: (H, W, 3), all of one size.
        flow: as in `Predictor.video`; None if the field doesn't take it.
        length: frames of a window, odd.

    Yields:
        (H, W, L) for each head.

    Raises:
        ValueError: for frames or flow of another size, and fewer flows than frames.
    """
    for window in _windows(terms, frames, flow, length):
        outputs = keras.tree.flatten(field.predict_on_batch(window))
        # A network that predicts all frames returns (1, T, H, W, L).
        yield [np.asarray(x[0] if x.ndim == 4 else x[0, length // 2]) for x in outputs]


def _windows(
    terms: keras.Model, frames: Iterable[np.ndarray], flow: Flow | None, length: int
) -> Iterator[list[np.ndarray]]:
    """Yield the inputs of the field for each frame: the window around it, as a batch of one."""
    window: deque[tuple[np.ndarray, ...]] = deque(maxlen=length)
    links: deque[list[np.ndarray]] = deque(maxlen=length - 1)
    pairs = None if flow is None or callable(flow) else iter(flow)
    for current, is_copy in _padded(_with_terms(terms, frames), length // 2):
        if window and flow is not None:
            there, here = window[-1][0], current[0]
            link: Sequence[np.ndarray] | None = None
            if is_copy:
                link = [np.full((*here.shape[:2], 2), INVALID_FLOW, "float32")] * 2
            elif callable(flow):
                link = flow(there, here), flow(here, there)
            elif pairs is not None:
                link = next(pairs, None)
            if link is None:
                raise ValueError(
                    "Invalid value for argument `flow`: expected a pair for each frame but the "
                    "last, received fewer."
                )
            links.append([_checked_flow(f, here.shape) for f in link])
        window.append(current)
        if len(window) == length:
            clip, unary, guide = (np.stack(x)[None] for x in zip(*window, strict=True))
            flows = [] if flow is None else _stacked_links(links, clip.shape[2:4])
            yield [unary, guide, clip.astype("float32", copy=False), *flows]


def _with_terms(
    terms: keras.Model, frames: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield each frame with its unary term and guidance image."""
    size = None
    for frame in frames:
        size = size or frame.shape
        if frame.shape != size:
            raise ValueError(
                f"Invalid value for argument `frames`: expected frames of one size, {size} as the "
                f"first, received {frame.shape}."
            )
        batch = frame.astype("float32")[None, None]
        yield frame, *(x[0, 0] for x in terms.predict_on_batch(batch))


def _padded(items: Iterable[T], count: int) -> Iterator[tuple[T, bool]]:
    """Yield the items, padded with `count` copies of the first and of the last.

    Each comes with whether it has no link to the one before it, as one of the two is a copy.
    """
    last: T | None = None
    for item in items:
        if last is None:
            yield from ((item, True) for _ in range(count))
        yield item, last is None
        last = item
    if last is not None:
        yield from ((last, True) for _ in range(count))


def _checked_flow(flow: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    flow = np.asarray(flow)
    check_flow("flow", flow, shape, "the frames")
    return flow.astype("float32")


def _stacked_links(
    links: Iterable[Sequence[np.ndarray]], size: tuple[int, int]
) -> list[np.ndarray]:
    """Return forward and backward flow of a clip, each (1, T-1, H, W, 2)."""
    steps = np.reshape(np.array([*links], "float32"), (-1, 2, *size, 2))
    return [steps[None, :, 0], steps[None, :, 1]]
