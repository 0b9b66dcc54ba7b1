"""Docstrings are written in Keras's Markdown: turn what reStructuredText reads differently.

* `code` in single backticks is literal, and may stand next to a letter.
* A paragraph indented by four spaces is code.
* A table has lines of `|`.
* `*`, `|` and a final `_` are characters, not markup.
* Sections of prose (Returns, Input shape, ...) become fields like the Args, and keep their colons.

It runs before `sphinx.ext.napoleon`, which reads the other sections.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import safe_getattr, stringify_signature

PROSE = re.compile(r"(Returns|Yields|Input shape|Output shape|Shapes|References):$")
SECTION = re.compile(r"(Args|Attributes|Example|Keys|Raises):$|" + PROSE.pattern)
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(?=(\w)?)")


def to_rst(lines: list[str]) -> list[str]:
    """Return a docstring's lines as reStructuredText with Google's sections."""
    return [line for block in blocks(lines) for line in convert(block)]


def blocks(lines: list[str]) -> Iterator[tuple[list[str], bool]]:
    """Yield the paragraphs with the blank lines after them, and whether each is in a section."""
    block: list[str] = []
    in_section = False
    for line in [*lines, None]:
        starts = line is None or (block and not block[-1].strip() and line.strip())
        if starts or (line is not None and SECTION.match(line) and block):
            yield block, in_section
            block = []
        if line is not None:
            if SECTION.match(line):
                in_section = line != "Example:"
            elif line.strip() and not line.startswith(" "):
                in_section = False
            block.append(line)


def convert(paragraph: tuple[list[str], bool]) -> list[str]:
    """Return one paragraph as reStructuredText."""
    block, in_section = paragraph
    if block and block[0] == "Keys:":  # of a dictionary, as the attributes of an object
        return ["Attributes:", *prose(block[1:])]
    if block and PROSE.match(block[0]):
        content = textwrap.dedent("\n".join(block[1:])).split("\n")
        return [f":{block[0]}", *(f"    {line}".rstrip() for line in prose(content))]
    if block and block[0] == "Example:":
        return [
            "",
            ".. rubric:: Example",
            "",
            *textwrap.dedent("\n".join(block[1:])).split("\n"),
            "",
        ]
    if block and block[0].startswith("| "):
        return table(block)
    first = next((line for line in block if line.strip()), "")
    if first.lstrip().startswith(">>>"):
        return block
    if first.startswith("    ") and not in_section and not first.lstrip().startswith("* "):
        return ["::", "", *block]
    return prose(block)


def table(block: list[str]) -> list[str]:
    """Return a Markdown table as a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in block[:1] + block[2:]:
        cells = prose([cell.strip() for cell in row.strip().strip("|").split("|")])
        lines += [
            f"   {'  ' if i else '* '}- {cell}" for i, cell in enumerate(cells) if row.strip()
        ]
    return [*lines, ""]


def prose(block: list[str]) -> list[str]:
    """Return lines of text with Markdown's code spans and no accidental markup."""
    text = "\n".join(block)
    parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
    parts[::2] = [escaped(part) for part in parts[::2]]
    text = "".join(parts)
    return CODE.sub(lambda m: f"``{m[1]}``" + ("\\ " if m[2] else ""), text).split("\n")


def escaped(text: str) -> str:
    """Return text with the characters that start or end markup escaped, but bullets kept."""
    text = re.sub(r"(?<=\w)_(?!\w)", r"\_", text).replace("|", r"\|")
    # Not "* ", which begins a line, nor "*name:", which napoleon reads.
    return re.sub(r"(?m)\*(?!\*?\w+:)(?<!^\*)(?<!^ {4}\*)", r"\*", text)


def process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Convert a docstring in place."""
    # An empty comment: Napoleon reads an attribute's first line, up to a colon, as its type.
    before = ["..", ""] if what in ("attribute", "data", "property") else []
    lines[:] = before + to_rst(lines)


def process_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str, Any] | None:
    """Show the signature of `__init__`: Keras's classes have a `__new__` that takes anything."""
    if what != "class" or signature is None:
        return None
    if issubclass(obj, dict):  # a TypedDict is described by its keys
        return "", None
    owners = [c for c in obj.__mro__ if "__init__" in vars(c)]
    if not owners[0].__module__.startswith("keras_dpn"):
        return None
    parameters = inspect.signature(safe_getattr(obj, "__init__"))
    kept = [p for p in parameters.parameters.values() if p.name != "self"]
    bare = parameters.replace(parameters=kept, return_annotation=inspect.Signature.empty)
    return stringify_signature(bare, unqualified_typehints=True), None


def skip_member(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out the methods and properties that a class has from Keras or Python."""
    function = getattr(obj, "fget", None) or getattr(obj, "func", None) or obj
    if not callable(function):
        return None
    module = getattr(function, "__module__", None) or ""
    return None if module.startswith("keras_dpn") else True


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to autodoc, before napoleon."""
    app.connect("autodoc-process-docstring", process_docstring, priority=100)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True}
