import pytest

from training.cli import guarded, run


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("`window`:\n  expected 1"), 2, "error: `window`: expected 1\n"),
        (OSError(28, "No space left"), 2, "error: [Errno 28] No space left\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_mistakes_become_one_line(error, code, text, capsys):
    def fail():
        raise error

    assert guarded(fail) == code
    assert capsys.readouterr().err == text


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)


def test_run_reads_arguments_and_exits():
    def main(count: int) -> int:
        return count

    for args, code in ((["--count", "3"], 3), (["--count", "0"], 0), (["--cuont", "3"], 2)):
        with pytest.raises(SystemExit) as stopped:
            run(main, args)
        assert stopped.value.code == code
