"""The viewer of the page, and its values: an image with its labels."""

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
from keras_dpn.models.heads import head_of

from .served_model import Prediction

if TYPE_CHECKING:
    import gradio


def viewer(
    classes: Classes,
    heads: Sequence[str],
    frame_reader: Callable[[Mapping[str, Any]], dict[str, Any]],
    hint: str = "Drop an image or a short video.",
) -> "gradio.HTML":
    """Return the component; its value is that of `prediction_value` or `message`, or None.

    Args:
        classes: the model's.
        heads: names of the model's heads.
        frame_reader: called with "video" and "index", returns the value of a video's frame.
        hint: shown until there is a value.
    """
    import gradio

    def read_frame(
        position: Mapping[str, Any],
    ) -> dict[str, Any]:  # gradio takes plain functions only
        return frame_reader(position)

    folder = Path(__file__).parent
    html, css, js = (
        (folder / f"viewer.{suffix}").read_text(encoding="utf-8")
        for suffix in ("html", "css", "js")
    )
    return gradio.HTML(
        html_template=html.replace("HINT", hint),
        css_template=css,
        js_on_load=js,
        apply_default_css=False,
        server_functions=[read_frame],
        elem_id="viewer",
        classes=[
            {"name": name, "color": list(color)}
            for name, color in zip(classes.names, classes.colors, strict=True)
        ],
        heads=[
            {"name": name, "tick": head_of(name).title, "title": head_phrase(name)}
            for name in heads
        ],
    )


def head_phrase(name: str) -> str:
    """Return which labels a head gives, in words that continue "Labels".

    Example:
    >>> head_phrase("triple"), head_phrase("final"), head_phrase("above")
    ('after the triple penalty', 'of the final prediction', 'after “above”')
    """
    title = head_of(name).title
    if name == "final":
        return f"of the {title}"
    return f"after the {title}" if title != name else f"after “{name}”"


def prediction_value(
    image: np.ndarray, prediction: Prediction, classes: Classes, name: str, note: str = ""
) -> dict[str, Any]:
    """Return an image and its prediction as JSON values.

    Args:
        image: uint8 (H, W, 3).
        prediction: of the model.
        classes: the model's.
        name: of the image, and of files made from it.
        note: a line below it.

    Returns:
        "image", a JPEG as a data address; "width", "height", "name", "note"; and for each head in
        "maps" labels and confidences, a byte per pixel, one after the other, zlib, and in "files"
        the label map as a palette PNG, all in base64.
    """
    empty = np.zeros((len(prediction.labels), 0), "uint8")
    confidences = empty if prediction.confidences is None else prediction.confidences
    maps = [x.tobytes() + y.tobytes() for x, y in zip(prediction.labels, confidences, strict=True)]
    files = [viz.label_png(labels, classes.colors, classes.ignore) for labels in prediction.labels]
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
    """Return a message for the viewer to show instead of an image."""
    return {"message": text}


def _jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=92)
    return stream.getvalue()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
