import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.ops.local_conv import window_patches
from tests.keras_dpn.support import (
    assert_close,
    direct_linked_local_conv,
    direct_links,
    direct_local_conv,
    dot,
    finite_differences,
    gradients,
    jitted,
    offsets,
    random,
    to_numpy,
)

SETTINGS = "window", "kernel", "color_weight", "position_weight", "spacing"
local_conv = jitted(ops.local_conv, static=SETTINGS)
linked_local_conv = jitted(ops.linked_local_conv, static=SETTINGS)
link_frames = jitted(ops.link_frames, static=("frames",))
KERNELS = ["squared_distance", "gaussian"]
CASES = [
    ((7,), (3,)),
    ((5,), (12,)),  # larger than the image
    ((4, 5), (3, 2)),
    ((4, 3), (4, 3)),
    ((1, 1), (2, 5)),
    ((2, 3, 4), (2, 3, 2)),
]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("size", "window"), CASES)
@pytest.mark.parametrize(
    "position_weight", [pytest.param(0.0, marks=pytest.mark.tensorflow_only), 0.3]
)
def test_equals_the_definition(kernel, size, window, position_weight):
    p, features = random(2, *size, 3), random(2, *size, 2, seed=1)
    settings = {"kernel": kernel, "color_weight": 1.5, "position_weight": position_weight}
    out = local_conv(p, features, window, **settings)
    assert_close(out, direct_local_conv(p, features, window, **settings), rtol=2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("size", "window", "spacing"),
    [((7,), (3,), 2.5), ((4, 5), (3, 2), (0.5, 2)), ((3, 3, 4), (3, 2, 3), (3.0, 1.0, 0.7))],
)
def test_spacing_scales_positions(kernel, size, window, spacing):
    p, features = random(1, *size, 2), random(1, *size, 2, seed=1)
    settings = {"kernel": kernel, "position_weight": 0.3, "spacing": spacing}
    out = local_conv(p, features, window, **settings)
    assert_close(out, direct_local_conv(p, features, window, **settings), rtol=2e-5)


@pytest.mark.parametrize(("kernel", "color_weight"), [("squared_distance", 1), ("gaussian", 1e-4)])
def test_8_bit_colours(kernel, color_weight):
    p = random(1, 6, 7, 2)
    image = np.random.default_rng(1).integers(0, 256, (1, 6, 7, 3), "uint8")
    settings = {"kernel": kernel, "color_weight": color_weight}
    out = local_conv(p, image, 5, **settings)
    assert_close(out, direct_local_conv(p, image, (5, 5), **settings), rtol=2e-5)


def test_one_colour_has_no_distances():
    image = np.ones((2, 8, 9, 3)) * [[[[251, 3, 77]]], [[[0, 200, 1]]]]  # a colour an image
    assert not to_numpy(local_conv(random(2, 8, 9, 4), image, 5)).any()


def test_nearly_one_colour_keeps_its_digits():
    p, image = random(1, 9, 8, 2), 200 + random(1, 9, 8, 3, seed=1)
    assert_close(local_conv(p, image, 7), direct_local_conv(p, image, (7, 7)), rtol=2e-5)


def test_large_image():
    p, image = random(1, 1024, 2048, 1), random(1, 1024, 2048, 3, seed=1, high=255.0)
    out = to_numpy(local_conv(p, image, 50))
    for y, x in [(0, 0), (512, 1024), (1023, 2047), (130, 2000)]:
        there = (0, slice(max(0, y - 25), y + 25), slice(max(0, x - 25), x + 25))
        distances = np.square(image[there].astype("float64") - image[0, y, x]).sum(-1)
        expected = (distances * p[there][..., 0]).sum()
        np.testing.assert_allclose(out[0, y, x, 0], expected, rtol=2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("size", "window"), [((6,), (3,)), ((3, 4), (3, 2))])
def test_gradients_equal_finite_differences(kernel, size, window):
    p, features = random(1, *size, 2), random(1, *size, 2, seed=1)
    projection = random(1, *size, 2, seed=2, low=-1.0)

    def projected(p, features, color_weight, position_weight):
        settings = {"color_weight": color_weight, "position_weight": position_weight}
        out = ops.local_conv(p, features, window, kernel=kernel, **settings)
        return dot(out, projection)

    def reference(p, features, color_weight, position_weight):
        out = direct_local_conv(p, features, window, kernel, color_weight, position_weight)
        return (out * projection).sum()

    arguments = p, features, 0.7, 0.2
    expected = finite_differences(reference, *arguments)
    for ours, theirs in zip(gradients(projected, *arguments), expected, strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("kernel", KERNELS)
def test_unknown_sizes_and_their_gradients(kernel):
    import tensorflow as tf

    def run(p, features):
        with tf.GradientTape() as tape:
            tape.watch([p, features])
            out = ops.local_conv(p, features, (3, 4), kernel=kernel, position_weight=0.1)
        return out, *tape.gradient(out, [p, features])

    spec = tf.TensorSpec((None, None, None, 2))
    inputs = [tf.constant(random(2, 5, 6, 2, seed=seed)) for seed in (0, 1)]
    traced = tf.function(run).get_concrete_function(spec, spec)
    for ours, theirs in zip(traced(*inputs), run(*inputs), strict=True):
        assert_close(ours, to_numpy(theirs))


def test_window_patches():
    x = random(2, 4, 3, 2)
    patches = to_numpy(window_patches(x, (3, 2)))
    assert patches.shape == (2, 4, 3, 6, 2)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 0), (0, 0)))
    for i, (dy, dx) in enumerate(offsets((3, 2))):
        expected = padded[:, 1 + dy : 5 + dy, 1 + dx : 4 + dx]
        np.testing.assert_array_equal(patches[..., i, :], expected)


