"""Optical flow between two frames: OpenCV's dense inverse search (DIS).

A flow is float32 (H, W, 2) = (dx, dy) in pixels, as in OpenCV: the pixel at (x, y) of the
first frame is at (x + dx, y + dy) in the second.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

Preset = Literal["ultrafast", "fast", "medium"]

_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}

# OpenCV 5.0.0 reads outside its memory, or fails, if a side of a frame is shorter.
_SMALLEST_SIDE = 32


@dataclass(frozen=True)
class FlowSettings:
    """Settings of the optical flow.

    Args:
        preset: of OpenCV's DIS (Kroeger et al., 2016): "ultrafast", "fast" or "medium", which
            works at a finer scale with more variational refinement.

    Raises:
        ValueError: for another preset.
    """

    preset: Preset = "medium"

    def __post_init__(self) -> None:
        if self.preset not in _PRESETS:
            raise ValueError(
                f"Invalid value for argument `preset`: expected one of {get_args(Preset)}, "
                f"received {self.preset!r}."
            )


def dis_flow(
    first: np.ndarray, second: np.ndarray, settings: FlowSettings | None = None
) -> np.ndarray:
    """Return the flow from one frame to another, by dense inverse search (DIS).

    The result depends neither on the number of threads nor on earlier calls.

    Args:
        first: uint8 (H, W, 3) RGB.
        second: uint8 (H, W, 3) RGB, of the same size.
        settings: settings of the flow; `FlowSettings()` by default.

    Returns:
        float32 (H, W, 2), (dx, dy) in pixels.

    Raises:
        ValueError: for frames of another type, or of different sizes.

    Example:
    >>> y, x = np.mgrid[:64, :64].astype("float32")
    >>> frame = np.stack([127 + 60 * np.sin(x / 5) + 60 * np.sin(y / 7)] * 3, -1).astype("uint8")
    >>> flow = dis_flow(frame, np.roll(frame, 2, axis=1))
    >>> np.abs(np.median(flow, axis=(0, 1)) - [2, 0]).max() < 0.1
    np.True_
    """
    check_frames(first, second)
    settings = settings or FlowSettings()
    height, width = first.shape[:2]
    # A new object each time, at a few percent of the cost: one that has seen a small frame keeps
    # its scales and computes another flow for the next frame (OpenCV 5.0.0).
    dis = cv2.DISOpticalFlow.create(_PRESETS[settings.preset])
    # OpenCV's stubs don't allow None, which means that there is no initial flow.
    flow = dis.calc(_grey(first), _grey(second), None)  # type: ignore[call-overload]
    return flow[:height, :width]


def check_frames(first: np.ndarray, second: np.ndarray) -> None:
    """Raise ValueError unless the two are uint8 (H, W, 3) of one size."""
    for name, frame in (("first", first), ("second", second)):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3 or 0 in frame.shape:
            raise ValueError(
                f"Invalid value for argument `{name}`: expected a frame, uint8 (H, W, 3), "
                f"received {frame.dtype} {frame.shape}."
            )
    if first.shape != second.shape:
        raise ValueError(
            "Expected two frames of one size, received "
            f"{first.shape[:2]} and {second.shape[:2]} (height, width)."
        )


def _grey(frame: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    below, right = (max(_SMALLEST_SIDE - side, 0) for side in grey.shape)
    return cv2.copyMakeBorder(grey, 0, below, 0, right, cv2.BORDER_REPLICATE)
