import itertools
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from keras_dpn.io.flow import FlowSettings, dis_flow
from tests.keras_dpn.io.samples import moving_texture
from training.data.clips import flow as flow_module
from training.data.clips.flow import FlowCache


@pytest.fixture
def frames():
    return moving_texture()


@pytest.fixture
def counted(monkeypatch):
    """How often flow was computed."""
    calls = []

    def compute(*args):
        calls.append(args)
        return dis_flow(*args)

    monkeypatch.setattr(flow_module, "dis_flow", compute)
    return calls


def test_bad_frames(frames):
    with pytest.raises(ValueError, match=r"one size, received \(64, 84\) and \(63, 84\)"):
        FlowCache()(frames[0], frames[1][1:])
    with pytest.raises(ValueError, match="`second`.*float64"):
        FlowCache()(frames[0], frames[1] / 255)


def test_cache_computes_once_and_the_same(tmp_path, frames, counted):
    cache = FlowCache(tmp_path / "flow")
    assert not (tmp_path / "flow").exists()
    flow = cache(frames[0], frames[1])
    again = FlowCache(tmp_path / "flow")(frames[0], frames[1])
    assert len(counted) == 1 and again.dtype == "float32" and again.flags.c_contiguous
    np.testing.assert_array_equal(again, flow)
    np.testing.assert_array_equal(FlowCache()(frames[0], frames[1]), flow)
    assert np.abs(flow - dis_flow(frames[0], frames[1])).max() <= 1 / 128


@pytest.mark.parametrize(("largest", "error"), [(512, 1 / 128), (3000, 3000 / 65534)])
def test_rounding(tmp_path, frames, monkeypatch, largest, error):
    flow = np.random.default_rng(0).uniform(-1, 1, (64, 84, 2)).astype("float32")
    flow *= largest / np.abs(flow).max()
    monkeypatch.setattr(flow_module, "dis_flow", lambda *args: flow)
    cache = FlowCache(tmp_path)
    computed, found = cache(frames[0], frames[1]), cache(frames[0], frames[1])
    np.testing.assert_array_equal(computed, found)
    assert np.abs(found - flow).max() <= 1.01 * error


def test_cache_tells_pairs_settings_and_versions_apart(tmp_path, frames, counted, monkeypatch):
    cache = FlowCache(tmp_path)
    cache(frames[0], frames[1])
    cache(frames[1], frames[0])
    cache(frames[0], frames[2])
    cache(frames[0].reshape(84, 64, 3), frames[1].reshape(84, 64, 3))
    FlowCache(tmp_path, FlowSettings("fast"))(frames[0], frames[1])
    monkeypatch.setattr(cv2, "__version__", "0.0")
    cache(frames[0], frames[1])
    assert len(counted) == len(list(tmp_path.iterdir())) == 6


def test_a_damaged_entry_is_computed_anew(tmp_path, frames, counted):
    cache = FlowCache(tmp_path)
    flow = cache(frames[0], frames[1])
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    other = FlowCache(tmp_path / "other")
    other(frames[0][:40], frames[1][:40])
    (of_another_size,) = (path.read_bytes() for path in other.directory.iterdir())
    for bad in (b"", whole[:10], whole[:-1], bytes(flipped), b"\0" * len(whole), of_another_size):
        entry.write_bytes(bad)
        before = len(counted)
        np.testing.assert_array_equal(cache(frames[0], frames[1]), flow)
        assert len(counted) == before + 1 and entry.read_bytes() == whole


def test_threads_share_an_entry(tmp_path, frames):
    cache = FlowCache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        flows = list(pool.map(lambda _: cache(frames[0], frames[1]), range(16)))
    assert all(np.array_equal(flow, flows[0]) for flow in flows)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "flow").touch()
    with pytest.raises(ValueError, match="flow: expected a directory"):
        FlowCache(tmp_path / "flow")


def test_fill(tmp_path, frames, counted):
    pairs = [lambda a=a, b=b: (a, b) for a, b in itertools.pairwise(frames)]
    threads = cv2.getNumThreads()
    cache = FlowCache(tmp_path)
    cache.fill(pairs, workers=2)
    assert len(counted) == 4 and cv2.getNumThreads() == threads
    cache(frames[1], frames[0])
    cache.fill(pairs)
    assert len(counted) == 4
    FlowCache().fill(pairs)
    assert len(counted) == 4
    with pytest.raises(ValueError, match="`workers`"):
        cache.fill(pairs, workers=0)


def test_fill_keeps_what_was_finished(tmp_path, frames, counted):
    def stop():
        raise KeyboardInterrupt

    started = []

    def read():
        started.append(0)
        return frames[0], frames[1]

    with pytest.raises(KeyboardInterrupt):
        FlowCache(tmp_path).fill([read, stop, *[read] * 2000], workers=1)
    assert len(list(tmp_path.iterdir())) == 2 and len(started) < 2000
    FlowCache(tmp_path).fill([read])
    assert len(counted) == 2


def test_a_directory_that_cannot_be_written_costs_the_cache_alone(
    tmp_path, frames, counted, monkeypatch, messages
):
    """A run that others have published."""

    def refuse(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("training.data.clips.flow.write_bytes", refuse)
    cache = FlowCache(tmp_path)
    flow = cache(frames[0], frames[1])
    np.testing.assert_array_equal(cache(frames[0], frames[1]), flow)
    assert len(counted) == 2
    assert messages().count("Flow can't be kept, it is computed each time: ") == 1
