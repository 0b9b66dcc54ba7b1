"""Help texts that tyro wraps to the width of the terminal."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def joined_lines() -> Iterator[None]:
    """Let tyro read each paragraph of an option's documentation as one line.

    tyro 1.0.17 keeps the line breaks of functions' docstrings, and those of indented attributes',
    whose lines it joins before it removes the indentation (`_docstrings.get_field_docstring`).
    """
    import docstring_parser

    originals = {name: getattr(docstring_parser, name) for name in ("parse", "parse_from_object")}
    for name, parse in originals.items():
        setattr(docstring_parser, name, _joining(parse))
    try:
        yield
    finally:
        for name, parse in originals.items():
            setattr(docstring_parser, name, parse)


def join_lines(text: str) -> str:
    r"""Return a text with one line per paragraph.

    Example:
    >>> join_lines("Where the files\n    are written.\n\n    Existing ones stay.")
    'Where the files are written.\n\nExisting ones stay.'
    """
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text))


def _joining(parse: Callable[..., Any]) -> Callable[..., Any]:
    def parse_and_join(*args: Any, **kwargs: Any) -> Any:
        found = parse(*args, **kwargs)
        for param in found.params:
            if param.description:
                param.description = join_lines(param.description)
        return found

    return parse_and_join
