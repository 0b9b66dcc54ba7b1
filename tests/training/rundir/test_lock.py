import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from training.rundir.lock import LOCK, FileLock, lock_directory

HOLD = """
import sys, time
from pathlib import Path
from training.rundir.lock import LOCK, FileLock
directory = Path(sys.argv[1])
with FileLock(directory / LOCK, directory):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_holds_the_lock(tmp_path, holder):
    directory = tmp_path / "run"
    with (
        pytest.raises(ValueError, match=f"run: in use by process {holder.pid} on") as error,
        lock_directory(directory),
    ):
        pass
    values = json.loads((directory / LOCK).read_text())
    assert (values["host"], values["process"]) == (socket.gethostname(), holder.pid)
    assert f"{values['host']} since {values['since']}. Wait" in str(error.value)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).is_file()
    with lock_directory(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == os.getpid()
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_a_lock_leaves_nothing(tmp_path):
    deep = tmp_path / "a" / "b"
    with lock_directory(deep):
        assert (deep / LOCK).is_file()
    assert not list(tmp_path.iterdir())
    with lock_directory(deep):
        (deep / "x").touch()
    assert [path.name for path in deep.iterdir()] == ["x"]


def test_a_lock_can_be_released_twice_and_taken_again(tmp_path):
    lock = FileLock(tmp_path / LOCK, tmp_path)
    with pytest.raises(ValueError, match=f"in use by process {os.getpid()} on"):
        FileLock(tmp_path / LOCK, tmp_path)
    lock.release()
    with FileLock(tmp_path / LOCK, tmp_path):
        lock.release()
        assert (tmp_path / LOCK).exists()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="needs O_NOFOLLOW")
def test_a_planted_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=LOCK):
        FileLock(tmp_path / LOCK, tmp_path)
    assert (tmp_path / "precious").read_text() == "kept"
