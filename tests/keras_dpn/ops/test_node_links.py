import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.ops.warp import INVALID_FLOW
from tests.keras_dpn.support import (
    assert_close,
    direct_links,
    dot,
    finite_differences,
    gradients,
    jitted,
    random,
    to_numpy,
)

link_frames = jitted(ops.link_frames, static=("frames", "threshold"))
CASES = [(1, 1), (1, 2), (3, 1), (3, 2), (3, 4), (5, 2), (5, 3), (5, 6)]  # frames, T


def clip(time, size=(4, 5), batch=2, channels=2):
    """Frames, and flows that lead back by and large: those of a pan, with noise."""
    x = random(batch, time, *size, channels, low=0.5)
    flows = [
        np.array([dx, dy], "float32") + random(batch, time - 1, *size, 2, seed=seed, low=-0.5)
        for seed, dx, dy in ((1, 0.4, -0.8), (2, -0.9, 0.3))
    ]
    return x, flows


@pytest.mark.parametrize(("frames", "time"), CASES)
def test_equals_the_definition(frames, time):
    x, flows = clip(time)
    expected, expected_validity = direct_links(x, flows, frames, threshold=0.6)
    neighbors, validity = link_frames(x, flows, frames=frames, threshold=0.6)
    np.testing.assert_array_equal(to_numpy(validity), expected_validity)
    assert_close(neighbors, expected, atol=1e-5)
    if frames > 1 and time > 1:
        others = np.delete(expected_validity, frames // 2, axis=4)
        assert 0 < others.mean() < 0.8


@pytest.mark.parametrize(("frames", "time"), [(1, 2), (3, 1), (3, 4), (5, 3)])
def test_without_flow_links_the_same_place(frames, time):
    x, _ = clip(time)
    neighbors, validity = link_frames(x, frames=frames)
    expected, expected_validity = direct_links(x, frames=frames)
    np.testing.assert_array_equal(to_numpy(neighbors), expected.astype("float32"))
    np.testing.assert_array_equal(to_numpy(validity), expected_validity)
    no_motion = np.zeros((2, 2, time - 1, 4, 5, 2), "float32")
    again, validity_again = link_frames(x, [*no_motion], frames=frames)
    np.testing.assert_array_equal(to_numpy(again), to_numpy(neighbors))
    np.testing.assert_array_equal(to_numpy(validity_again), to_numpy(validity))


def moving_row():
    """Five frames of a ground (10 to 15) that an object of two pixels (1, 2) crosses."""
    ground = np.arange(10.0, 16)
    x, forward = np.tile(ground, (5, 1)), np.zeros((4, 6, 2))
    for t in range(5):
        x[t, t : t + 2] = 1, 2
        forward[t - 1 : t, t - 1 : t + 1, 0] = 1
    backward = np.zeros((4, 6, 2))
    for t in range(4):
        backward[t, t + 1 : t + 3, 0] = -1
    return x[None, :, None, :, None], [
        f[None, :, None].astype("float32") for f in (forward, backward)
    ]


def test_follows_an_object_over_five_frames():
    x, flows = moving_row()
    links = link_frames(x, flows, frames=5, threshold=0.5)
    neighbors, validity = (to_numpy(y)[0, 2, 0, :, :, 0] for y in links)
    # Columns of the middle frame: ground, ground, the object's two, ground, ground. What the object
    # covers in a frame has no link into it, nor beyond it.
    np.testing.assert_array_equal(
        neighbors.T,
        [
            [0, 0, 1, 2, 14, 15],
            [10, 0, 1, 2, 14, 15],
            [10, 11, 1, 2, 14, 15],
            [10, 11, 1, 2, 0, 15],
            [10, 11, 1, 2, 0, 0],
        ],
    )
    np.testing.assert_array_equal(validity, neighbors > 0)


def test_no_link_ends_a_chain():
    x, flows = clip(5, size=(3, 4))
    flows = [np.zeros_like(flow) for flow in flows]
    for flow in flows:
        flow[:, 2] = INVALID_FLOW  # between frames 2 and 3
    neighbors, validity = (to_numpy(y) for y in link_frames(x, flows, frames=5))
    linked = [[0, 0, 1, 1, 1], [0, 1, 1, 1, 0], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
    for t, k in np.ndindex(5, 5):
        assert np.all(validity[:, t, :, :, k] == linked[t][k])
        expected = x[:, t + k - 2] if linked[t][k] else 0
        np.testing.assert_array_equal(neighbors[:, t, :, :, k], expected)


def test_takes_integers_and_half_precision():
    x, flows = clip(2)
    labels = np.round(100 * x).astype("uint8")
    neighbors, _ = link_frames(labels, flows)
    assert keras.backend.standardize_dtype(neighbors.dtype) == "float32"
    assert_close(neighbors, direct_links(labels, flows)[0], atol=1e-3)
    half, validity = link_frames(keras.ops.cast(x, "float16"), flows)
    assert keras.backend.standardize_dtype(half.dtype) == "float16"
    assert keras.backend.standardize_dtype(validity.dtype) == "float32"
    assert_close(half, direct_links(x, flows)[0], rtol=2e-3)


@pytest.mark.parametrize(
    ("frames", "time"), [(3, 2), pytest.param(5, 3, marks=pytest.mark.tensorflow_only)]
)
def test_gradients_equal_finite_differences(frames, time):
    x, flows = clip(time, size=(2, 3), batch=1, channels=1)
    projection = random(1, time, 2, 3, frames, 1, seed=3, low=-1.0)
    settings = {"frames": frames, "threshold": 0.8}

    def projected(x, forward, backward):
        return dot(ops.link_frames(x, (forward, backward), **settings)[0], projection)

    def reference(x, forward, backward):
        return (direct_links(x, (forward, backward), **settings)[0] * projection).sum()

    expected = finite_differences(reference, x, *flows)
    for ours, theirs in zip(gradients(projected, x, *flows), expected, strict=True):
        assert np.abs(theirs).max() > 0.01
        assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("flow", [True, False])
def test_unknown_sizes(flow):
    import tensorflow as tf

    def run(x, *flows):
        return ops.link_frames(x, flows or None, frames=5)

    specs = [tf.TensorSpec([None] * 5), *[tf.TensorSpec([None] * 4 + [2])] * (2 if flow else 0)]
    traced = tf.function(run).get_concrete_function(*specs)
    for time, size in [(1, (2, 3)), (2, (1, 1)), (4, (3, 5))]:
        x, flows = clip(time, size=size)
        inputs = [tf.constant(tensor) for tensor in (x, *(flows if flow else []))]
        for ours, theirs in zip(traced(*inputs), run(*inputs), strict=True):
            assert_close(ours, to_numpy(theirs))


def zeros(*shape):
    return np.zeros(shape, "float32")


STEPS = zeros(1, 2, 4, 5, 2)


@pytest.mark.parametrize(
    ("x", "flows", "settings", "message"),
    [
        (zeros(3, 4, 5, 3), None, {}, r"`x`: expected frames \(B, T, H, W, C\), received .*\(3, 4"),
        (
            zeros(1, 3, 4, 5, 3),
            None,
            {"frames": 4},
            "`frames`: expected an odd number, .*received 4",
        ),
        (zeros(1, 3, 4, 5, 3), None, {"frames": 0}, "`frames`: expected an integer of at least 1"),
        (zeros(1, 4, 4, 5, 3), (STEPS, STEPS), {}, "`forward_flow`: .*the steps between frames"),
        (zeros(1, 3, 4, 5, 3), (STEPS, STEPS[:, :1]), {}, "`backward_flow`: .*the steps between"),
        (zeros(1, 3, 4, 6, 3), (STEPS, STEPS), {}, r"`forward_flow`: .*received \(1, 2, 4, 5, 2\)"),
        (zeros(1, 3, 4, 5, 3), (STEPS, STEPS + np.nan), {}, "`backward_flow`: .*received NaN"),
        (zeros(1, 3, 4, 5, 3), (STEPS, STEPS), {"threshold": -1}, "`threshold`: expected a number"),
    ],
)
def test_errors(x, flows, settings, message):
    with pytest.raises(ValueError, match=message):
        ops.link_frames(x, flows, **settings)
