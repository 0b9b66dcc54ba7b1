"""The templates of the reports, in which everything that comes from data is escaped."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from . import formatting


@dataclass(frozen=True)
class Cell:
    """A value with its change from another one; `trend` is "up", "down" or "quiet"."""

    text: str
    change: str
    trend: str


@dataclass(frozen=True)
class Row:
    """A table row: its name, its cells, and CSS classes."""

    name: str
    cells: Sequence[str | Cell]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """Groups of rows under the titles of the columns, with CSS classes and a note below.

    A table without titles has no head; empty groups are left out.
    """

    head: Sequence[str]
    groups: Sequence[Sequence[Row]]
    style: str = ""
    note: str = ""


def render(template: str, **values: Any) -> Markup:
    """Render a template of this package, such as "page", with its values escaped."""
    return Markup(_environment().get_template(f"{template}.html.j2").render(values))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["zip"] = functools.partial(zip, strict=True)
    for function in (formatting.percent, formatting.signed_points):
        environment.filters[function.__name__] = function
    return environment
