import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.ops.permutohedral import permutohedral_lattice
from keras_dpn.ops.permutohedral_static import StaticLattice
from tests.keras_dpn.support import (
    assert_close,
    direct_gaussian,
    direct_lattice,
    direct_permutohedral,
    dot,
    elevated,
    finite_differences,
    gradients,
    jitted,
    random,
    to_numpy,
)

filtered = jitted(ops.permutohedral_filter)
# JAX compiles a lattice for seconds: there, few shapes must do, and tests share them.
TENSORFLOW = pytest.mark.tensorflow_only
# The lattice computes with float32 coordinates, the reference with float64.
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def points(count, d, spread=1.5, batch=2, seed=0):
    return random(batch, count, d, seed=seed, low=-spread, high=spread)


def reference(x, features):
    return np.stack([direct_permutohedral(*image) for image in zip(x, features, strict=True)])


@pytest.mark.parametrize("d", [1, 2, 5, *(pytest.param(d, marks=TENSORFLOW) for d in (3, 4, 6))])
def test_equals_the_reference(d):
    x = random(2, 25, 3)
    for spread in (0.4, 3.0, 40.0):
        features = points(25, d, spread, seed=1)
        assert_close(filtered(x, features), reference(x, features), **CLOSE)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("d", range(1, 7))
def test_static_lattice_equals_the_other(d):
    x, features = random(2, 25, 3), points(25, d, seed=1)
    static, lattice = (
        StaticLattice(keras.ops.convert_to_tensor(features)),
        permutohedral_lattice(features),
    )
    assert type(static) is not type(lattice)
    assert_close(
        static.filter(keras.ops.convert_to_tensor(x)), to_numpy(lattice.filter(x)), **CLOSE
    )
    factors = random(2, 25, 1, seed=2), random(2, 25, 1, seed=3)
    static, lattice = static.scaled(*factors), lattice.scaled(*factors)
    assert_close(
        static.filter(keras.ops.convert_to_tensor(x)), to_numpy(lattice.filter(x)), **CLOSE
    )


def test_scaled_multiplies_before_and_after():
    x, features = random(2, 20, 3), points(20, 2)
    before, after = random(2, 20, 1, seed=1), random(2, 20, 1, seed=2)

    @jitted
    def both(x):
        lattice = permutohedral_lattice(features)
        return lattice.scaled(before, after).filter(x), lattice.filter(x)

    scaled, plain = both(x)
    assert_close(scaled, after * reference(before * x, features), **CLOSE)
    assert_close(plain, reference(x, features), **CLOSE)  # the lattice stays as it was


@pytest.mark.parametrize("size", [pytest.param((90,), marks=TENSORFLOW), (24, 28)])
def test_dense_points_are_close_to_exact_sums(size):
    features = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1) / 4.0
    features = features.reshape(-1, len(size)).astype("float32")
    x = 1 + np.cos(features).prod(axis=-1)
    x = np.stack([x, np.ones_like(x)], axis=-1)
    out, expected = to_numpy(filtered(x[None], features[None]))[0], direct_gaussian(features) @ x
    inside = np.all((features > 1) & (features < features.max(axis=0) - 1), axis=-1)
    ratio = out[inside, 1] / expected[inside, 1]
    assert ratio.min() > 0.8 and ratio.max() < 1  # some per cent are lost, everywhere alike
    assert np.ptp(ratio) < 0.12
    means, exact = (sums[:, 0] / sums[:, 1] for sums in (out, expected))
    np.testing.assert_allclose(means, exact, atol=0.06)  # of values from 0 to 2


def test_images_of_a_batch_do_not_mix():
    x, features = random(3, 20, 2), points(20, 3, batch=3)
    features[1] = features[0]  # the very same vertices
    features[2] += 50.0
    out = to_numpy(filtered(x, features))
    for i in range(3):
        alone = to_numpy(filtered(x[i : i + 1], features[i : i + 1]))[0]
        assert_close(out[i], alone, rtol=1e-5)


