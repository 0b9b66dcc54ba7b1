import os
import shutil

import pytest

from training.rundir.outputs import Outputs, replacing, writing
from training.utils.files import write_bytes


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch):
    """Where the records are."""
    directory = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(directory))
    return directory


def test_own_files_are_replaced_and_no_others(tmp_path):
    Outputs(tmp_path, "predict").write_bytes(tmp_path / "labels" / "own.png", b"1")
    write_bytes(foreign := tmp_path / "labels" / "foreign.png", b"precious")
    again = Outputs(tmp_path, "predict")
    again.write_bytes(tmp_path / "labels" / "own.png", b"2")
    again.write_bytes(tmp_path / "labels" / "own.png", b"3")
    with pytest.raises(ValueError, match="foreign.png: would be replaced, .* give --force"):
        again.write_bytes(foreign, b"2")
    assert foreign.read_bytes() == b"precious"
    with pytest.raises(ValueError, match=r"foreign.png \(and 1 more\)"):
        again.check([tmp_path / "missing", foreign, foreign])
    Outputs(tmp_path, "predict", force=True).write_bytes(foreign, b"2")
    Outputs(tmp_path, "predict").write_bytes(foreign, b"3")
    assert foreign.read_bytes() == b"3"


def test_a_file_that_was_changed_by_hand_is_kept(tmp_path):
    Outputs(tmp_path, "predict").write_bytes(path := tmp_path / "a.png", b"12")
    path.write_bytes(b"34")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match=r"a.png: would be replaced"):
        Outputs(tmp_path, "predict").check([path])


def test_files_of_another_command_are_kept(tmp_path):
    Outputs(tmp_path, "generate").write_bytes(path := tmp_path / "a.png", b"1")
    with pytest.raises(ValueError, match=r"a.png: would be replaced"):
        Outputs(tmp_path, "predict").check([path])


def test_an_equal_copy_is_an_own_file(tmp_path):
    Outputs(tmp_path, "predict").write_bytes(path := tmp_path / "a.png", b"1")
    shutil.copyfile(path, tmp_path / "copy")
    path.unlink()
    shutil.copyfile(tmp_path / "copy", path)
    os.utime(path, ns=(1, 1))
    Outputs(tmp_path, "predict").check([path])


def test_links_and_directories_are_not_own(tmp_path):
    Outputs(tmp_path, "predict").write_bytes(path := tmp_path / "a.png", b"1")
    path.rename(tmp_path / "b.png")
    path.symlink_to(tmp_path / "b.png")
    (tmp_path / "c.png").mkdir()
    (tmp_path / "d.png").symlink_to(tmp_path / "nowhere")
    for name in "acd":
        with pytest.raises(ValueError, match=f"{name}.png: would be replaced"):
            Outputs(tmp_path, "predict").check([tmp_path / f"{name}.png"])


def test_content_can_say_whose_a_file_is(tmp_path):
    (path := tmp_path / "a.html").write_text("ours")
    Outputs(tmp_path, "report", recognizes=lambda p: p.read_text() == "ours").check([path])


def test_a_process_that_is_killed_after_writing_can_replace_the_file(tmp_path, monkeypatch):
    """The record is there before the file has its name."""
    outputs, path = Outputs(tmp_path, "predict"), tmp_path / "a.png"
    replace, seen = os.replace, []

    def spy(source, target):
        seen.append(Outputs(tmp_path, "predict")._known)
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    outputs.write_bytes(path, b"1")
    assert list(seen[0]) == ["a.png"]


def test_a_damaged_record_is_read_up_to_the_damage(tmp_path, state):
    Outputs(tmp_path, "predict").write_bytes(path := tmp_path / "a.png", b"1")
    [record] = state.rglob("*.jsonl")
    with record.open("a") as stream:
        stream.write('["b.png", 3')
    Outputs(tmp_path, "predict").check([path])


def test_a_user_without_a_home_can_write(tmp_path, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("pathlib.Path.home", home)
    Outputs(tmp_path, "predict").write_bytes(tmp_path / "a.png", b"1")
    assert (tmp_path / "a.png").read_bytes() == b"1"


def test_no_place_for_records_is_no_error(tmp_path, state):
    (state / "keras-dpn").write_text("in the way")
    Outputs(tmp_path, "predict").write_bytes(path := tmp_path / "a.png", b"1")
    with pytest.raises(ValueError, match=r"a.png: would be replaced"):
        Outputs(tmp_path, "predict").check([path])


def test_files_of_a_block_are_recorded(tmp_path):
    a, b = tmp_path / "a.json", tmp_path / "a.npz"
    with replacing(a, b, command="evaluate"):
        write_bytes(a, b"1")
    with pytest.raises(KeyboardInterrupt), replacing(a, b, command="evaluate"):
        write_bytes(a, b"2")
        raise KeyboardInterrupt
    with replacing(a, b, command="evaluate"), pytest.raises(ValueError, match=r"in use by"):
        replacing(a, b, command="evaluate").__enter__()
    write_bytes(b, b"precious")
    with pytest.raises(ValueError, match=r"a.npz: would"), replacing(a, b, command="evaluate"):
        write_bytes(b, b"1")
    assert b.read_bytes() == b"precious"
    with pytest.raises(ValueError, match="failed"), replacing(b, command="x", force=True):
        raise ValueError("failed")
    with pytest.raises(ValueError, match=r"a.npz: would"), replacing(b, command="x"):
        pass


def test_one_program_at_a_time_writes_into_a_directory(tmp_path):
    with (
        writing(tmp_path / "out", "export"),
        pytest.raises(ValueError, match="out: in use by process"),
        writing(tmp_path / "out", "export"),
    ):
        pass


def test_own_files_alone_are_removed(tmp_path):
    Outputs(tmp_path, "predict").write_bytes(own := tmp_path / "own.png", b"1")
    write_bytes(foreign := tmp_path / "foreign.png", b"precious")
    Outputs(tmp_path, "predict").remove([own, foreign, tmp_path / "missing.png"])
    assert not own.exists() and foreign.exists()
