import itertools
import struct
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from keras_dpn.io.flow import FlowSettings, dis_flow
from keras_dpn.ops.warp import NO_LINK as THEIR_NO_LINK
from tests.keras_dpn.io.samples import moving_texture
from training.data.clips import flow as flow_module
from training.data.clips.flow import NO_LINK, FlowCache, check_flow, read_flo, write_flo


@pytest.fixture
def film():
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


def test_bad_frames(film):
    with pytest.raises(ValueError, match=r"one size, received \(64, 84\) and \(63, 84\)"):
        FlowCache()(film[0], film[1][1:])
    with pytest.raises(ValueError, match="`second`.*float64"):
        FlowCache()(film[0], film[1] / 255)


def test_flo_layout(tmp_path):
    flow = np.arange(12, dtype="float64").reshape(2, 3, 2)
    write_flo(tmp_path / "new" / "a.flo", flow)
    data = (tmp_path / "new" / "a.flo").read_bytes()
    assert data == b"PIEH" + struct.pack("<ii12f", 3, 2, *range(12))
    found = read_flo(tmp_path / "new" / "a.flo")
    assert found.dtype == "float32" and found.flags.writeable
    np.testing.assert_array_equal(found, flow)


def test_unknown_flow_has_no_link(tmp_path):
    path = tmp_path / "a.flo"
    path.write_bytes(b"PIEH" + struct.pack("<ii6f", 3, 1, 1, 2, 3, 1.666666752e9, -1e10, 5))
    np.testing.assert_array_equal(read_flo(path), [[[1, 2], [NO_LINK] * 2, [NO_LINK] * 2]])
    write_flo(path, read_flo(path))
    assert np.frombuffer(path.read_bytes()[12:], "<f4").tolist() == [1, 2] + 4 * [1e10]
    np.testing.assert_array_equal(read_flo(path), [[[1, 2], [NO_LINK] * 2, [NO_LINK] * 2]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "no such file"),
        (b"", "202021.25"),
        (b"P6\n4 4 255 and more", "202021.25"),
        (b"PIEH" + struct.pack("<ii3f", 2, 1, 0, 0, 0), "2x1 pixels, 28 bytes, .* has 24"),
        (b"PIEH" + struct.pack("<ii3f", 1, 1, 0, 0, 0), "1x1 pixels, 20 bytes, .* has 24"),
        (b"PIEH" + struct.pack("<ii", 0, 7), "0x7"),
        (b"PIEH" + struct.pack("<ii2f", 1, 1, 0, np.nan), "received nan at x=0, y=0"),
    ],
)
def test_broken_flo(tmp_path, data, message):
    path = tmp_path / "a.flo"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ValueError, match=f"a.flo: .*{message}"):
        read_flo(path)


