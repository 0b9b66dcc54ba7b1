import os

import pytest

from keras_dpn.files import written_whole


def contents(folder):
    """What lies in a folder, by path below it; None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_text()
        for path in folder.rglob("*")
    }


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "deep" / "a.txt"
    with written_whole(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        assert partial.parent == path.parent and partial.suffix == ".txt"
        partial.write_text("whole")
    assert contents(path.parent) == {"a.txt": "whole"}


def test_a_file_is_replaced(tmp_path):
    (path := tmp_path / "a.txt").write_text("old")
    with written_whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert contents(tmp_path) == {"a.txt": "new"}


@pytest.mark.parametrize("is_there", [False, True])
def test_a_directory_appears_when_it_is_whole(tmp_path, is_there):
    path = tmp_path / "a"
    if is_there:
        path.mkdir()
    with written_whole(path) as partial:
        (partial / "deep").mkdir(parents=True)
        (partial / "deep" / "x").write_text("1")
        (partial / "y").write_text("2")
        assert path.exists() == is_there and not (is_there and any(path.iterdir()))
    assert contents(tmp_path) == {"a": None, "a/deep": None, "a/deep/x": "1", "a/y": "2"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b").mkdir()
    with pytest.raises(error), written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise error
    with pytest.raises(error), written_whole(tmp_path / "b") as partial:
        (partial / "deep").mkdir(parents=True)
        (partial / "deep" / "x").write_text("half")
        raise error
    with pytest.raises(error), written_whole(tmp_path / "c"):
        raise error  # before anything is written
    assert contents(tmp_path) == {"a.txt": "old", "b": None}


def test_a_directory_that_holds_something_is_left(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("old")
    with pytest.raises(OSError, match="a'"), written_whole(tmp_path / "a") as partial:
        partial.mkdir()
        (partial / "x").write_text("new")
    assert contents(tmp_path) == {"a": None, "a/x": "old"}


def test_a_writer_that_writes_nothing_is_no_success(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "a.txt"):
        pass
    assert contents(tmp_path) == {"a.txt": "old"}


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with written_whole(path) as first:
        first.write_text("first")
        with written_whole(path) as second:
            second.write_text("second")
        assert first != second
        assert path.read_text() == "second"
    assert contents(tmp_path) == {"a.txt": "first"}


def test_all_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps, fsync, replace = [], os.fsync, os.replace

    def record_fsync(descriptor):
        steps.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def record_replace(source, target):
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    with written_whole(tmp_path / "a") as partial:
        (partial / "deep").mkdir(parents=True)
        (partial / "deep" / "x").write_text("1")
        written = [partial, partial / "deep", partial / "deep" / "x"]
        nodes = {path.stat().st_ino for path in written}
    assert set(steps[:3]) == nodes
    assert steps[3:] == ["replace", tmp_path.stat().st_ino]
