"""What the site takes from the repository: links in its Markdown, recipes, presets, commands."""

import ast
import posixpath
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s:#]+)(#[^)\s]*)?\)")

# Files outside of docs/ that have a page here.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "saved_models/README.md": "exported_models.md",
}


def site_links(text: str, file: str) -> str:
    """Return Markdown whose links to files of the repository are links to pages of the site.

    A link whose text is the file's name gets the page's title as its text. The source code has no
    page: of links to it only the text stays.

    Args:
        text: Markdown.
        file: its file, relative to the repository's root; links are relative to it.

    Raises:
        SphinxError: for a link to a file that does not exist.
    """

    def replaced(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        if not (ROOT / path).exists():
            raise SphinxError(f"{file}: links to {target}, which does not exist.")
        words = label[1:-1]
        is_path = words.endswith((target, posixpath.basename(path)))
        page = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if page is None:
            return f"`{words}`" if is_path else words
        return f"{'[]' if is_path else label}(/{page}{anchor})"

    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(replaced, part) for part in parts[::2]]
    return "".join(parts)


def read_source(app: Sphinx, page: str, content: list[str]) -> None:
    """Convert the links of a page of docs/."""
    if app.env.doc2path(page).suffix == ".md":
        content[0] = site_links(content[0], f"docs/{page}.md")


def read_include(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Convert the links of Markdown that a page includes."""
    file = posixpath.normpath(posixpath.join("docs", path.as_posix()))
    content[0] = site_links(content[0], file)


class Table(SphinxDirective):
    """A table of what the code defines."""

    has_content = False
    head: tuple[str, ...]
    rows: Callable[[], list[tuple[str, ...]]]

    def run(self) -> list[nodes.Node]:
        """Return the table, in a box that scrolls on narrow screens."""
        lines = [_row(self.head), _row("---" for _ in self.head), *map(_row, type(self).rows())]
        return self.parse_text_to_nodes("\n".join(lines))


def _row(cells: Iterable[object]) -> str:
    escaped = (str(cell).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def recipe_rows() -> list[tuple[str, ...]]:
    """Return a row per recipe of `keras-dpn train`."""
    from training.configs.recipes import INFO

    def score(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    return [
        (f"`{name}`", r.title, r.cost, score(r.measured_miou), score(r.paper_miou))
        for name, r in INFO.items()
    ]


def preset_rows() -> list[tuple[str, ...]]:
    """Return a row per included preset."""
    from keras_dpn.presets import available

    return [
        (f"`{name}`", p.network, p.description, len(p.classes), f"{p.parameters / 1e6:.1f} M")
        for name, p in available().items()
    ]


def command_rows() -> list[tuple[str, ...]]:
    """Return a row per command of `keras-dpn`."""
    from training.cli import COMMANDS

    return [
        (f"[`{name}`](#keras-dpn-{name})", command.summary, command.group)
        for name, command in COMMANDS.items()
    ]


class Recipes(Table):
    """The recipes."""

    head = ("recipe", "trains", "cost", "here", "paper")
    rows = staticmethod(recipe_rows)


class Presets(Table):
    """The included presets."""

    head = ("preset", "network", "labels", "classes", "weights")
    rows = staticmethod(preset_rows)


class PresetCards(SphinxDirective):
    """The model cards of the included presets."""

    def run(self) -> list[nodes.Node]:
        """Return a section per preset: its README, one level below the page."""
        from keras_dpn.presets import available

        cards = [ROOT / "keras_dpn" / "presets" / name / "README.md" for name in available()]
        text = "\n\n".join(re.sub(r"(?m)^#", "##", c.read_text("utf-8")) for c in cards)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class CommandTable(Table):
    """The commands."""

    head = ("command", "does", "group")
    rows = staticmethod(command_rows)


class Commands(SphinxDirective):
    """What the commands' modules say about them."""

    def run(self) -> list[nodes.Node]:
        """Return a section per command."""
        from training.cli import COMMANDS

        lines: list[str] = []
        for name in COMMANDS:
            module = ROOT / "training" / "cli" / f"{name.replace('-', '_')}.py"
            text = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
            lines += ["", f"## keras-dpn {name}", "", text]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx and add the directives."""
    app.connect("source-read", read_source)
    app.connect("include-read", read_include)
    app.add_directive("recipes", Recipes)
    app.add_directive("presets", Presets)
    app.add_directive("preset-cards", PresetCards)
    app.add_directive("command-table", CommandTable)
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
