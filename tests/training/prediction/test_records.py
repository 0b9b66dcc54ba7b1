import os

from training.prediction.records import changed_inputs, write_record
from training.prediction.remote import RemoteFile
from training.prediction.sources import Sources
from training.rundir.outputs import Outputs


def test_inputs_change_by_path_content_or_time(tmp_path):
    out, clip = tmp_path / "out", tmp_path / "clip"
    clip.mkdir()
    for name in ("a.png", "b.png", "clip/0.png"):
        (tmp_path / name).write_bytes(b"1")
    images = {"a": tmp_path / "a.png", "b": tmp_path / "b.png", "url": RemoteFile("s3://x/y.png")}
    sources = Sources({**images, "missing": tmp_path / "missing.png"}, {"a": clip})
    assert changed_inputs(out, sources) == [], "nothing is recorded yet"
    write_record(out, sources, Outputs(out, "predict"), keep=True)
    assert changed_inputs(out, sources) == []
    os.utime(images["a"], (1, 1))
    (clip / "1.png").write_bytes(b"1")
    assert changed_inputs(out, sources) == [("image", "a"), ("video", "a")]
    moved = Sources({"b": tmp_path / "elsewhere/b.png", "new": tmp_path / "a.png"})
    assert changed_inputs(out, moved) == [("image", "b")]
    write_record(out, moved, Outputs(out, "predict"), keep=True)
    assert changed_inputs(out, moved) == []
    assert changed_inputs(out, sources) == [("image", "a"), ("image", "b"), ("video", "a")]
    write_record(out, moved, Outputs(out, "predict"), keep=False)
    assert changed_inputs(out, sources) == [("image", "b")]
