import json

import pytest

from training import workdir


def test_json_round_trip(tmp_path):
    workdir.write_json(tmp_path / "deep" / "x.json", {"a": [1, None]})
    assert workdir.read_json(tmp_path / "deep" / "x.json") == {"a": [1, None]}


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.json"
    workdir.write_json(path, 1)

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        workdir.write_atomically(path, fail)
    assert json.loads(path.read_text()) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_file(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match="x.json: expected JSON"):
        workdir.read_json(tmp_path / "x.json")
    with pytest.raises(ValueError, match="model.keras: no such file"):
        workdir.load_model(tmp_path)
    with pytest.raises(ValueError, match="`stage`: expected one of"):
        workdir.load_model(tmp_path, "b12")
