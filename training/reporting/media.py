"""Images and figures as data URIs, so that a page is self-contained."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from keras_dpn import viz
from keras_dpn.classes import Classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINE_WIDTH = 300  # pixels: of narrower images each pixel is to be visible
_MAX_SIDE = 800  # pixels: no image on the page is larger
_GRAY_LEVELS = 32  # few, so that highlighted images are small files


@dataclass(frozen=True)
class EmbeddedImage:
    """An image inside the page: a data URI and what is shown where it cannot be."""

    uri: str
    alt: str


def photo(image: np.ndarray, alt: str) -> EmbeddedImage:
    """Embed an image (H, W, 3), uint8: a wide one as JPEG, a tenth of the PNG's size."""
    if image.shape[1] < FINE_WIDTH:
        return _png(viz.image_png(image), alt)
    stream = io.BytesIO()
    Image.fromarray(_downsample(image)).save(stream, format="JPEG", quality=90)
    return EmbeddedImage(_uri(stream.getvalue(), "jpeg"), alt)


def label_map(labels: np.ndarray, classes: Classes, alt: str) -> EmbeddedImage:
    """Embed a label map (H, W) in the classes' colors."""
    return _png(viz.label_png(_downsample(labels), classes.colors, classes.ignore), alt)


def highlight(
    image: np.ndarray, masks: Mapping[tuple[int, ...], np.ndarray], alt: str
) -> EmbeddedImage:
    """Embed an image (H, W, 3) pale and gray, with the pixels of masks in their colors."""
    levels = (image.mean(axis=-1) * _GRAY_LEVELS / 256).astype("uint8")
    for i, mask in enumerate(masks.values()):
        levels[mask] = _GRAY_LEVELS + i
    grays = 255 - 0.3 * (255 - 255 * np.arange(_GRAY_LEVELS) / (_GRAY_LEVELS - 1))
    colors: list[Sequence[int]] = [*((round(gray),) * 3 for gray in grays), *masks]
    return _png(viz.label_png(_downsample(levels), colors, ignore=None), alt)


def plot(figure: "Figure", alt: str) -> EmbeddedImage:
    """Embed a Matplotlib figure."""
    return _png(viz.figure_png(figure, dpi=110), alt)


def _downsample(pixels: np.ndarray) -> np.ndarray:
    """Take every n-th pixel of an image (H, W, ...), so that it is no larger than a page needs."""
    step = -(-max(pixels.shape[:2]) // _MAX_SIDE)
    return pixels[::step, ::step]


def _png(content: bytes, alt: str) -> EmbeddedImage:
    return EmbeddedImage(_uri(content, "png"), alt)


def _uri(content: bytes, subtype: str) -> str:
    return f"data:image/{subtype};base64,{base64.b64encode(content).decode()}"
