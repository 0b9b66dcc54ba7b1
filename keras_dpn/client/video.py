"""The clips around each frame of a video, as inputs of a served network for clips."""

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np

# From one frame to another, uint8 (H, W, 3) each, to float (H, W, 2), (dx, dy) in pixels.
Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Inputs of a signature without the batch's axis, by name.
Clip = dict[str, np.ndarray]
# In pixels: the flow of a pixel without a counterpart in the next frame; it leaves every image.
INVALID_FLOW = 1e6


def clips(frames: Iterable[np.ndarray], length: int, flow: Flow | None) -> Iterator[Clip]:
    """Yield the clip around each frame, with it in the center.

    The video is padded with copies of its first and last frame, which no flow links.

    Args:
        frames: uint8 RGB (H, W, 3), all of one size; each is read once, in order.
        length: frames of a clip, odd.
        flow: called once in each direction for each pair of successive frames; None, or a length
            of 1, for clips without flow.

    Raises:
        ValueError: for a frame of another size than the one before, and a flow of another shape.
    """
    window: deque[np.ndarray] = deque(maxlen=length)
    links: deque[tuple[np.ndarray, ...]] = deque(maxlen=length - 1)
    for frame, next_to_copy in _with_copies(frames, length // 2):
        if window:
            _check_same("frames", "a frame", frame, window[-1].shape)
            if flow is not None:
                links.append(_links(window[-1], frame, None if next_to_copy else flow))
        window.append(frame)
        if len(window) == length:
            yield {"frames": np.stack(window), **_flows(links)}


def _with_copies(frames: Iterable[np.ndarray], count: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield each frame, with copies at both ends; and whether it or the one before is a copy."""
    frames = (np.asarray(frame) for frame in frames)
    frame = next(frames, None)
    if frame is None:
        return
    yield from itertools.repeat((frame, True), count + 1)
    for frame in frames:
        yield frame, False
    yield from itertools.repeat((frame, True), count)


def _links(first: np.ndarray, second: np.ndarray, flow: Flow | None) -> tuple[np.ndarray, ...]:
    """Return the flow in both directions."""
    shape = (*first.shape[:2], 2)
    if flow is None:
        return (np.full(shape, INVALID_FLOW, "float32"),) * 2
    flows = tuple(np.asarray(flow(*pair), "float32") for pair in ((first, second), (second, first)))
    for each in flows:
        _check_same("flow", "a flow", each, shape)
    return flows


def _flows(links: Collection[tuple[np.ndarray, ...]]) -> Clip:
    names = ("forward_flow", "backward_flow") if links else ()
    return {name: np.stack(x) for name, x in zip(names, zip(*links, strict=True), strict=True)}


def _check_same(name: str, what: str, received: np.ndarray, shape: tuple[int, ...]) -> None:
    if received.shape != shape:
        raise ValueError(
            f"Invalid value for argument `{name}`: expected {what} of shape {shape}, received one "
            f"of {received.shape}."
        )
