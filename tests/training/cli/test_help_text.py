from dataclasses import dataclass

import docstring_parser
import pytest
import tyro

from training.cli.help_text import join_lines, joined_lines


@dataclass(frozen=True)
class Options:
    """Some options."""

    scale: float = 1.0
    """Factor by which each image is
    (if at all) resized, as
    `--size` says.

    Others stay.
    """


def command(options: Options = Options(), *, size: int = 3) -> None:
    """Do it.

    Args:
        options: some.
        size: the size to which images are
            --scaled, and
            nothing else.
    """


def test_paragraphs_are_wrapped_as_wide_as_the_terminal_is(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    parse = docstring_parser.parse
    with pytest.raises(SystemExit), joined_lines():
        tyro.cli(command, args=["--help"])
    out = capsys.readouterr().out
    assert "the size to which images are --scaled, and nothing else." in out
    assert "Factor by which each image is (if at all) resized, as `--size` says." in out
    assert docstring_parser.parse is parse


def test_paragraphs_stay_apart():
    assert join_lines("one\n  two\n\n  three") == "one two\n\nthree"
