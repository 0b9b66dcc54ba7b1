"""No command replaces a file that it didn't write, unless it is told to."""

import pytest

from training.cli import main

COMMANDS = {
    "submit": ("archive.zip", ["none", "--out", "OUT/archive.zip"]),
    "browse": ("sheet.png", ["scenes", "--out", "OUT/sheet.png"]),
    "receptive-field": ("b10.json", ["none", "none.png", "--layer", "b10", "--out", "OUT"]),
    "export": ("model.tflite", ["--model", "none", "--formats", "litert", "--out", "OUT"]),
    "generate": ("labels/a.png", ["scenes", "--num-images", "1", "--out", "OUT"]),
    "preset": ("notes.txt", ["none", "--description", "", "--out", "OUT"]),
}


def call(command, options, out):
    return main([command, *(option.replace("OUT", str(out)) for option in options)])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_of_others_is_named_and_kept(command, tmp_path, capsys):
    name, options = COMMANDS[command]
    (file := tmp_path / name).parent.mkdir(exist_ok=True)
    file.write_bytes(b"precious")
    assert call(command, options, tmp_path) == 2
    error = capsys.readouterr().err
    if command != "preset":  # which takes a new directory only
        assert f"{file}: would be replaced" in error and "--force" in error
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
    assert file.read_bytes() == b"precious"


@pytest.mark.parametrize("command", ["browse", "generate"])
def test_own_files_are_replaced_and_with_force_all(command, tmp_path):
    name, options = COMMANDS[command]
    if command == "browse":
        options = [*options, "--crop", "16", "16", "--rows", "1", "--columns", "1"]
    assert call(command, options, tmp_path) == call(command, options, tmp_path) == 0
    (file := tmp_path / name).write_bytes(b"precious")
    assert call(command, options, tmp_path) == 2
    assert file.read_bytes() == b"precious"
    assert call(command, [*options, "--force"], tmp_path) == 0