@pytest.mark.parametrize(
    "channels", [1, *(pytest.param(n, marks=TENSORFLOW) for n in (24, 25, 32, 50))]
)
def test_any_number_of_columns(channels):
    x, features = random(1, 15, channels), points(15, 2, batch=1)
    out = filtered(x, features)
    assert out.shape == (1, 15, channels)
    assert_close(out, reference(x, features), **CLOSE)


def far_clusters(d, reach):
    """Clusters of points that lie far from each other, on coordinates that float32 has exactly."""
    centres = np.random.default_rng(0).integers(-reach, reach, (1, 8, 1, d))
    near = np.random.default_rng(1).integers(-8, 8, (1, 8, 5, d)) / 16 + 0.03
    return (centres + near).reshape(1, -1, d).astype("float32")


@pytest.mark.parametrize(("d", "reach"), [pytest.param(6, 4000, marks=TENSORFLOW), (5, 30000)])
def test_vertices_that_do_not_fit_64_bits(d, reach):
    features = far_clusters(d, reach)
    digits = np.ptp(elevated(features[0]) / (d + 1), axis=0)
    assert np.log2(digits[:d]).sum() > 64
    x = random(1, features.shape[1], 2)
    expected = reference(x, features)
    single = [reference(x[:, i : i + 1], features[:, i : i + 1]) for i in range(x.shape[1])]
    assert np.abs(expected - np.concatenate(single, axis=1)).max() > 0.2  # neighbours count
    assert_close(filtered(x, features), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("d", [1, 2, 6])
def test_points_on_one_spot_share_their_values(d):
    x, one = random(2, 25, 3), random(2, 1, d)
    for spot in (0 * one, one):
        weights = reference(np.ones((2, 1, 1)), spot)
        assert weights.min() > 0.98 or d < 6 or spot.any()  # of a vertex on itself
        out = filtered(x, np.repeat(spot, 25, axis=1))
        expected = np.broadcast_to(weights * x.sum(axis=1, keepdims=True), x.shape)
        assert_close(out, expected, **CLOSE)


@pytest.mark.parametrize("d", [pytest.param(1, marks=TENSORFLOW), 6])
def test_one_point(d):
    x, features = random(2, 1, 3), points(1, d)
    assert_close(filtered(x, features), reference(x, features), **CLOSE)


@pytest.mark.parametrize("d", [1, *(pytest.param(d, marks=TENSORFLOW) for d in (3, 6))])
def test_far_points_keep_to_themselves(d):
    features = np.array([[-1e8], [-3e8], [-np.inf], [1e8], [1e30], [np.inf]], "float32")
    features = np.repeat(features, d, axis=-1)
    features = np.concatenate([features, random(2, d)])
    out = to_numpy(filtered(np.eye(8, dtype="float32")[None], features[None]))[0]
    assert np.isfinite(out).all() and out.min() >= 0
    for others in (slice(3), slice(3, 6)):  # +-1e8 and beyond are one spot
        np.testing.assert_allclose(out[others, others], out[others, others].flat[0], rtol=1e-5)
        assert 0.05 < out[others, others].flat[0] <= 1
        out[others, others] = 0
    assert not out[:6].any() and out[6:, 6:].min() > 0.05


@pytest.mark.parametrize("magnitude", [1e5, 1e6, 1e7, 1e8])
def test_weights_stay_weights_where_float32_has_no_fractions(magnitude):
    features = points(50, 5, magnitude, batch=1)
    out = to_numpy(filtered(np.eye(50, dtype="float32")[None], features))[0]
    assert out.min() >= 0
    assert np.diag(out).min() > 0.05 and np.diag(out).max() <= 1


@pytest.mark.parametrize("d", [2, 5])
def test_gradient_is_the_exact_adjoint(d):
    features, y = points(12, d), random(2, 12, 30, seed=3, low=-1.0)
    kernels = [direct_lattice(f) for f in features]
    assert np.abs(kernels[0] - kernels[0].T).max() > 0.01  # the blurs' order matters
    before, after = random(2, 12, 1, seed=4), random(2, 12, 1, seed=5)

    def projected(x):
        lattice = permutohedral_lattice(features).scaled(before, after)
        return dot(lattice.filter(x), y)

    [gradient] = gradients(projected, random(2, 12, 30))
    expected = [k.T @ side for k, side in zip(kernels, after * y, strict=True)]
    assert_close(gradient, before * np.stack(expected), **CLOSE)


def test_gradient_equals_finite_differences():
    x, features, y = random(1, 5, 2), points(5, 2, batch=1), random(1, 5, 2, seed=1, low=-1.0)
    [expected] = finite_differences(lambda x: (reference(x, features) * y).sum(), x)
    [gradient] = gradients(lambda x: dot(ops.permutohedral_filter(x, features), y), x)
    assert_close(gradient, expected, **CLOSE)


def test_features_have_no_gradient():
    x, features = random(1, 5, 2), points(5, 2, batch=1)

    def function(x, features):
        # TensorFlow has None where nothing else depends on the features.
        return keras.ops.sum(ops.permutohedral_filter(x, features)) + keras.ops.sum(features)

    of_x, of_features = gradients(function, x, features)
    assert of_x.all()
    np.testing.assert_array_equal(of_features, 1)


@pytest.mark.tensorflow_only
def test_unknown_sizes_in_a_function():
    import tensorflow as tf

    shapes = [tf.TensorSpec((None, None, 27)), tf.TensorSpec((None, None, 2))]
    function = tf.function(ops.permutohedral_filter, input_signature=shapes)
    assert function.get_concrete_function().outputs[0].shape.as_list() == [None, None, 27]
    for batch, count in [(1, 1), (2, 20), (3, 7)]:
        x, features = random(batch, count, 27), points(count, 2, batch=batch)
        assert_close(function(x, features), reference(x, features), **CLOSE)
    assert function.experimental_get_tracing_count() == 1


@pytest.mark.tensorflow_only
def test_gradient_in_a_function():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3)), tf.TensorSpec((None, None, 2))])
    def gradient(x, features):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = tf.reduce_sum(ops.permutohedral_filter(x, features) ** 2)
        return tape.gradient(out, x)

    x, features = random(1, 15, 3), points(15, 2, batch=1)
    kernel = direct_lattice(features[0])
    assert_close(gradient(x, features)[0], 2 * kernel.T @ (kernel @ x[0]), **CLOSE)


