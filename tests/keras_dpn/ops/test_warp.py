import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.ops.warp import INVALID_FLOW, check_flow
from tests.keras_dpn.support import (
    TRACED,
    assert_close,
    direct_warp,
    dot,
    finite_differences,
    gradients,
    is_link,
    jitted,
    random,
    to_numpy,
)

BOUNDARIES = ["zero", "clamp"]
warp = jitted(ops.warp, static=("boundary", "interpolation"))
flow_validity = jitted(ops.flow_validity, static=("threshold",))


def pair(*size, leading=(), channels=3, reach=4.0):
    """An image and a flow, part of which leads out of it."""
    flow = random(*leading, *size, 2, seed=1, low=-reach, high=reach)
    return random(*leading, *size, channels), flow


def looked_up(image, targets, **settings):
    """What stands at each of some places (x, y) of an image (H, W, C): values of its corner."""
    flow = np.zeros((len(targets), *np.shape(image)[:2], 2), "float32")
    flow[:, 0, 0] = targets
    images = np.repeat(np.asarray(image)[None], len(targets), axis=0)
    return to_numpy(warp(images, flow, **settings))[:, 0, 0]


def in_a_graph(function, *inputs):
    """What a function gives when its numbers are not known while it is called."""
    placeholders = [keras.Input(x.shape[1:], dtype=x.dtype) for x in map(np.asarray, inputs)]
    outputs = keras.layers.Lambda(lambda x: function(*x))(placeholders)
    return keras.Model(placeholders, outputs).predict_on_batch(list(inputs))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_equals_the_definition(boundary, leading):
    image, flow = pair(5, 6, leading=leading)
    assert_close(warp(image, flow, boundary), direct_warp(image, flow, boundary), atol=1e-5)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 1)])
def test_thin_images(boundary, size):
    image, flow = pair(*size, leading=(2,), reach=1.5)
    assert_close(warp(image, flow, boundary), direct_warp(image, flow, boundary), atol=1e-5)


def test_zero_flow_gives_the_image():
    image = random(2, 3, 4, 5)
    for boundary in BOUNDARIES:
        for interpolation in ("bilinear", "nearest"):
            out = warp(image, np.zeros((2, 3, 4, 2), "float32"), boundary, interpolation)
            np.testing.assert_array_equal(to_numpy(out), image)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_equals_opencv(boundary, interpolation):
    cv2 = pytest.importorskip("cv2")
    image, flow = pair(13, 17, channels=4, reach=9.0)
    flow = np.round(flow * 32) / 32  # the positions that every version of OpenCV knows
    flow = np.where(flow % 1 == 0.5, 0, flow).astype("float32")
    flow[3, 4:7] = INVALID_FLOW, -INVALID_FLOW
    rows, columns = np.mgrid[:13, :17].astype("float32")
    expected = cv2.remap(
        image,
        columns + flow[..., 0],
        rows + flow[..., 1],
        {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}[interpolation],
        borderMode={"zero": cv2.BORDER_CONSTANT, "clamp": cv2.BORDER_REPLICATE}[boundary],
        borderValue=0,
    )
    assert_close(warp(image, flow, boundary, interpolation), expected, rtol=0, atol=1e-4)


def dense_image_warp(image, flow):
    """tensorflow_addons.image.dense_image_warp of one image: where it looks and how it mixes."""
    image, flow = image.astype("float64"), flow.astype("float64")
    height, width = image.shape[:2]
    queries = np.stack(np.mgrid[:height, :width], axis=-1) - flow  # (row, column)
    floors = np.clip(np.floor(queries), 0, (height - 2, width - 2)).astype(int)
    vertical, horizontal = np.moveaxis(np.clip(queries - floors, 0, 1), -1, 0)[..., None]
    rows, columns = np.moveaxis(floors, -1, 0)
    left, right = image[rows, columns], image[rows, columns + 1]
    top = left + horizontal * (right - left)
    left, right = image[rows + 1, columns], image[rows + 1, columns + 1]
    bottom = left + horizontal * (right - left)
    return top + vertical * (bottom - top)


