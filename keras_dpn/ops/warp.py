"""Backward warping by optical flow, and the validity of the flow."""

import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from keras import backend, ops

from keras_dpn.ops.checks import check_one_of, known_values, may_equal
from keras_dpn.typing import Shape, Tensor

# In pixels: the flow of a pixel without a counterpart in the other frame; it leaves every image.
INVALID_FLOW = 1e6

BOUNDARIES = ("zero", "clamp")
INTERPOLATIONS = ("bilinear", "nearest")


def warp(
    image: Tensor,
    flow: Tensor,
    boundary: Literal["zero", "clamp"] = "zero",
    interpolation: Literal["bilinear", "nearest"] = "bilinear",
) -> Tensor:
    """Sample an image along the flow: `out(x) = image(x + flow(x))`.

    With the flow from one frame to the next, the warped next frame is aligned with the first. This
    is OpenCV's convention: `cv2.remap(image, x + dx, y + dy)`. TensorFlow Addons'
    `dense_image_warp(image, f)` is `warp(image, -f[..., ::-1], "clamp")`.

    Args:
        image: tensor of shape `(..., H, W, C)`, any number of channels and of leading axes.
        flow: float tensor of shape `(..., H, W, 2)`, (dx, dy) in pixels, dx to the right and dy
            down; its leading axes are the image's. All sizes may be unknown.
        boundary: values outside of the image: "zero", or "clamp", those of the nearest pixel.
        interpolation: "bilinear", or "nearest" for label maps, with ties to the even index.

    Returns:
        Tensor of the shape of `image`, and of its dtype; bilinear of integers is float32. Positions
        and weights are computed in float32 whatever the dtypes. Gradients flow to the image and,
        bilinear, to the flow.

    Raises:
        ValueError: for shapes that do not fit, a flow of integers, an unknown boundary or
            interpolation, and NaN in a flow with known values. In a graph NaN leads out of the
            image.

    Example:

    >>> image = keras.ops.reshape([1.0, 2.0, 3.0], (1, 3, 1))
    >>> flow = keras.ops.reshape([[1.0, 0.0], [0.5, 0.0], [0.5, 0.0]], (1, 3, 2))
    >>> warp(image, flow)[0, :, 0]
    [2.  2.5 1.5]
    """
    check_one_of("boundary", boundary, BOUNDARIES)
    check_one_of("interpolation", interpolation, INTERPOLATIONS)
    image = ops.convert_to_tensor(image)
    check_flow("flow", flow, image.shape, "`image`")
    flow = ops.cast(flow, "float32")
    targets = _targets(_positions(flow), boundary)
    dtype = backend.standardize_dtype(image.dtype)
    if interpolation == "nearest":
        return _nearest(image, targets)
    if not backend.is_float_dtype(dtype):
        dtype = "float32"
    return ops.cast(_bilinear(ops.cast(image, "float32"), targets), dtype)


def flow_validity(flow: Tensor, reverse_flow: Tensor, threshold: float = 1.0) -> Tensor:
    """Return the validity of a flow: 1 where the reverse flow leads back to the pixel.

    A pixel that is occluded in the other frame, or leaves the image, has no counterpart there: the
    reverse flow of its target leads elsewhere (forward-backward consistency).

    Args:
        flow: float tensor of shape `(..., H, W, 2)`, (dx, dy) in pixels, from one frame to another.
        reverse_flow: of the same shape, from that other frame to the first.
        threshold: largest distance between a pixel and the end of the flow forth and back, in
            pixels.

    Returns:
        float32 tensor of shape `(..., H, W, 1)`: 1 where the target is inside of the image and
        `|flow(x) + reverse_flow(x + flow(x))| <= threshold`, else 0. No gradient flows through it.

    Raises:
        ValueError: for shapes that do not fit, a negative threshold, and as `warp`.

    Example:

    >>> flow = keras.ops.reshape([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], (1, 3, 2))
    >>> flow_validity(flow, keras.ops.zeros((1, 3, 2)), threshold=0.5)[0, :, 0]
    [0. 1. 0.]
    """
    check_threshold(threshold)
    check_flow("flow", flow)
    check_flow("reverse_flow", reverse_flow, flow.shape, "`flow`")
    flow, reverse_flow = (ops.stop_gradient(ops.cast(x, "float32")) for x in (flow, reverse_flow))
    positions = _positions(flow)
    back = flow + _bilinear(reverse_flow, _targets(positions, "zero"))
    distance = ops.sum(ops.square(back), axis=-1)
    trusted = _are_inside(positions) & (distance <= threshold**2)
    return ops.expand_dims(ops.cast(trusted, "float32"), -1)


