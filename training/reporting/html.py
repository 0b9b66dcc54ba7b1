"""Small pieces of HTML that hold everything they show."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from keras_dpn import viz

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEMPLATE = Path(__file__).with_name("template.html")


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


def image(picture: np.ndarray | bytes, alt: str) -> str:
    """An image (H, W, 3) or PNG bytes, inside the page."""
    png = picture if isinstance(picture, bytes) else viz.image_png(picture)
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def plot(figure: "Figure", alt: str) -> str:
    """A Matplotlib figure on white, in the dark too."""
    return f'<div class="plot">{image(viz.figure_png(figure, dpi=110), alt)}</div>'