def test_nothing_half_written(tmp_path, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_flo(tmp_path / "a.flo", np.zeros((2, 3, 2)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (np.zeros((2, 4, 6)), r"\(4, 6, 2\), received \(2, 4, 6\); the channels come last"),
        (np.zeros((6, 4, 2)), r"\(4, 6, 2\), received \(6, 4, 2\)\.$"),
        (np.zeros((4, 6, 3)), r"received \(4, 6, 3\)\.$"),
        (np.zeros(()), r"received \(\)"),
        (np.zeros((4, 6, 2), "int16"), "expected floats, in pixels, received int16"),
        (np.full((4, 6, 2), np.nan), "received nan at x=0, y=0; .* 1e\\+06"),
        (np.full((4, 6, 2), -np.inf), "received -inf"),
        (np.full((4, 6, 2), 1e300), "received 1e\\+300"),
    ],
)
def test_check_flow(flow, message):
    with pytest.raises(ValueError, match=f"^north.npy: .*{message}"):
        check_flow(flow, (4, 6), "north.npy")


def test_check_flow_of_any_size():
    assert check_flow(np.ones((4, 6, 2), "float16"), None, "x").dtype == "float32"
    with pytest.raises(ValueError, match=r"\(H, W, 2\), received \(2, 4, 6\); the channels"):
        write_flo("a.flo", np.zeros((2, 4, 6)))


def test_cache_computes_once_and_the_same(tmp_path, film, counted):
    cache = FlowCache(tmp_path / "flow")
    assert not (tmp_path / "flow").exists()
    flow = cache(film[0], film[1])
    again = FlowCache(tmp_path / "flow")(film[0], film[1])
    assert len(counted) == 1 and again.dtype == "float32" and again.flags.c_contiguous
    np.testing.assert_array_equal(again, flow)
    np.testing.assert_array_equal(FlowCache()(film[0], film[1]), flow)
    assert np.abs(flow - dis_flow(film[0], film[1])).max() <= 1 / 128


@pytest.mark.parametrize(("largest", "error"), [(512, 1 / 128), (3000, 3000 / 65534)])
def test_rounding(tmp_path, film, monkeypatch, largest, error):
    flow = np.random.default_rng(0).uniform(-1, 1, (64, 84, 2)).astype("float32")
    flow *= largest / np.abs(flow).max()
    monkeypatch.setattr(flow_module, "dis_flow", lambda *args: flow)
    cache = FlowCache(tmp_path)
    computed, found = cache(film[0], film[1]), cache(film[0], film[1])
    np.testing.assert_array_equal(computed, found)
    assert np.abs(found - flow).max() <= 1.01 * error


def test_cache_tells_pairs_settings_and_versions_apart(tmp_path, film, counted, monkeypatch):
    cache = FlowCache(tmp_path)
    cache(film[0], film[1])
    cache(film[1], film[0])
    cache(film[0], film[2])
    cache(film[0].reshape(84, 64, 3), film[1].reshape(84, 64, 3))
    FlowCache(tmp_path, FlowSettings("fast"))(film[0], film[1])
    monkeypatch.setattr(cv2, "__version__", "0.0")
    cache(film[0], film[1])
    assert len(counted) == len(list(tmp_path.iterdir())) == 6


def test_a_damaged_entry_is_computed_anew(tmp_path, film, counted):
    cache = FlowCache(tmp_path)
    flow = cache(film[0], film[1])
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    other = FlowCache(tmp_path / "other")
    other(film[0][:40], film[1][:40])
    (of_another_size,) = (path.read_bytes() for path in other.directory.iterdir())
    for bad in (b"", whole[:10], whole[:-1], bytes(flipped), b"\0" * len(whole), of_another_size):
        entry.write_bytes(bad)
        before = len(counted)
        np.testing.assert_array_equal(cache(film[0], film[1]), flow)
        assert len(counted) == before + 1 and entry.read_bytes() == whole


def test_threads_share_an_entry(tmp_path, film):
    cache = FlowCache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        flows = list(pool.map(lambda _: cache(film[0], film[1]), range(16)))
    assert all(np.array_equal(flow, flows[0]) for flow in flows)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "flow").touch()
    with pytest.raises(ValueError, match="flow: expected a directory"):
        FlowCache(tmp_path / "flow")


def test_fill(tmp_path, film, counted):
    pairs = [lambda a=a, b=b: (a, b) for a, b in itertools.pairwise(film)]
    threads = cv2.getNumThreads()
    cache = FlowCache(tmp_path)
    cache.fill(pairs, workers=2)
    assert len(counted) == 4 and cv2.getNumThreads() == threads
    cache(film[1], film[0])
    cache.fill(pairs)
    assert len(counted) == 4
    FlowCache().fill(pairs)
    assert len(counted) == 4
    with pytest.raises(ValueError, match="`workers`"):
        cache.fill(pairs, workers=0)


def test_fill_keeps_what_was_finished(tmp_path, film, counted):
    def stop():
        raise KeyboardInterrupt

    started = []

    def read():
        started.append(0)
        return film[0], film[1]

    with pytest.raises(KeyboardInterrupt):
        FlowCache(tmp_path).fill([read, stop, *[read] * 2000], workers=1)
    assert len(list(tmp_path.iterdir())) == 2 and len(started) < 2000
    FlowCache(tmp_path).fill([read])
    assert len(counted) == 2


def test_the_network_knows_the_same_missing_links():
    assert NO_LINK == THEIR_NO_LINK
