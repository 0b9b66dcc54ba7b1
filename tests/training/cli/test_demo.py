from contextlib import contextmanager

import pytest

from training.cli import main
from training.demo import app


@pytest.fixture
def served(monkeypatch):
    """The arguments with which a page was served until Ctrl-C."""
    calls = []

    @contextmanager
    def serving(*args):
        calls.append(args)
        yield "http://127.0.0.1:7860/"

    class Event:
        def wait(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(app, "serving", serving)
    monkeypatch.setattr("threading.Event", Event)
    return calls


def test_serves_until_ctrl_c(served, capsys):
    assert main(["demo", "runs/mine", "--port", "8000", "--max-pixels", "5000"]) == 130
    assert served == [("runs/mine", "127.0.0.1", 8000, None, 20, 5000, ())]
    printed = capsys.readouterr()
    assert printed.out == "http://127.0.0.1:7860/  (Ctrl-C ends it)\n"
    assert printed.err == "stopped\n"


def test_refuses_a_port_that_is_none(capsys):
    assert main(["demo", "--port", "70000"]) == 2
    assert "--port: expected 0 to 65535, received 70000" in capsys.readouterr().err
