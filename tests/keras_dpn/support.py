"""What the tests share: slow references in float64, gradients on either backend, layer checks."""

import contextlib
import functools
import itertools
import warnings

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase  # not a public name of Keras; imported here only

# What holds while a step is traced, so that the values of its tensors aren't known.
TRACED = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="PyTorch traces no step: values are known"
)


def run_layer_test(layer_class, init_kwargs, **kwargs):
    """Keras's standard checks: serialisation, symbolic, eager, one training step, float16."""
    with warnings.catch_warnings():  # of its own generator and of layers without weights
        warnings.filterwarnings("ignore", "`shuffle=True` was passed|The model does not have any")
        TestCase().run_layer_test(layer_class, init_kwargs, **kwargs)


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def random(*shape, seed=0, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def offsets(window):
    """All positions of a window relative to its centre."""
    return list(itertools.product(*(range(-(m // 2), m - m // 2) for m in window)))


def direct_local_conv(
    p,
    features,
    window,
    kernel="squared_distance",
    color_weight=1.0,
    position_weight=0.0,
    spacing=1.0,
):
    """ops.local_conv as it is defined, one pair of positions after the other."""
    p, features = np.asarray(p, "float64"), np.asarray(features, "float64")
    size, out = p.shape[1:-1], np.zeros(p.shape)
    for j in itertools.product(range(len(p)), *(range(n) for n in size)):
        for offset in offsets(window):
            z = tuple(a + b for a, b in zip(j[1:], offset, strict=True))
            if not all(0 <= a < n for a, n in zip(z, size, strict=True)):
                continue
            there = (j[0], *z)
            d = color_weight * np.square(features[j] - features[there]).sum()
            d += position_weight * np.square(np.multiply(offset, spacing)).sum()
            out[j] += (np.exp(-d) if kernel == "gaussian" else d) * p[there]
    return out


def direct_linked_local_conv(
    p,
    features,
    window,
    kernel="squared_distance",
    color_weight=1.0,
    position_weight=0.0,
    spacing=1.0,
):
    """ops.linked_local_conv as it is defined, one pair of positions after the other."""
    p, features = np.asarray(p, "float64"), np.asarray(features, "float64")
    batch, time, *size, frames, _ = p.shape
    out = np.zeros((*p.shape[:4], p.shape[-1]))
    for j in np.ndindex(batch, time, *size):
        for step, *offset in offsets(window):
            k, z = frames // 2 + step, tuple(np.add(j[2:], offset))
            if not all(0 <= a < n for a, n in zip(z, size, strict=True)):
                continue
            there = (*j[:2], *z, k)
            d = color_weight * np.square(features[(*j, frames // 2)] - features[there]).sum()
            d += position_weight * np.square(np.multiply((step, *offset), spacing)).sum()
            out[j] += (np.exp(-d) if kernel == "gaussian" else d) * p[there]
    return out


def look_up(image, x, y):
    """An image (H, W, C) between its pixels, bilinear in float64; 0 outside of it."""
    height, width = image.shape[:2]
    out = np.zeros(image.shape[-1])
    for row, column in itertools.product(
        (np.floor(y), np.floor(y) + 1), (np.floor(x), np.floor(x) + 1)
    ):
        if 0 <= row < height and 0 <= column < width:
            share = (1 - abs(y - row)) * (1 - abs(x - column))
            out += share * image[int(row), int(column)]
    return out


def direct_warp(image, flow, boundary="zero"):
    """ops.warp, bilinear, as it is defined, one pixel after the other."""
    image, flow = np.asarray(image, "float64"), np.asarray(flow, "float64")
    height, width = image.shape[-3:-1]
    out = np.zeros(image.shape)
    for *batch, y, x in np.ndindex(image.shape[:-1]):
        target = np.add((x, y), flow[(*batch, y, x)])
        if boundary == "clamp":
            target = np.clip(target, 0, (width - 1, height - 1))
        out[(*batch, y, x)] = look_up(image[tuple(batch)], *target)
    return out


def is_link(flow, reverse_flow, x, y, threshold):
    """Whether the flow (H, W, 2) of a pixel leads into the image and back."""
    height, width = flow.shape[:2]
    there = np.add((x, y), flow[y, x])
    if not (0 <= there[0] <= width - 1 and 0 <= there[1] <= height - 1):
        return False
    return np.linalg.norm(flow[y, x] + look_up(reverse_flow, *there)) <= threshold


def direct_links(x, flows=None, frames=3, threshold=1.0):
    """ops.link_frames as it is defined, one chain of links after the other."""
    x = np.asarray(x, "float64")
    batch, time, height, width, channels = x.shape
    flows = [
        np.asarray(f, "float64") for f in flows or np.zeros((2, batch, time, height, width, 2))
    ]
    neighbors = np.zeros((batch, time, height, width, frames, channels))
    validity = np.zeros((*neighbors.shape[:-1], 1))
    for b, t, row, column in np.ndindex(x.shape[:-1]):
        for direction in (1, -1):
            place, valid = np.array([column, row], "float64"), True
            for step in range(frames // 2 + 1):
                there = t + direction * step
                if not 0 <= there < time:
                    break
                index = (b, t, row, column, frames // 2 + direction * step)
                neighbors[index] = valid * look_up(x[b, there], *place)
                validity[index] = valid
                if not 0 <= there + direction < time:
                    break
                at = min(there, there + direction)  # of the step's flows
                ahead, back = (flow[b, at] for flow in flows[::direction])
                nearest = np.round(place).astype(int)
                valid = valid and is_link(ahead, back, *nearest, threshold)
                place = place + look_up(ahead, *place)
                valid = valid and (place >= 0).all() and (place <= (width - 1, height - 1)).all()
    return neighbors, validity


def elevated(features):
    """Features (N, d) in the lattice's plane, (N, d+1); Adams et al. 2010, sec. 3.1."""
    d = features.shape[1]
    basis = np.triu(np.ones((d + 1, d))) - np.diag(np.arange(1.0, d + 1), -1)[:, :d]
    basis /= np.sqrt(np.arange(1, d + 1) * np.arange(2, d + 2))
    return (d + 1) * np.sqrt(2 / 3) * np.asarray(features, "float64") @ basis.T


def direct_permutohedral(x, features):
    """ops.permutohedral_filter as Adams et al. (2010) describe it: x (N, C), features (N, d)."""
    x, d = np.asarray(x, "float64"), features.shape[1]
    corners = [_simplex_corners(point) for point in elevated(features)]
    values = {vertex: np.zeros(x.shape[1]) for simplex in corners for vertex, _ in simplex}
    for simplex, row in zip(corners, x, strict=True):
        for vertex, weight in simplex:
            values[vertex] += weight * row
    for axis in range(d + 1):
        step = np.ones(d + 1, int)
        step[axis] = -d
        values = {
            vertex: value
            + sum(0.5 * values.get(tuple(vertex + sign * step), 0.0) for sign in (-1, 1))
            for vertex, value in values.items()
        }
    out = [sum(weight * values[vertex] for vertex, weight in simplex) for simplex in corners]
    return np.array(out) / (1 + 2.0**-d)


def _simplex_corners(point):
    """Pairs (vertex, barycentric weight) of the simplex around a point of the lattice's plane."""
    d = len(point) - 1
    nearest = np.round(point / (d + 1)).astype(int) * (d + 1)
    difference = point - nearest
    rank = np.argsort(np.argsort(-difference, kind="stable")) + nearest.sum() // (d + 1)
    nearest = nearest + np.where(rank < 0, d + 1, np.where(rank > d, -(d + 1), 0))
    rank = rank % (d + 1)
    difference = (point - nearest) / (d + 1)
    weights = np.zeros(d + 2)
    np.add.at(weights, d - rank, difference)
    np.add.at(weights, d + 1 - rank, -difference)
    weights[0] += 1 + weights[d + 1]
    return [
        (tuple(nearest + np.where(rank <= d - k, k, k - (d + 1))), weights[k]) for k in range(d + 1)
    ]


def direct_gaussian(features):
    """Weights exp(-||f_i - f_j||^2 / 2) of all pairs (N, N) of points (N, d)."""
    features = np.asarray(features, "float64")
    return np.exp(-np.square(features[:, None] - features[None]).sum(-1) / 2)


def direct_normalized(kernel, normalization):
    """A kernel (N, N) by its row sums."""
    sums = kernel.sum(axis=1)
    if normalization == "none":
        return kernel
    if normalization == "row":
        return kernel / sums[:, None]
    return kernel / np.sqrt(sums[:, None] * sums)


def direct_mean_field(
    logits,
    guide,
    kernels,
    compatibilities=None,
    iterations=5,
    normalization="symmetric",
    gaussian=direct_gaussian,
):
    """Marginals of a fully connected CRF of one image, (*S, L), in float64.

    Args:
        logits: `(*S, L)`.
        guide: `(*S, C)`.
        kernels: `(weight, position sigmas)` or `(weight, position sigmas, guide sigmas)`; sigmas
            are a number, or one an axis or channel.
        compatibilities: a cost matrix (label beside, label) for each kernel; Potts' by default.
        iterations: mean-field updates.
        normalization: "symmetric", "row" or "none".
        gaussian: function from features (N, d), positions last axis first, to the kernel (N, N).
    """
    size, labels = np.shape(logits)[:-1], np.shape(logits)[-1]
    unary = np.reshape(np.asarray(logits, "float64"), (-1, labels))
    positions = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    points = [positions[..., ::-1], np.asarray(guide, "float64")]
    points = [p.reshape(len(unary), -1) for p in points]
    if compatibilities is None:
        compatibilities = [1 - np.eye(labels)] * len(kernels)
    matrices = []
    for weight, *sigmas in kernels:
        sigmas = [np.ravel(sigmas[0])[::-1], *sigmas[1:]]
        features = [p / s for p, s in zip(points, sigmas, strict=False)]
        kernel = direct_normalized(gaussian(np.concatenate(features, axis=1)), normalization)
        matrices.append(weight * kernel)
    marginals = direct_softmax(unary)
    for _ in range(iterations):
        costs = sum(k @ marginals @ c for k, c in zip(matrices, compatibilities, strict=True))
        marginals = direct_softmax(unary - costs)
    return marginals.reshape(*size, labels)


def direct_lattice(features):
    """The lattice's kernel (N, N) of points (N, d)."""
    return direct_permutohedral(np.eye(len(features)), features)


def direct_softmax(x):
    exponential = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def jitted(function, static=()):
    """The function, on JAX as one computation: operation by operation, JAX compiles each."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function, static_argnames=static)


def gradients(function, *arrays):
    """Gradients of a scalar function of tensors, by the backend's automatic differentiation."""
    tensors = [keras.ops.convert_to_tensor(a, "float32") for a in arrays]
    if keras.backend.backend() == "jax":
        found = _jax_gradients(function, len(tensors))(*tensors)
    elif keras.backend.backend() == "torch":
        found = _torch_gradients(function, tensors)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors)
    return [to_numpy(gradient) for gradient in found]


@functools.cache
def _jax_gradients(function, count):
    import jax

    return jax.jit(jax.grad(function, argnums=tuple(range(count))))


def _torch_gradients(function, tensors):
    import torch

    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    value = function(*tensors)
    if not value.requires_grad:
        return [torch.zeros_like(tensor) for tensor in tensors]
    return torch.autograd.grad(value, tensors, allow_unused=True, materialize_grads=True)


def finite_differences(function, *arrays, eps=1e-5):
    """Gradients of a scalar NumPy function in float64, by central differences."""
    arrays = [np.array(a, "float64") for a in arrays]
    found = [np.zeros(a.shape) for a in arrays]
    for array, gradient in zip(arrays, found, strict=True):
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + eps
            above = function(*arrays)
            array[index] = value - eps
            gradient[index] = (above - function(*arrays)) / (2 * eps)
            array[index] = value
    return found


def dot(x, weights):
    """The sum of a tensor's values times those of an array."""
    return keras.ops.sum(keras.ops.multiply(x, weights))


def assert_close(actual, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(to_numpy(actual), to_numpy(expected), rtol=rtol, atol=atol)


def without_values(build):
    """The model that `build` makes, for its structure only: its weights take no time or memory."""
    if keras.backend.backend() == "torch":  # keeps no weights without values
        with contextlib.suppress(NotImplementedError), keras.device("meta"):
            return build()
        return build()  # it copies weights, which have no values on that device
    with keras.StatelessScope(initialize_variables=False):
        return build()


def weight_shapes(build):
    """Shapes of the weights of the model that `build` makes, by path."""
    return {weight.path: tuple(weight.shape) for weight in without_values(build).weights}


def picture(*size, seed=0, batch=1):
    """Random images (batch, *size, 3) of 0-255."""
    return np.random.default_rng(seed).integers(0, 256, (batch, *size, 3)).astype("float32")


def run(model, inputs):
    """What a model makes of inputs, the faster way: JAX compiles it, TensorFlow doesn't."""
    if keras.backend.backend() == "jax":
        return model.predict_on_batch(inputs)
    return keras.tree.map_structure(to_numpy, model(inputs))


def tiny_backbone(strides=(2, 2, 2, 2, 2), channels=3, name="tiny"):
    """A network of one convolution per stride."""
    image = keras.Input((None, None, channels))
    x = keras.layers.Rescaling(1 / 255)(image)
    for i, n in enumerate(strides):
        x = keras.layers.Conv2D(
            8, 3, strides=n, padding="same", activation="relu", name=f"conv{i}"
        )(x)
    return keras.Model(image, keras.layers.BatchNormalization(name="norm")(x), name=name)


def sizes_to_run(*sizes):
    """The sizes, on JAX the last one only: it compiles a network for each."""
    return sizes[-1:] if keras.backend.backend() == "jax" else sizes


def outputs(model, image, *names):
    """What the named layers give for an image."""
    return run(keras.Model(model.input, [model.get_layer(name).output for name in names]), image)


def compile_for_one_step(model, optimizer="adam"):
    """Compiles a network for a step of training: TensorFlow would trace longer than it trains."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, run_eagerly=keras.backend.backend() == "tensorflow")


def check_training_reaches_every_weight(model):
    """One step of training a network of three classes moves each of its weights."""
    before = {w.path: to_numpy(w) for w in model.trainable_weights}
    compile_for_one_step(model)
    labels = np.random.default_rng(0).integers(0, 3, (2, 13, 9))
    model.fit(picture(13, 9, batch=2), labels, verbose=0)
    unmoved = [w.path for w in model.trainable_weights if np.all(to_numpy(w) == before[w.path])]
    assert not unmoved
