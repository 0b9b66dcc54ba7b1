import errno
import os
import stat

import pytest

from keras_dpn.files import atomic_directory, atomic_file


def contents(folder):
    """Return what is in a folder, by path below it; None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_text()
        for path in folder.rglob("*")
    }


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "deep" / "a.weights.h5"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent and temporary.name.endswith(".weights.h5")
        temporary.write_text("complete")
    assert contents(path.parent) == {"a.weights.h5": "complete"}


@pytest.mark.parametrize("exists", [False, True])
def test_directory_appears_when_it_is_complete(tmp_path, exists):
    path = tmp_path / "a"
    if exists:
        path.mkdir()
    with atomic_directory(path) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "x").write_text("1")
        assert path.exists() == exists and not (exists and any(path.iterdir()))
    assert contents(tmp_path) == {"a": None, "a/deep": None, "a/deep/x": "1"}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_exception_leaves_what_was_there(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise error
    with pytest.raises(error), atomic_directory(tmp_path / "b") as temporary:
        (temporary / "x").write_text("half")
        raise error
    with pytest.raises(error), atomic_file(tmp_path / "c"):
        raise error  # before anything is written
    assert contents(tmp_path) == {"a.txt": "old"}


def test_the_longest_names_can_be_written(tmp_path):
    path = tmp_path / f"{'é' * 125}.png"  # of 254 bytes
    with atomic_file(path) as temporary:
        temporary.write_text("complete")
        assert temporary.suffix == ".png"
    assert path.read_text() == "complete"


def test_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "a.txt"):
        pass
    assert contents(tmp_path) == {}


def test_directory_is_not_overwritten(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("old")
    for path in (tmp_path / "a", tmp_path / "a" / "x"):
        with pytest.raises(FileExistsError, match="empty directory"), atomic_directory(path):
            pytest.fail("The block must not run.")
    assert contents(tmp_path) == {"a": None, "a/x": "old"}


def test_an_empty_file_can_be_written(tmp_path):
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_bytes(b"")
    assert contents(tmp_path) == {"a.txt": ""}
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask()


def umask():
    os.umask(mask := os.umask(0))
    return mask


def test_links_are_not_followed(tmp_path, monkeypatch):
    (precious := tmp_path / "precious").write_text("1")
    planted = tmp_path / "planted"
    planted.symlink_to(precious)
    with pytest.raises(OSError), atomic_file(tmp_path / "a") as temporary:
        temporary.unlink()
        temporary.symlink_to(precious)  # while it is written
    monkeypatch.setattr("keras_dpn.files._temporary_path", lambda path: planted)
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "a"):
        pytest.fail("The block must not run.")
    assert precious.read_text() == "1" and planted.is_symlink() and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Can't write data (file write failed: error message = 'No space left on device')"),
        RuntimeError("ResourceExhausted: x; No space left on device"),  # as TensorFlow says it
    ],
)
@pytest.mark.parametrize("atomic", [atomic_file, atomic_directory])
def test_a_full_disk_names_the_file_and_what_it_needs(tmp_path, error, atomic):
    (old := tmp_path / "old").write_text("1")
    for needed, said in ((None, "more than 4"), (123, "123")):
        message = rf"No space left on device: {said} bytes are needed, \d+ are free\. .*: '.*new'"
        with pytest.raises(OSError, match=message) as raised, atomic(tmp_path / "new", needed) as t:
            half = t if atomic is atomic_file else t / "x"
            half.write_text("half")
            raise error
        assert raised.value.errno == errno.ENOSPC and raised.value.filename.endswith("new")
    assert contents(tmp_path) == {"old": "1"} and old.exists()


def test_two_writers_do_not_collide(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_file(path) as first:
        first.write_text("first")
        with atomic_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert contents(tmp_path) == {"a.txt": "first"}


@pytest.mark.parametrize("atomic", [atomic_file, atomic_directory])
def test_everything_is_on_the_disk_before_the_rename(tmp_path, monkeypatch, atomic):
    steps, fsync, replace = [], os.fsync, os.replace

    def record_fsync(descriptor):
        steps.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def record_replace(source, target):
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    with atomic(tmp_path / "a") as temporary:
        if atomic is atomic_directory:
            write_in = temporary / "deep"
            write_in.mkdir()
            (write_in / "x").write_text("1")
            written = [write_in / "x", write_in, temporary]
        else:
            temporary.write_text("1")
            written = [temporary]
        inodes = {path.stat().st_ino for path in written}
    assert set(steps[: len(inodes)]) == inodes
    assert steps[len(inodes) :] == ["replace", tmp_path.stat().st_ino]
