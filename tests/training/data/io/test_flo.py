import struct

import numpy as np
import pytest

from keras_dpn.ops.warp import INVALID_FLOW as INVALID_FLOW_OF_NETWORKS
from training.data.io.flo import INVALID_FLOW, check_flow, read_flo, write_flo


def test_flo_layout(tmp_path):
    flow = np.arange(12, dtype="float64").reshape(2, 3, 2)
    write_flo(tmp_path / "new" / "a.flo", flow)
    data = (tmp_path / "new" / "a.flo").read_bytes()
    assert data == b"PIEH" + struct.pack("<ii12f", 3, 2, *range(12))
    found = read_flo(tmp_path / "new" / "a.flo")
    assert found.dtype == "float32" and found.flags.writeable
    np.testing.assert_array_equal(found, flow)


def test_unknown_flow_is_invalid(tmp_path):
    path = tmp_path / "a.flo"
    path.write_bytes(b"PIEH" + struct.pack("<ii6f", 3, 1, 1, 2, 3, 1.666666752e9, -1e10, 5))
    np.testing.assert_array_equal(
        read_flo(path), [[[1, 2], [INVALID_FLOW] * 2, [INVALID_FLOW] * 2]]
    )
    write_flo(path, read_flo(path))
    assert np.frombuffer(path.read_bytes()[12:], "<f4").tolist() == [1, 2] + 4 * [1e10]
    np.testing.assert_array_equal(
        read_flo(path), [[[1, 2], [INVALID_FLOW] * 2, [INVALID_FLOW] * 2]]
    )


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


def test_networks_know_the_same_invalid_flow():
    assert INVALID_FLOW == INVALID_FLOW_OF_NETWORKS
