import os
import signal
import threading
from contextlib import contextmanager

import pytest

from training.cli import main
from training.demo import app


@pytest.fixture
def served(monkeypatch):
    """What happened: the arguments with which a page was served, and its end."""
    calls = []

    @contextmanager
    def serving(*args):
        calls.append(args)
        try:
            yield "http://127.0.0.1:7860/"
        finally:
            calls.append("closed")

    monkeypatch.setattr(app, "serving", serving)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    yield calls
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code", "message"), [(signal.SIGINT, 130, "stopped\n"), (signal.SIGTERM, 143, "")]
)
def test_serves_until_a_signal(number, code, message, served, capsys):
    timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
    timer.start()
    options = ["--port", "8000", "--max-pixels", "5000"]
    try:
        assert main(["demo", "runs/mine", *options]) == code
    except SystemExit as end:
        assert end.code == code
    timer.join()
    assert served == [("runs/mine", "127.0.0.1", 8000, None, 20, 5000, ()), "closed"]
    printed = capsys.readouterr()
    assert printed.out == "http://127.0.0.1:7860/  (Ctrl-C ends it)\n"
    assert printed.err == message


def test_refuses_a_port_that_is_none(capsys):
    assert main(["demo", "--port", "70000"]) == 2
    assert "--port: expected 0 to 65535, received 70000" in capsys.readouterr().err
