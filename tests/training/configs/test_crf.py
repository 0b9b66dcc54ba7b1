import pytest

from training.configs.crf import read_crf


def test_settings_are_read_as_they_are(tmp_path):
    path = tmp_path / "crf.json"
    path.write_text('{"bilateral": [4, 121, 5], "spatial": [3.0, 3.0]}')
    assert read_crf(path) == {"bilateral": [4, 121, 5], "spatial": [3.0, 3.0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"crf.json: expected JSON"),
        ("[4, 121, 5]", r"crf.json: expected a JSON object, received list"),
        ('{"w1": 4}', r"crf.json: unknown fields: w1; expected some of .*bilateral"),
        ('{"bilateral": [4, -121, 5]}', r"crf.json: .*bilateral"),
        ('{"bilateral": [4, 121]}', r"crf.json: .*bilateral"),
        ('{"num_iterations": "ten"}', r"crf.json: .*num_iterations"),
    ],
)
def test_errors_name_the_file_and_the_field(text, message, tmp_path):
    path = tmp_path / "crf.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_crf(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OSError, match="none.json"):
        read_crf(tmp_path / "none.json")
