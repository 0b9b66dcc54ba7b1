"""Small pieces of HTML that hold everything they show."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from keras_dpn import viz

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEMPLATE = Path(__file__).parent / "templates" / "page.html"


def page(title: str, subtitle: str, sections: Iterable[str]) -> str:
    """The whole page; title and subtitle are text, sections are HTML, empty ones left out."""
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        body="\n".join(section for section in sections if section),
    )


def section(title: str, text: str, *parts: str) -> str:
    """A heading (text), a paragraph (HTML) if there is one, and what follows."""
    paragraph = f'<p class="quiet">{text}</p>' if text else ""
    return "\n".join([f"<h2>{escape(title)}</h2>", paragraph, *parts])


def table(head: Sequence[str], bodies: Sequence[Sequence[str]], style: str = "") -> str:
    """A table that scrolls sideways where it is too wide.

    Args:
        head: titles of the columns, text; none leaves out the head.
        bodies: groups of rows from `row`, with a line between groups.
        style: further CSS classes.
    """
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    groups = "".join(f"<tbody>{''.join(rows)}</tbody>" for rows in bodies if rows)
    thead = f"<thead><tr>{titles}</tr></thead>" if head else ""
    return f'<div class="wide {style}"><table>{thead}{groups}</table></div>'


def row(name: str, cells: Iterable[str], style: str = "") -> str:
    """A table row: its name is text, its cells are HTML."""
    values = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr class="{style}"><th>{escape(name)}</th>{values}</tr>'


def color_key(entries: Iterable[tuple[str, Sequence[int]]]) -> str:
    """What colours mean: names with (red, green, blue)."""
    items = (
        f'<li><i style="background: rgb({", ".join(map(str, color))})"></i>{escape(name)}</li>'
        for name, color in entries
    )
    return f'<ul class="key">{"".join(items)}</ul>'


def tabs(legend: str, panels: Sequence[tuple[str, str]], group: str) -> str:
    """Panels of which one is seen, chosen by mouse or arrow keys; in print all, one after another.

    They are radio buttons, so that the page needs no script.

    Args:
        legend: what is chosen, text.
        panels: titles, text, and their HTML.
        group: a name that no other tabs of the page have, letters.
    """
    parts = []
    for i, (title, content) in enumerate(panels):
        name, checked = f"{group}-{i}", " checked" * (i == 0)
        parts += [
            f'<input type="radio" name="{group}" id="{name}"{checked}>',
            f'<label for="{name}">{escape(title)}</label>',
            f'<div class="panel"><h3>{escape(title)}</h3>{content}</div>',
        ]
    return f'<fieldset class="tabs"><legend>{escape(legend)}</legend>{"".join(parts)}</fieldset>'


def image(picture: np.ndarray | bytes, alt: str) -> str:
    """An image (H, W, 3) or PNG bytes, inside the page."""
    png = picture if isinstance(picture, bytes) else viz.image_png(picture)
    return _image(png, "png", alt)


def photo(picture: np.ndarray, alt: str) -> str:
    """An image (H, W, 3), uint8, as a JPEG: a tenth of the PNG's size."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=90)
    return _image(stream.getvalue(), "jpeg", alt)


def _image(content: bytes, kind: str, alt: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{data}">'


def plot(figure: "Figure", alt: str) -> str:
    """A Matplotlib figure on white, in the dark too."""
    return f'<div class="plot">{image(viz.figure_png(figure, dpi=110), alt)}</div>'