def test_equals_tensorflow_addons_under_the_change_of_convention():
    image, theirs = pair(6, 5)
    expected = dense_image_warp(image, theirs)
    assert_close(warp(image, -theirs[..., ::-1], "clamp"), expected, atol=1e-5)


ROW = [[[1.0], [2.0], [3.0]]]
COLUMNS = [0, 1.75, 2, -0.25, 2.25, -1, 3, INVALID_FLOW, -INVALID_FLOW, np.inf, -np.inf]


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ("zero", [1, 2.75, 3, 0.75, 2.25, 0, 0, 0, 0, 0, 0]),
        ("clamp", [1, 2.75, 3, 1, 3, 1, 3, 3, 1, 3, 1]),
    ],
)
def test_on_and_beyond_the_borders(boundary, expected):
    targets = [(x, 0) for x in COLUMNS]
    assert looked_up(ROW, targets, boundary=boundary).ravel().tolist() == expected
    column, targets = np.swapaxes(ROW, 0, 1), [(0, y) for y in COLUMNS]
    assert looked_up(column, targets, boundary=boundary).ravel().tolist() == expected


@pytest.mark.parametrize(("boundary", "outside"), [("zero", (0, 0)), ("clamp", (1, 3))])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_nearest_takes_pixels_as_they_are(boundary, outside, dtype):
    places = [0.4, 0.5, 0.6, 1.5, 2.5, -0.5, -0.6, 2.6, INVALID_FLOW]
    expected = [1, 1, 2, 3, 3, 1, outside[0], outside[1], outside[1]]
    image = np.array(ROW).astype(dtype)
    settings = {"boundary": boundary, "interpolation": "nearest"}
    out = looked_up(image, [(x, 0) for x in places], **settings)
    assert out.dtype == dtype
    assert out.ravel().tolist() == expected


def test_nearest_keeps_large_integers():
    labels = np.array([[[2**30 + 1], [7]]], "int32")
    out = looked_up(labels, [(0.2, 0), (1, 0)], interpolation="nearest")
    assert out.ravel().tolist() == [2**30 + 1, 7]


def test_bilinear_of_integers_is_float32():
    out = looked_up(np.array([[[0], [255]]], "uint8"), [(0.5, 0), (1, 0)])
    assert out.dtype == np.float32
    assert out.ravel().tolist() == [127.5, 255]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_half_precision_loses_no_position(dtype, interpolation):
    # Neither dtype has numbers for single pixels up there.
    image = keras.ops.cast(random(1, 3000, 2), dtype)
    flow = keras.ops.cast(np.tile([-1.5, 0.0], (1, 3000, 1)), dtype)
    out = warp(image, flow, interpolation=interpolation)
    assert keras.backend.standardize_dtype(out.dtype) == dtype
    image, out = (to_numpy(keras.ops.cast(x, "float32")) for x in (image, out))
    expected = (image[:, :-2] + image[:, 1:-1]) / 2
    if interpolation == "nearest":  # half-way: the even one
        expected = np.where(np.arange(2998)[:, None] % 2, image[:, 1:-1], image[:, :-2])
    rounding = 2.0**-11 if dtype == "float16" else 2.0**-8
    np.testing.assert_allclose(out[:, 2:], expected, rtol=rounding, atol=0)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradients_equal_finite_differences(boundary):
    image, flow = pair(3, 4, leading=(2,), channels=2, reach=2.0)
    projection = random(2, 3, 4, 2, seed=2, low=-1.0)

    def projected(image, flow):
        return dot(ops.warp(image, flow, boundary), projection)

    def reference(image, flow):
        return (direct_warp(image, flow, boundary) * projection).sum()

    expected = finite_differences(reference, image, flow)
    for ours, theirs in zip(gradients(projected, image, flow), expected, strict=True):
        assert np.abs(theirs).max() > 0.1
        assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_nearest_has_gradients_for_the_image():
    image, flow = pair(3, 4, leading=(1,))
    flow[0, 0, 0] = flow[0, 1, 1] = 0, 0

    def projected(image):
        return keras.ops.sum(ops.warp(image, flow, interpolation="nearest"))

    rows, columns = (np.mgrid[:3, :4] + np.moveaxis(flow[0], -1, 0)[::-1]).round().astype(int)
    inside = (rows >= 0) & (rows < 3) & (columns >= 0) & (columns < 4)
    expected = np.zeros((1, 3, 4, 3))
    np.add.at(expected[0], (rows[inside], columns[inside]), 1)
    assert_close(gradients(projected, image)[0], expected)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("leading", [1, 2])
