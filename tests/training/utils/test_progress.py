import io

import pytest

from training.utils import progress as module
from training.utils.progress import progress, progress_bar


@pytest.fixture
def terminal(monkeypatch):
    """A terminal that keeps what is shown."""
    from rich.console import Console

    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    monkeypatch.setattr(module, "Console", lambda stderr: console)
    return shown


def test_yields_everything_and_is_silent_in_logs(capsys):
    assert list(progress(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    with progress_bar("letters", 3, "letters") as bar:
        bar.advance()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_counts_items_of_known_length(terminal):
    assert list(progress("abc", "letters [x]")) == ["a", "b", "c"]
    assert "letters [x]" in terminal.getvalue() and "3/3" in terminal.getvalue()


def test_bar_shows_total_and_unit(terminal):
    with progress_bar("searching", 9, "frames") as bar:
        bar.advance(2)
        bar.advance()
        bar.update(5)
        bar._bar.refresh()
    assert "5/9" in terminal.getvalue() and "frames/s" in terminal.getvalue()