@pytest.mark.parametrize(
    ("p", "features", "settings", "message"),
    [
        ((2, 3), (2, 3), {}, r"expected shapes \(B, \*S, L\) and \(B, \*S, F\)"),
        ((1, 2, 2, 2, 2, 3), (1, 2, 2, 2, 2, 3), {}, "with one to three axes S"),
        ((1, 4, 3), (1, 4, 4, 3), {}, r"received \(1, 4, 3\) and \(1, 4, 4, 3\)"),
        ((1, 4, 4, 2), (1, 4, 5, 3), {}, "expected the same batch and spatial sizes"),
        ((2, 4, 4, 2), (1, 4, 4, 3), {}, "expected the same batch and spatial sizes"),
        ((1, 0, 4, 2), (1, 0, 4, 3), {}, "expected at least one position"),
        ((1, 4, 4, 0), (1, 4, 4, 3), {}, "and one label, received shape"),
        ((1, 4, 4, 2), (1, 4, 4, 3), {"window": 0}, "`window`: expected an integer of at least 1"),
        ((1, 4, 4, 2), (1, 4, 4, 3), {"window": (3,)}, "`window`: expected an integer or 2"),
        ((1, 4, 4, 2), (1, 4, 4, 3), {"kernel": "learned"}, r"`kernel`: .*received 'learned'"),
        ((1, 4, 4, 2), (1, 4, 4, 3), {"spacing": 0}, "`spacing`: expected a positive number or 2"),
        ((1, 4, 4, 2), (1, 4, 4, 3), {"spacing": (1, 1, 1)}, "`spacing`: .*one per axis, received"),
    ],
)
def test_errors(p, features, settings, message):
    with pytest.raises(ValueError, match=message):
        ops.local_conv(np.ones(p), np.ones(features), **{"window": 3, **settings})


# ------------------------------------------------------------------------- linked frames


def linked(*size, labels=3, channels=2, high=1.0):
    """Frames laid over each other, (B, T, H, W, K): some pixels have no neighbour."""
    validity = random(*size, 1, seed=3) > 0.2
    return random(*size, labels) * validity, random(*size, channels, seed=1, high=high) * validity


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("size", "window", "settings"),
    [
        ((2, 2, 4, 3), (3, 3, 2), {}),
        ((1, 2, 4, 3), (3, 4, 3), {"position_weight": 0.3}),
        ((1, 1, 3, 4), (5, 1, 9), {"position_weight": 0.2, "spacing": (2.0, 0.5, 1.5)}),
        ((1, 2, 3, 3), (1, 3, 3), {"position_weight": 0.2, "spacing": 1.5}),
    ],
)
def test_linked_equals_the_definition(kernel, size, window, settings):
    p, features = linked(*size, window[0])
    settings = {"kernel": kernel, "color_weight": 1.5, **settings}
    expected = direct_linked_local_conv(p, features, window, **settings)
    out = linked_local_conv(p, features, window, **settings)
    assert_close(out, expected, rtol=2e-5, atol=2e-6)


def test_linked_8_bit_colours():
    p, image = linked(1, 2, 4, 5, 3, channels=3, high=255.0)
    image = np.round(image).astype("uint8")
    expected = direct_linked_local_conv(p, image, (3, 3, 3))
    assert_close(linked_local_conv(p, image, (3, 3, 3)), expected, rtol=2e-5)


def test_linked_frames_of_one_colour_have_no_distances():
    p, validity = random(1, 2, 4, 5, 3, 2), random(1, 2, 4, 5, 3, 1, seed=3) > 0.2
    validity[..., 1, :] = True
    image = validity * np.array([251, 3, 77])
    assert not to_numpy(linked_local_conv(p * validity, image, (3, 3, 3))).any()
    image = validity * (200 + random(1, 2, 4, 5, 3, 3, seed=1))  # nearly one
    expected = direct_linked_local_conv(p * validity, image.astype("float32"), (3, 3, 3))
    out = linked_local_conv(p * validity, image.astype("float32"), (3, 3, 3))
    assert_close(out, expected, rtol=2e-5)