def test_unknown_sizes_and_their_gradients(leading):
    import tensorflow as tf

    def run(image, flow):
        with tf.GradientTape() as tape:
            tape.watch([image, flow])
            out = ops.warp(image, flow)
        return out, *tape.gradient(out, [image, flow])

    specs = (tf.TensorSpec([None] * (leading + 3)), tf.TensorSpec([None] * (leading + 2) + [2]))
    traced = tf.function(run).get_concrete_function(*specs)
    for size in [(1, 1), (4, 7)]:
        inputs = [tf.constant(x) for x in pair(*size, leading=(2, 3)[:leading])]
        for ours, theirs in zip(traced(*inputs), run(*inputs), strict=True):
            assert_close(ours, to_numpy(theirs))


@TRACED
def test_nan_in_a_graph_leads_out():
    image, flow = pair(3, 4, leading=(1,), reach=0.5)
    expected = direct_warp(image, flow)
    flow[0, 1, 2, 0] = flow[0, 2, 1, 1] = np.nan
    expected[0, 1, 2] = expected[0, 2, 1] = 0
    assert_close(in_a_graph(ops.warp, image, flow), expected, atol=1e-5)
    validity = in_a_graph(ops.flow_validity, flow, np.zeros_like(flow))
    assert validity[0, 1, 2] == validity[0, 2, 1] == 0
    assert validity.sum() > 3


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("image", "flow", "message"),
    [
        (ones(4, 5, 3), ones(4, 4, 2), r"of the sizes of `image`, received \(4, 4, 2\) for \(4, 5"),
        (ones(2, 4, 5, 3), ones(1, 4, 5, 2), r"of the sizes of `image`, received \(1, 4, 5, 2\)"),
        (ones(2, 4, 5, 3), ones(4, 5, 2), r"received \(4, 5, 2\) for \(2, 4, 5, 3\)"),
        (ones(4, 5, 3), ones(4, 5, 3), r"expected a flow \(\.\.\., height, width, 2\), received"),
        (ones(4, 5, 3), ones(2, 4, 5), r"received shape \(2, 4, 5\)\. Put the two channels \(dx"),
        (ones(4, 5), ones(4, 5), r"expected a flow .*received shape \(4, 5\)\."),
        (ones(4, 5, 3), ones(4, 5, 2, dtype="int32"), "of floats, in pixels, received int32"),
        (ones(4, 5, 3), np.nan * ones(4, 5, 2), "of numbers, received NaN"),
        (ones(4, 5, 3), np.nan * ones(4, 5, 2, dtype="float16"), "of numbers, received NaN"),
    ],
)
def test_errors(image, flow, message):
    with pytest.raises(ValueError, match=f"`flow`: .*{message}"):
        ops.warp(image, flow)


def test_refuses_nan_of_bfloat16():
    flow = keras.ops.cast(np.nan * ones(4, 5, 2), "bfloat16")
    with pytest.raises(ValueError, match="of numbers, received NaN"):
        ops.warp(ones(4, 5, 3), flow)


def test_refuses_unknown_settings():
    with pytest.raises(ValueError, match="`boundary`: expected one of .*received 'wrap'"):
        ops.warp(*pair(3, 3), boundary="wrap")
    with pytest.raises(ValueError, match="`interpolation`: expected one of .*received 'cubic'"):
        ops.warp(*pair(3, 3), interpolation="cubic")


