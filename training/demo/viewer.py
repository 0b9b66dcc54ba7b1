"""The part of the page that shows a picture with its labels, and what is sent to it."""

import base64
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from keras_dpn import viz
from keras_dpn.classes import Classes

from .served_model import Found

if TYPE_CHECKING:
    import gradio

# Below the slider, and above it.
TICKS = {"unary": "unary", "triple": "b12", "contexts": "contexts", "final": "final"}
TITLES = {
    "unary": "the unary term: each pixel by itself",
    "triple": "b12, triple penalty: neighbours of like colours agree",
    "contexts": "b14, label contexts: what may lie around what",
    "final": "all steps: the final labels",
}


def viewer(
    classes: Classes, stages: Sequence[str], read_frame: Callable[[Mapping[str, Any]], dict]
) -> "gradio.HTML":
    """The component; its value is what `answer` or `message` gives, or None.

    Args:
        classes: the model's.
        stages: names of the model's stages.
        read_frame: called with "film" and "index", gives a film's frame as `answer` does.
    """
    import gradio

    def frame_of(place: Mapping[str, Any]) -> dict:  # gradio takes plain functions only
        return read_frame(place)

    folder = Path(__file__).parent
    html, css, js = (
        (folder / f"viewer.{suffix}").read_text(encoding="utf-8")
        for suffix in ("html", "css", "js")
    )
    return gradio.HTML(
        html_template=html,
        css_template=css,
        js_on_load=js,
        apply_default_css=False,
        server_functions=[frame_of],
        elem_id="viewer",
        classes=[
            {"name": name, "color": list(color)}
            for name, color in zip(classes.names, classes.colors, strict=True)
        ],
        stages=[
            {"name": name, "tick": TICKS.get(name, name), "title": TITLES.get(name, name)}
            for name in stages
        ],
    )


def answer(
    image: np.ndarray, found: Found, classes: Classes, name: str, note: str = ""
) -> dict[str, Any]:
    """A picture and what the model says of it, as JSON values.

    Args:
        image: uint8 (H, W, 3).
        found: of the model.
        classes: the model's.
        name: how the picture, and files made from it, are called.
        note: a line below it.

    Returns:
        "image", a JPEG as a data address; "width", "height", "name", "note"; and for each stage in
        "maps" labels and confidences, a byte a pixel, one after the other, zlib, and in "files" the
        label map as a palette PNG, all in base64.
    """
    empty = np.zeros((len(found.labels), 0), "uint8")
    confidences = empty if found.confidences is None else found.confidences
    maps = [x.tobytes() + y.tobytes() for x, y in zip(found.labels, confidences, strict=True)]
    files = [viz.label_png(labels, classes.colors, classes.ignore) for labels in found.labels]
    return {
        "name": name,
        "note": note,
        "height": image.shape[0],
        "width": image.shape[1],
        "image": f"data:image/jpeg;base64,{_base64(_jpeg(image))}",
        "maps": [_base64(zlib.compress(content)) for content in maps],
        "files": [_base64(content) for content in files],
    }


def message(text: str) -> dict[str, str]:
    """What the viewer says in place of a picture."""
    return {"message": text}


def _jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=92)
    return stream.getvalue()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
