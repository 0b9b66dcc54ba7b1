"""Each frame's neighbours in time, along the optical flow (dynamic node linking)."""

from collections.abc import Sequence

from keras import backend, ops

from keras_dpn.ops.checks import check_positive_int
from keras_dpn.ops.warp import check_flow, flow_validity, leads_inside, warp
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
        check_clip_flow("forward_flow", forward, x.shape)
        check_clip_flow("backward_flow", backward, x.shape)
        later = _chain(x, forward, backward, radius, threshold, 1)
        earlier = _chain(x, backward, forward, radius, threshold, -1)
    else:
        later = [_shifted(x, step, 1) for step in range(1, radius + 1)]
        earlier = [_shifted(x, step, -1) for step in range(1, radius + 1)]
    itself = x, ops.ones_like(x[..., :1], dtype="float32")
    links = zip(*reversed(earlier), itself, *later, strict=True)
    return tuple(ops.stack(link, axis=-2) for link in links)


def check_frames(frames: int) -> int:
    """Return `frames` as an int; raise ValueError unless it is odd."""
    frames = check_positive_int("frames", frames)
    if frames % 2 == 0:
        raise ValueError(
            "Invalid value for argument `frames`: expected an odd number, so that one of them is "
            f"in the middle, received {frames}."
        )
    return frames


def check_clip_flow(name: str, flow: Tensor, frames_shape: Shape) -> None:
    """Raise ValueError unless the flow is `(B, T-1, H, W, 2)` for frames `(B, T, H, W, C)`."""
    batch, length, *rest = frames_shape
    shape = (batch, None if length is None else length - 1, *rest)
    check_flow(name, flow, shape, "the steps between frames")


def _chain(
    x: Tensor, flow: Tensor, reverse_flow: Tensor, radius: int, threshold: float, direction: int
) -> list[tuple[Tensor, Tensor]]:
    """Return neighbours and validity 1 to `radius` steps forward (direction 1) or back (-1).

    Each is `(B, T, H, W, ...)`.
    """
    step_flow, step_valid = flow, flow_validity(flow, reverse_flow, threshold)
    valid, links = step_valid, []
    for step in range(1, radius + 1):
        neighbor = warp(_ahead(x, step, direction), flow)
        neighbor = ops.where(valid > 0, neighbor, ops.zeros((), x.dtype))
        links.append(_pad_time(neighbor, valid, x[:, :step], direction))
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
    return _pad_time(neighbor, valid, x[:, :step], direction)


def _ahead(x: Tensor, steps: int, direction: int) -> Tensor:
    """Return the frames some steps forward (direction 1) or back (-1), where they exist."""
    return x[:, steps:] if direction == 1 else x[:, :-steps]


def _pad_time(
    neighbor: Tensor, valid: Tensor, missing: Tensor, direction: int
) -> tuple[Tensor, Tensor]:
    """Add zeros for the frames without a neighbour, the last ones (1) or the first (-1).

    Args:
        neighbor: `(B, t, H, W, C)`.
        valid: `(B, t, H, W, 1)`.
        missing: any tensor `(B, T-t, H, W, C)`.
        direction: 1 or -1.
    """

    def padded(link: Tensor, missing: Tensor) -> Tensor:
        zeros = ops.zeros_like(missing, dtype=link.dtype)
        return ops.concatenate((link, zeros) if direction == 1 else (zeros, link), axis=1)

    return padded(neighbor, missing), padded(valid, missing[..., :1])
