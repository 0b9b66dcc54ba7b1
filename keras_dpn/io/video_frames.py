"""Decoded frames of a video as RGB images."""

import struct
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

Converter = Callable[[VideoFrame], np.ndarray]
_COMMON_FORMATS = {"yuv420p", "yuvj420p"}  # of 8 bits


class RGBConverter:
    """Converts decoded frames to upright 8-bit RGB, as the program ffmpeg does.

    Depths above 8 bits, ranges and matrices of colours, and the chroma of interlaced frames are
    those of FFmpeg's filter `scale`. Transparent pixels are composited on black, as in
    `keras_dpn.io.images.read_image`.
    """

    def __init__(self) -> None:
        self._converters: dict[tuple[object, ...], Converter] = {}

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """Return a new uint8 array (H, W, 3)."""
        kind = (
            *(frame.width, frame.height, frame.format.name),
            *(frame.interlaced_frame, frame.colorspace, frame.color_range),
        )
        if kind not in self._converters:
            self._converters[kind] = _converter(frame)
        return _upright(self._converters[kind](frame), frame)


def _converter(frame: VideoFrame) -> Converter:
    """Return what converts frames of this one's kind to RGB."""
    is_even = frame.width % 2 == frame.height % 2 == 0
    if frame.format.name in _COMMON_FORMATS and is_even and not frame.interlaced_frame:
        # The values are those of the filter, in 80% of its time.
        reformatter = VideoReformatter()
        return lambda frame: reformatter.reformat(frame, format="rgb24").to_ndarray()
    has_alpha = any(component.is_alpha for component in frame.format.components)
    graph = _scale_graph(frame, "rgba" if has_alpha else "rgb24")

    def convert(frame: VideoFrame) -> np.ndarray:
        graph.vpush(frame)
        image = graph.vpull().to_ndarray()
        return _on_black(image) if has_alpha else image

    return convert


def _on_black(image: np.ndarray) -> np.ndarray:
    alpha = image[..., 3:].astype("uint16")
    return ((image[..., :3] * alpha + 127) // 255).astype("uint8")


def _scale_graph(frame: VideoFrame, target: str) -> av.filter.Graph:
    graph = av.filter.Graph()
    # Any time base will do: a frame goes in and comes out again.
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
        ),
        graph.add("scale"),
        graph.add("format", f"pix_fmts={target}"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _upright(image: np.ndarray, frame: VideoFrame) -> np.ndarray:
    """Turn and flip by the display matrix, in steps of 90 degrees."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(side_data, SideData):
        return image
    # A pixel (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = struct.unpack("=5i", bytes(side_data)[:20])
    if abs(a) + abs(d) < abs(b) + abs(c):
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