@pytest.mark.tensorflow_only
def test_in_a_data_pipeline():
    import tensorflow as tf

    x, features = random(3, 20, 2), points(20, 2, batch=3)
    data = tf.data.Dataset.from_tensor_slices((x, features)).batch(2).map(ops.permutohedral_filter)
    out = np.concatenate(list(data.as_numpy_iterator()))
    assert_close(out, reference(x, features), **CLOSE)


@pytest.mark.tensorflow_only
def test_sizes_may_be_known_of_one_input_alone():
    import tensorflow as tf

    specs = [tf.TensorSpec((None, None, 2)), tf.TensorSpec((1, None, 2))]
    x, features = random(1, 4, 2), random(1, 4, 2)
    found = tf.function(ops.permutohedral_filter, specs)(x, features)
    assert_close(found, to_numpy(ops.permutohedral_filter(x, features)))


@pytest.mark.parametrize(
    ("x", "features", "message"),
    [
        ((2, 5), (2, 5, 3), r"arguments `x` and `features`: expected shapes \(B, N, C\)"),
        ((2, 5, 4), (2, 6, 3), r"received \(2, 5, 4\) and \(2, 6, 3\)"),
        ((2, 5, 4), (1, 5, 3), r"received \(2, 5, 4\) and \(1, 5, 3\)"),
        ((2, 5, 4), (2, 5), r"argument `features`: expected shape \(B, N, d\)"),
        ((2, 5, 4), (2, 5, 0), "d from 1 to 6, received"),
        ((2, 5, 4), (2, 5, 7), "For more dimensions use exact kernels"),
    ],
)
def test_refuses_shapes(x, features, message):
    with pytest.raises(ValueError, match=message):
        ops.permutohedral_filter(np.ones(x, "float32"), np.ones(features, "float32"))
