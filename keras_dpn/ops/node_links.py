"""Each frame's neighbours in time, along the optical flow (dynamic node linking)."""

from collections.abc import Sequence
from typing import NamedTuple

from keras import backend, ops

from keras_dpn.ops.checks import check_positive_int
from keras_dpn.ops.warp import (
    check_flow,
    corners,
    flow_validity,
    leads_inside,
    take_pixels,
    warp,
)
from keras_dpn.typing import Shape, Tensor


def link_frames(
    x: Tensor, flows: Sequence[Tensor] | None = None, frames: int = 3, threshold: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Align the neighbouring frames of each frame with it, pixel by pixel along the optical flow.

    The neighbour of a pixel in the next frame is the one that the flow leads to,
    `j = i + flow_{t->t+1}(i)`, not the one at the same position (journal version of the Deep
    Parsing Network, eq. 2). Neighbours further away are found by chaining such steps. A link is
    valid if the backward flow leads back at each step (`flow_validity`): a neighbour that is
    occluded, outside of the image or beyond the ends of the clip is 0 and has validity 0.

    Args:
        x: tensor of shape `(B, T, H, W, C)`, T frames of colours, probabilities or others. All
            sizes but C may be unknown.
        flows: pair of `(B, T-1, H, W, 2)` flows, (dx, dy) in pixels: forward, from frame t to t+1,
            and backward, from t+1 to t. None links each pixel to those at the same position.
        frames: odd integer K, the number of frames that are aligned; 3: t-1, t, t+1.
        threshold: in pixels, as in `flow_validity`.

    Returns:
        Pair of the neighbours, `(B, T, H, W, K, C)` of x's dtype (float32 for integers), in order
        of time, the frame itself in the middle; and their validity, float32
        `(B, T, H, W, K, 1)`, 0 or 1. Gradients flow to x and to the flows.

    Raises:
        ValueError: for shapes that do not fit, an even number of frames, and as `flow_validity`.

    Example:

    >>> x = keras.ops.reshape([1.0, 2.0, 3.0, 4.0], (1, 2, 1, 2, 1))  # two frames of two pixels
    >>> neighbors, validity = link_frames(x)
    >>> neighbors[0, 0, 0, :, :, 0]
    [[0. 1. 3.]
     [0. 2. 4.]]
    """
    radius = check_frames(frames) // 2
    if len(x.shape) != 5:
        raise ValueError(
            "Invalid value for argument `x`: expected frames (B, T, H, W, C), received shape "
            f"{tuple(x.shape)}."
        )
    x = ops.convert_to_tensor(x)
    if not backend.is_float_dtype(x.dtype):
        x = ops.cast(x, "float32")
    if flows is not None:
        forward, backward = (ops.convert_to_tensor(flow) for flow in flows)
        check_clip_flows(forward, backward, x.shape)
    if flows is not None and radius > 0:
        links = flow_links(forward, backward, frames, threshold)
        itself = ops.ones_like(x[..., :1], dtype="float32")
        return follow_links(x, links), _with_itself(itself, ops.expand_dims(links.validity, -1))
    later = [_shifted(x, step, 1) for step in range(1, radius + 1)]
    earlier = [_shifted(x, step, -1) for step in range(1, radius + 1)]
    itself = x, ops.ones_like(x[..., :1], dtype="float32")
    parts = zip(*reversed(earlier), itself, *later, strict=True)
    return tuple(ops.stack(part, axis=-2) for part in parts)


class FlowLinks(NamedTuple):
    """Where the neighbours of each pixel of a clip are, in time along the flow.

    K-1 neighbours, the pixel itself isn't among them, each of which lies between four pixels. These
    axes come first, so that each is contiguous in memory.
    """

    pixels: Tensor
    """int32 `(4, K-1, B, T, H, W)`, indices among all pixels of the clips, `B T H W`."""
    shares: Tensor
    """float32 of that shape: what each of the four contributes to the neighbour."""
    validity: Tensor
    """float32 `(K-1, B, T, H, W)`, 1 where there is a neighbour, else 0."""


def flow_links(forward: Tensor, backward: Tensor, frames: int, threshold: float) -> FlowLinks:
    """Return the links along the flow, which `follow_links` follows in any tensor of the clip.

    Args:
        forward: `(B, T-1, H, W, 2)` flow, (dx, dy) in pixels, from frame t to t+1.
        backward: the same from t+1 to t.
        frames: odd integer K > 1.
        threshold: in pixels, as in `flow_validity`.
    """
    forward, backward = (ops.cast(flow, "float32") for flow in (forward, backward))
    later = _chain(forward, backward, frames // 2, threshold, 1)
    earlier = _chain(backward, forward, frames // 2, threshold, -1)
    pixels, shares, validity = zip(*reversed(earlier), *later, strict=True)
    return FlowLinks(ops.stack(pixels, axis=1), ops.stack(shares, axis=1), ops.stack(validity))


def follow_links(x: Tensor, links: FlowLinks) -> Tensor:
    """Return each pixel's neighbours, `(B, T, H, W, K, C)`, itself in the middle.

    Args:
        x: float tensor `(B, T, H, W, C)`.
        links: of the clip.
    """
    pixels = ops.reshape(ops.cast(x, "float32"), (-1, ops.shape(x)[-1]))
    neighbors = 0.0
    # LiteRT slices at most five axes, not six.
    for corner, share in zip(ops.unstack(links.pixels), ops.unstack(links.shares), strict=True):
        neighbors = neighbors + ops.expand_dims(share, -1) * take_pixels(pixels, corner)
    # Not a product with the validity, as 0 times infinity is NaN.
    neighbors = ops.where(ops.expand_dims(links.validity > 0, -1), neighbors, 0.0)
    return _with_itself(x, ops.cast(neighbors, x.dtype))


def _with_itself(x: Tensor, neighbors: Tensor) -> Tensor:
    """Stack a clip, `(B, T, H, W, C)`, with its neighbours `(K-1, ...)`: `(B, T, H, W, K, C)`."""
    frames = list(ops.unstack(neighbors))
    frames.insert(len(frames) // 2, x)
    return ops.stack(frames, axis=-2)


def check_frames(frames: int) -> int:
    """Return `frames` as an int; raise ValueError unless it is odd."""
    frames = check_positive_int("frames", frames)
    if frames % 2 == 0:
        raise ValueError(
            "Invalid value for argument `frames`: expected an odd number, so that one of them is "
            f"in the middle, received {frames}."
        )
    return frames


def check_clip_flows(forward: Tensor, backward: Tensor, frames_shape: Shape) -> None:
    """Raise ValueError unless the flows are `(B, T-1, H, W, 2)` for frames `(B, T, H, W, C)`."""
    batch, length, *rest = frames_shape
    shape = (batch, None if length is None else length - 1, *rest)
    check_flow("forward_flow", forward, shape, "the steps between frames")
    check_flow("backward_flow", backward, shape, "the steps between frames")


def _chain(
    flow: Tensor, reverse_flow: Tensor, radius: int, threshold: float, direction: int
) -> list[FlowLinks]:
    """Return the links 1 to `radius` steps forward (direction 1) or back (-1).

    Each is of one neighbour, without the axis K-1.
    """
    batch, steps, height, width, _ = ops.shape(flow)
    length = steps + 1
    first = ops.reshape(ops.arange(batch * length) * (height * width), (batch, length, 1, 1))

    step_flow, step_valid = flow, flow_validity(flow, reverse_flow, threshold)
    valid, links = step_valid, []
    for step in range(1, radius + 1):
        pixels, shares = corners(flow)
        link = FlowLinks(
            _pad_time(pixels + _ahead(first, step, direction), 2, step, length, direction),
            _pad_time(shares, 2, step, length, direction),
            _pad_time(valid[..., 0], 1, step, length, direction),
        )
        links.append(link)
        if step < radius:
            flow, valid = _ahead(flow, 1, -direction), _ahead(valid, 1, -direction)
            step_valid, step_flow = (
                _ahead(step_valid, 1, direction),
                _ahead(step_flow, 1, direction),
            )
            valid = valid * warp(step_valid, flow, interpolation="nearest")
            flow = flow + warp(step_flow, flow)
            # A chain may end between pixels of which only some have a valid step.
            valid = valid * ops.expand_dims(ops.cast(leads_inside(flow), "float32"), -1)
    return links


def _shifted(x: Tensor, step: int, direction: int) -> tuple[Tensor, Tensor]:
    """Return neighbours `step` frames forward (direction 1) or back (-1), at the same position."""
    neighbor = _ahead(x, step, direction)
    valid = ops.ones_like(neighbor[..., :1], dtype="float32")
    length = ops.shape(x)[1]
    return tuple(_pad_time(part, 1, step, length, direction) for part in (neighbor, valid))


def _ahead(x: Tensor, steps: int, direction: int) -> Tensor:
    """Return the frames some steps forward (direction 1) or back (-1), where they exist."""
    return x[:, steps:] if direction == 1 else x[:, :-steps]


def _pad_time(x: Tensor, axis: int, step: int, length: int | Tensor, direction: int) -> Tensor:
    """Add zeros for the frames without a neighbour: the last `step` of them (1), or the first (-1).

    Args:
        x: tensor whose frames are along `axis`.
        axis: of the frames.
        step: how many frames ahead, or back, the neighbour is.
        length: T, frames of the clip, which may be fewer.
        direction: 1 or -1.
    """
    padding = [(0, 0)] * len(x.shape)
    padding[axis] = (0, step) if direction == 1 else (step, 0)
    return ops.pad(x, padding)[(slice(None),) * axis + (slice(length),)]
