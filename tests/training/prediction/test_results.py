import json
from pathlib import Path

import numpy as np
import pytest

from training.prediction.remote import RemoteFile
from training.prediction.results import encode_manifest, image_result, read_manifest

ROWS = [
    {
        **{"path": "s3://bucket/a.jpg", "result": "out/labels/a.png", "height": 3, "width": 4},
        **{"frames": None, "fractions": {"sky": 0.25, "road": 0.75}, "confidence": 0.9},
    },
    {
        **{"path": "b.mp4", "result": "out/videos/b.mp4", "height": 3, "width": 4},
        **{"frames": 7, "fractions": None, "confidence": None},
    },
]


def test_fractions_are_those_of_all_pixels():
    """Pixels of no class, such as the ignore label, count in none."""
    result = image_result("a", np.array([[0, 0, 2], [255, 0, 2]], "uint8"), num_classes=3)
    assert (result.height, result.width) == (2, 3)
    assert result.fractions == [0.6, 0.0, 0.4]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_manifest_is_the_input_of_another_run(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"list{suffix}"
    path.write_bytes(encode_manifest(path, ROWS, ["sky", "road"]))
    assert read_manifest(path) == [RemoteFile("s3://bucket/a.jpg"), tmp_path / "b.mp4"]
    if suffix == ".jsonl":
        assert [json.loads(line) for line in path.read_text().splitlines()] == ROWS
    else:
        from pyarrow import parquet

        assert parquet.read_table(path).to_pylist() == ROWS


def test_a_manifest_without_rows_has_columns(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "none.parquet"
    path.write_bytes(encode_manifest(path, [], ["sky"]))
    assert parquet.read_table(path).column_names[:2] == ["path", "result"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"file": "a.png"}', "expected a manifest with the column 'path'"),
        ("a.png", "expected a manifest with the column 'path'"),
        ('{"path": "a.png"}\n{"path": null}', "expected a path in row 2, received None"),
    ],
)
def test_another_file_is_no_manifest(tmp_path, content, message):
    path = tmp_path / "list.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        read_manifest(path)
    with pytest.raises(ValueError, match="list.csv: expected .* ends in .jsonl or .parquet"):
        read_manifest(Path("list.csv"))