def test_linked_along_the_flow():
    """What the flow gathers enters the sum as a direct loop over linked pixels has it."""
    p, image = random(1, 3, 4, 5, 3), random(1, 3, 4, 5, 3, seed=1)
    forward = random(1, 2, 4, 5, 2, seed=2, low=-1.5, high=1.5)
    flows = forward, -forward
    expected = direct_linked_local_conv(
        direct_links(p, flows)[0], direct_links(image, flows)[0], (3, 3, 3), position_weight=0.1
    )
    neighbors = (link_frames(x, flows)[0] for x in (p, image))
    out = linked_local_conv(*neighbors, (3, 3, 3), position_weight=0.1)
    assert_close(out, expected, rtol=2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_linked_at_the_same_place_is_local_conv_over_time_too(kernel):
    p, features = random(2, 4, 3, 4, 2), random(2, 4, 3, 4, 3, seed=1)
    settings = {"kernel": kernel, "position_weight": 0.2, "spacing": (3.0, 1.0, 1.0)}
    neighbors = (link_frames(x, frames=3)[0] for x in (p, features))
    out = linked_local_conv(*neighbors, (3, 2, 3), **settings)
    expected = local_conv(p, features, (3, 2, 3), **settings)
    assert_close(out, to_numpy(expected), rtol=2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_linked_gradients_equal_finite_differences(kernel):
    p, features = linked(1, 1, 2, 3, 3, labels=2)
    projection = random(1, 1, 2, 3, 2, seed=2, low=-1.0)
    window, settings = (3, 3, 2), {"kernel": kernel, "spacing": (2.0, 1.0, 1.0)}

    def projected(p, features, color_weight, position_weight):
        weights = {"color_weight": color_weight, "position_weight": position_weight}
        out = ops.linked_local_conv(p, features, window, **settings, **weights)
        return dot(out, projection)

    def reference(p, features, color_weight, position_weight):
        weights = {"color_weight": color_weight, "position_weight": position_weight}
        return (
            direct_linked_local_conv(p, features, window, **settings, **weights) * projection
        ).sum()

    arguments = p, features, 0.7, 0.2
    expected = finite_differences(reference, *arguments)
    for ours, theirs in zip(gradients(projected, *arguments), expected, strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("kernel", KERNELS)
def test_linked_unknown_sizes(kernel):
    import tensorflow as tf

    def run(p, features):
        with tf.GradientTape() as tape:
            tape.watch([p, features])
            out = ops.linked_local_conv(p, features, (3, 3, 4), kernel=kernel, position_weight=0.1)
        return out, *tape.gradient(out, [p, features])

    specs = [tf.TensorSpec((None, None, None, None, 3, channels)) for channels in (3, 2)]
    traced = tf.function(run).get_concrete_function(*specs)
    inputs = [tf.constant(x) for x in linked(2, 2, 3, 5, 3)]
    for ours, theirs in zip(traced(*inputs), run(*inputs), strict=True):
        assert_close(ours, to_numpy(theirs), atol=1e-5)


@pytest.mark.parametrize(
    ("p", "features", "settings", "message"),
    [
        ((1, 2, 4, 4, 2), (1, 2, 4, 4, 3), {}, r"expected linked frames \(B, T, H, W, K, L\) and"),
        ((1, 2, 4, 4, 3, 2), (1, 2, 4, 4, 3), {}, r"received \(1, 2, 4, 4, 3, 2\) and \(1, 2, 4,"),
        (
            (1, 2, 4, 4, 5, 2),
            (1, 2, 4, 4, 5, 3),
            {},
            r"`window`: expected \(K, height, width\) for",
        ),
        ((1, 2, 4, 4, 3, 2), (1, 2, 4, 4, 1, 3), {}, r"K odd, received \(3, 3, 3\) for \(1, 2"),
        ((1, 2, 4, 4, 2, 2), (1, 2, 4, 4, 2, 3), {"window": (2, 3, 3)}, "K odd, received"),
        ((1, 2, 4, 4, 3, 2), (1, 2, 4, 5, 3, 3), {}, "the same batch, frames and spatial sizes"),
        (
            (1, 2, 4, 4, 3, 2),
            (1, 2, 4, 4, 3, 3),
            {"window": (3, 3)},
            "`window`: expected an integer",
        ),
        ((1, 2, 4, 4, 3, 2), (1, 2, 4, 4, 3, 3), {"kernel": "learned"}, "`kernel`: .*'learned'"),
        ((1, 2, 4, 4, 3, 2), (1, 2, 4, 4, 3, 3), {"spacing": (1, -1, 1)}, "`spacing`: expected"),
    ],
)
def test_linked_errors(p, features, settings, message):
    with pytest.raises(ValueError, match=message):
        ops.linked_local_conv(np.ones(p), np.ones(features), **{"window": 3, **settings})
