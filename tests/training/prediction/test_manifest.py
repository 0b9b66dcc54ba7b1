import os

import pytest

from training.prediction.manifest import MANIFEST, pending, write_manifest


def test_images_are_pending_without_every_result_since_the_manifest(tmp_path):
    out, sources = tmp_path, {name: tmp_path / name for name in "abc"}
    write_manifest(out, {"scales": [1.0]}, resume=False)
    since = (out / MANIFEST).stat().st_mtime
    for output, name, age in (("labels", "a", -9), ("labels", "b", 9), ("overlays", "a", -9)):
        path = out / output / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (since - age, since - age))
    assert list(pending(sources, out, ["labels"])) == ["b", "c"], "b is of an earlier run"
    assert list(pending(sources, out, ["labels", "overlays"])) == ["b", "c"]
    assert list(pending(sources, out, ["labels", "heads"])) == ["a", "b", "c"]


def test_heads_of_version_0_1_are_done(tmp_path):
    """They are in a folder of another name."""
    write_manifest(tmp_path, {}, resume=False)
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "a.png").touch()
    assert list(pending({"a": tmp_path, "b": tmp_path}, tmp_path, ["heads"])) == ["b"]


def test_manifest_is_kept_as_it_was(tmp_path):
    write_manifest(tmp_path, {"scales": [1.0], "horizontal_flip": True}, resume=True)
    before = (tmp_path / MANIFEST).stat().st_mtime_ns
    write_manifest(tmp_path, {"scales": [1.0], "horizontal_flip": True}, resume=True)
    assert (tmp_path / MANIFEST).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="predict.json: .* with another horizontal_flip"):
        write_manifest(tmp_path, {"scales": [1.0], "horizontal_flip": False}, resume=True)
    write_manifest(tmp_path, {"scales": [1.0], "horizontal_flip": False}, resume=False)
