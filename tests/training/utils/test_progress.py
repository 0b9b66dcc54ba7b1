from training.utils.progress import progress


def test_yields_everything_and_is_silent_in_logs(capsys):
    assert list(progress(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
