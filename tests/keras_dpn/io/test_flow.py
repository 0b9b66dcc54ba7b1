import numpy as np
import pytest

from keras_dpn.io.flow import FlowSettings, dis_flow
from tests.keras_dpn.io.samples import moving_texture


@pytest.fixture
def frames():
    return moving_texture()


@pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])
def test_direction_and_channel_order(frames, preset):
    inner = dis_flow(frames[0], frames[1], FlowSettings(preset))[16:-16, 16:-16]
    np.testing.assert_allclose(np.median(inner, axis=(0, 1)), [3, -1], atol=0.2)


@pytest.mark.parametrize("size", [(1, 1), (12, 100), (8, 200), (20, 500), (31, 33), (500, 5)])
def test_thin_frames(size):
    # OpenCV's own DIS ends the process on some of these.
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, *size, 3), "uint8")
    for preset in ("ultrafast", "fast", "medium"):
        flow = dis_flow(first, second, FlowSettings(preset))
        assert flow.shape == (*size, 2) and np.isfinite(flow).all()


def test_history_and_memory_layout_do_not_matter(frames):
    first, second = (np.kron(frame, np.ones((3, 3, 1), "uint8")) for frame in frames[:2])
    fresh = dis_flow(first, second)
    dis_flow(frames[0][:20, :20], frames[1][:20, :20])
    np.testing.assert_array_equal(dis_flow(first, second), fresh)
    mirrored = np.asfortranarray(first)[:, ::-1], np.asfortranarray(second)[:, ::-1]
    copies = (np.ascontiguousarray(frame) for frame in mirrored)
    np.testing.assert_array_equal(dis_flow(*mirrored), dis_flow(*copies))


def test_bad_frames(frames):
    with pytest.raises(ValueError, match=r"one size, received \(64, 84\) and \(63, 84\)"):
        dis_flow(frames[0], frames[1][1:])
    with pytest.raises(ValueError, match="`second`.*float64"):
        dis_flow(frames[0], frames[1] / 255)
    with pytest.raises(ValueError, match=r"`first`.*\(64, 84\)"):
        dis_flow(frames[0][..., 0], frames[1])


def test_unknown_preset():
    with pytest.raises(ValueError, match="'medium'.*received 'slow'"):
        FlowSettings("slow")
