import ast
import json
from pathlib import Path

import pytest

from training.utils import files
from training.utils.files import atomic_file, read_json, write_bytes, write_json


def test_writers_are_those_of_the_library():
    """Neither can import the other; tests/keras_dpn/test_files.py tests what they do."""
    root = Path(files.__file__).parents[2]
    ours, theirs = (
        {node.name: ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
        for tree in (
            ast.parse((root / name).read_text(encoding="utf-8"))
            for name in ("training/utils/files.py", "keras_dpn/files.py")
        )
    )
    assert theirs.keys() >= {"atomic_file", "atomic_directory"}
    assert {name: ours[name] for name in theirs} == theirs


def test_json_that_is_nested_too_deeply_is_an_error(tmp_path):
    (path := tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match=f"{path}: expected JSON"):
        read_json(path)


def test_bytes_replace_a_file(tmp_path):
    path = tmp_path / "deep" / "a"
    write_bytes(path, b"old")
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "deep" / "x.json", {"a": [1, None], "b": "é"})
    assert read_json(tmp_path / "deep" / "x.json") == {"a": [1, None], "b": "é"}
    assert (tmp_path / "deep" / "x.json").read_text().endswith("}\n")


def test_failed_json_leaves_what_was_there(tmp_path):
    write_json(tmp_path / "x.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert json.loads((tmp_path / "x.json").read_text()) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_error_names_the_file_that_is_no_json(tmp_path, content):
    write_bytes(tmp_path / "x.json", content)
    with pytest.raises(ValueError, match="x.json: expected JSON"):
        read_json(tmp_path / "x.json")
