"""The clips around each frame of a video, as a served network for clips takes them."""

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np

# From one frame to another, uint8 (H, W, 3) each, to float (H, W, 2), (dx, dy) in pixels.
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Inputs of a signature without the batch's axis, by name.
Clip = dict[str, np.ndarray]
# Pixels; leads out of every image: what has no neighbour in the next frame.
INVALID_FLOW = 1e6


def clips(frames: Iterable[np.ndarray], length: int, flow: Flow | None) -> Iterator[Clip]:
    """For each frame the clip with it in the middle.

    Beyond a video's ends lie copies of its first and last frame; no flow leads to them or back.

    Args:
        frames: uint8 RGB (H, W, 3), all of one size; each is taken once, in order.
        length: of a clip, odd.
        flow: called once each way for any two frames that follow each other; None, or a length of
            1, for clips without.

    Raises:
        ValueError: for a frame of another size than the one before, and a flow of another shape.
    """
    window: deque[np.ndarray] = deque(maxlen=length)
    links: deque[tuple[np.ndarray, ...]] = deque(maxlen=length - 1)
    for frame, beside_copy in _with_copies(frames, length // 2):
        if window:
            _check_same("frames", "a frame", frame, window[-1].shape)
            if flow is not None:
                links.append(_links(window[-1], frame, None if beside_copy else flow))
        window.append(frame)
        if len(window) == length:
            yield {"frames": np.stack(window), **_flows(links)}


def _with_copies(frames: Iterable[np.ndarray], count: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Each frame, before and behind them copies; and whether it or the one before is a copy."""
    frames = (np.asarray(frame) for frame in frames)
    frame = next(frames, None)
    if frame is None:
        return
    yield from itertools.repeat((frame, True), count + 1)
    for frame in frames:
        yield frame, False
    yield from itertools.repeat((frame, True), count)


def _links(first: np.ndarray, second: np.ndarray, flow: Flow | None) -> tuple[np.ndarray, ...]:
    """Flow forth and back."""
    shape = (*first.shape[:2], 2)
    if flow is None:
        return (np.full(shape, INVALID_FLOW, "float32"),) * 2
    found = tuple(np.asarray(flow(*pair), "float32") for pair in ((first, second), (second, first)))
    for each in found:
        _check_same("flow", "a flow", each, shape)
    return found


def _flows(links: Collection[tuple[np.ndarray, ...]]) -> Clip:
    names = ("forward_flow", "backward_flow") if links else ()
    return {name: np.stack(x) for name, x in zip(names, zip(*links, strict=True), strict=True)}


def _check_same(name: str, what: str, found: np.ndarray, shape: tuple[int, ...]) -> None:
    if found.shape != shape:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected {what} of shape {shape}, received one "
            f"of {found.shape}."
        )