def test_check_flow_takes_unknown_sizes():
    flow = keras.KerasTensor((None, None, 5, 2))
    check_flow("flow", flow)
    check_flow("flow", flow, (2, 4, None, 3))
    with pytest.raises(ValueError, match=r"`back`.* of the sizes of a clip, received"):
        check_flow("back", flow, (2, 4, 6, 3), "a clip")


# ------------------------------------------------------------------------------- validity


def row_of_flow(*steps):
    """Flow (1, 1, W, 2) of a row of pixels along it."""
    return np.array([[[(step, 0.0) for step in steps]]], "float32")


def valid(*arguments, **settings):
    return to_numpy(flow_validity(*arguments, **settings)).ravel().tolist()


def test_what_an_object_covers_has_no_partner():
    # An object of two pixels, at 1 and 2 first, moves over the ground to 3 and 4.
    forward, backward = row_of_flow(0, 2, 2, 0, 0, 0), row_of_flow(0, 0, 0, -2, -2, 0)
    assert valid(forward, backward) == [1, 1, 1, 0, 0, 1]
    assert valid(backward, forward) == [1, 0, 0, 1, 1, 1]


def test_what_leaves_the_image_has_no_partner():
    flow = row_of_flow(-1, 1, 1, 1, INVALID_FLOW, 0.5)
    assert valid(flow, np.zeros_like(flow)) == [0, 1, 1, 1, 0, 0]
    flow = np.swapaxes(flow, 1, 2)[..., ::-1]  # along a column
    assert valid(flow, np.zeros_like(flow)) == [0, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0, [1, 0, 0]), (0.5, [1, 1, 0]), (0.99, [1, 1, 0]), (1, [1, 1, 1])]
)
def test_threshold(threshold, expected):
    flow = row_of_flow(0, 0.5, -1)
    assert valid(flow, np.zeros_like(flow), threshold=threshold) == expected


@pytest.mark.parametrize("leading", [(), (2, 3)])
def test_validity_equals_the_definition(leading):
    flow, back = (random(*leading, 5, 6, 2, seed=seed, low=-1.5, high=1.5) for seed in (1, 2))
    expected = np.zeros((*leading, 5, 6, 1))
    for *batch, y, x in np.ndindex(flow.shape[:-1]):
        pair = (f[tuple(batch)].astype("float64") for f in (flow, back))
        expected[(*batch, y, x)] = is_link(*pair, x, y, threshold=1.2)
    assert 0.2 < expected.mean() < 0.8
    validity = to_numpy(flow_validity(flow, back, threshold=1.2))
    assert validity.dtype == np.float32
    np.testing.assert_array_equal(validity, expected)


def test_validity_has_no_gradient():
    flow = random(1, 3, 4, 2, low=-1.0)

    def weighted(flow):
        return keras.ops.sum(ops.flow_validity(flow, -flow) * flow)

    expected = np.broadcast_to(to_numpy(ops.flow_validity(flow, -flow)), flow.shape)
    assert 0 < expected.mean() < 1
    assert_close(gradients(weighted, flow)[0], expected)


@pytest.mark.parametrize("threshold", [-1, float("nan")])
def test_validity_refuses_thresholds(threshold):
    flow = np.zeros((1, 3, 4, 2), "float32")
    with pytest.raises(ValueError, match="`threshold`: expected a number of pixels from 0 up"):
        ops.flow_validity(flow, flow, threshold)


@pytest.mark.parametrize(
    ("flow", "back", "message"),
    [
        (ones(4, 5, 2), ones(4, 4, 2), "`reverse_flow`: .* of the sizes of `flow`"),
        (ones(4, 5, 2), np.nan * ones(4, 5, 2), "`reverse_flow`: .*received NaN"),
        (ones(4, 5, 3), ones(4, 5, 2), r"`flow`: .*received shape \(4, 5, 3\)"),
    ],
)
def test_validity_refuses_flows(flow, back, message):
    with pytest.raises(ValueError, match=message):
        ops.flow_validity(flow, back)