def corners(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the four pixels around each target of a flow, which `warp` interpolates.

    Returns:
        Their indices among the pixels of an image, row by row, int32 `(4, ..., H, W)`; and their
        shares, float32 of the same shape, 0 outside of the image.
    """
    flow = ops.cast(flow, "float32")
    width = ops.shape(flow)[-2]
    found = [
        (row * width + column, share)
        for row, column, share in _corners(_targets(_positions(flow), "zero"))
    ]
    pixels, shares = (ops.stack(part) for part in zip(*found, strict=True))
    return pixels, shares


def check_threshold(threshold: float) -> float:
    """Return `threshold`; raise ValueError unless it is a number of pixels from 0 up."""
    if not threshold >= 0:
        raise ValueError(
            "Invalid value for argument `threshold`: expected a number of pixels from 0 up, "
            f"received {threshold}."
        )
    return threshold


def leads_inside(flow: Tensor) -> Tensor:
    """Return whether the flow of each pixel leads into the image: `(..., H, W)`, bool."""
    return _are_inside(_positions(flow))


def check_flow(name: str, flow: Tensor, shape: Shape | None = None, of: str = "`image`") -> None:
    """Raise ValueError unless `flow` is an optical flow that fits the tensor that it moves.

    Args:
        name: of the argument, for messages.
        flow: tensor, also a symbolic one.
        shape: `(..., H, W, C)` of the tensor that it moves, or None.
        of: name of that tensor, for messages.
    """
    received = tuple(flow.shape)
    expected = f"Invalid value for argument `{name}`: expected a flow (..., height, width, 2)"
    if len(received) < 3 or received[-1] != 2:
        hint = " Put the two channels (dx, dy) last." if 2 in received[-3:-2] else ""
        raise ValueError(f"{expected}, received shape {received}.{hint}")
    if shape is not None and not may_equal(received[:-1], tuple(shape)[:-1]):
        raise ValueError(
            f"{expected} of the sizes of {of}, received {received} for {tuple(shape)}."
        )
    dtype = backend.standardize_dtype(flow.dtype)
    if not backend.is_float_dtype(dtype):
        raise ValueError(f"{expected} of floats, in pixels, received {dtype}.")
    known = known_values(flow, "float32")
    if known is not None and np.isnan(known).any():
        raise ValueError(f"{expected} of numbers, received NaN.")


class _Positions(NamedTuple):
    """Coordinates along one axis of an image, and the number of its pixels."""

    values: Tensor  # float32 (..., H, W)
    size: int | Tensor


def _positions(flow: Tensor) -> tuple[_Positions, _Positions]:
    """Return the targets of the flow: x and y."""
    height, width = ops.shape(flow)[-3:-1]
    x = ops.cast(ops.arange(width), "float32") + flow[..., 0]
    y = ops.expand_dims(ops.cast(ops.arange(height), "float32"), -1) + flow[..., 1]
    return _Positions(x, width), _Positions(y, height)


def _are_inside(positions: Iterable[_Positions]) -> Tensor:
    x, y = ((values >= 0) & (values <= ops.cast(size - 1, "float32")) for values, size in positions)
    return x & y


def _targets(
    positions: Iterable[_Positions], boundary: Literal["zero", "clamp"]
) -> list[_Positions]:
    """Clip positions to just outside of the image; NaN is outside."""
    beyond = 1 if boundary == "zero" else 0
    return [
        _Positions(
            ops.clip(
                ops.where(ops.isnan(values), -1.0, values),
                -float(beyond),
                ops.cast(size - 1 + beyond, "float32"),
            ),
            size,
        )
        for values, size in positions
    ]


def _nearest(image: Tensor, targets: Iterable[_Positions]) -> Tensor:
    (column, right), (row, below) = (_cells(ops.round(x), size) for x, size in targets)
    inside = ops.expand_dims(ops.cast(right & below, image.dtype), -1)
    return _pixels(image)(row, column) * inside


def _bilinear(image: Tensor, targets: Iterable[_Positions]) -> Tensor:
    pixel = _pixels(image)
    out = 0.0
    for row, column, share in _corners(targets):
        out = out + ops.expand_dims(share, -1) * pixel(row, column)
    return out


def _corners(targets: Iterable[_Positions]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield row, column and share of the four pixels around each target, each `(..., H, W)`."""
    columns, rows = ([*_neighbors(*target)] for target in targets)
    for row, row_share in rows:
        for column, column_share in columns:
            yield row, column, row_share * column_share


def _neighbors(position: Tensor, size: int | Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the two cells next to a position, and their shares of it: 0 outside of the image."""
    first = ops.stop_gradient(ops.floor(position))
    second_share = position - first
    for cell, share in ((first, 1 - second_share), (first + 1, second_share)):
        index, inside = _cells(cell, size)
        yield index, share * ops.cast(inside, "float32")


def _cells(position: Tensor, size: int | Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of whole positions, clipped to the image, and whether they are inside."""
    index = ops.cast(position, "int32")
    return ops.clip(index, 0, size - 1), (index >= 0) & (index < size)


def _pixels(image: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function from rows and columns, each `(..., H, W)`, to their pixels."""
    *batch, height, width, channels = ops.shape(image)
    count = functools.reduce(operator.mul, batch, 1)
    pixels = ops.reshape(image, (-1, channels))
    first = ops.reshape(ops.arange(count) * (height * width), (*batch, 1, 1))
    return lambda row, column: take_pixels(pixels, first + row * width + column)


def take_pixels(pixels: Tensor, indices: Tensor) -> Tensor:
    """Return the pixels `(..., C)` at the indices `(...)` of a list of them, `(N, C)`."""
    found = ops.take(pixels, indices, axis=0)
    if len(found.shape) <= len(indices.shape):  # JAX drops axes when it gathers from nothing
        found = ops.reshape(found, (*ops.shape(indices), ops.shape(pixels)[-1]))
    return found
