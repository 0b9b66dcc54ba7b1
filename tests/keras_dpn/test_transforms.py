"""Layers under what a backend offers besides Keras: JAX's transformations, PyTorch's autocast."""

import keras
import numpy as np
import pytest

from keras_dpn import layers

LAYERS = {
    "lattice": lambda: layers.MeanFieldCRF(1),
    "window": lambda: layers.MeanFieldCRF(1, filter="window", window=3),
    "exact": lambda: layers.MeanFieldCRF(1, filter="exact", compatibility="matrix"),
    "gaussian": lambda: layers.LocalConv2D(3, kernel="gaussian"),
    "squared_distance": lambda: layers.LocalConv2D(11),
    "learned": lambda: layers.LocalConv2D(3, kernel="learned"),
    "field": lambda: layers.DeepParsingField(11, 3, mixtures=2, color_unit=1.0),
}
rng = np.random.default_rng(0)
LOGITS = rng.normal(size=(1, 12, 13, 3)).astype("float32")
IMAGE = rng.uniform(0, 255, (1, 12, 13, 3)).astype("float32")


def built(name):
    keras.utils.set_random_seed(0)
    layer = LAYERS[name]()
    layer.build([LOGITS.shape, IMAGE.shape])
    return layer


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
@pytest.mark.parametrize("name", ["lattice", "window", "gaussian"])
@pytest.mark.parametrize("transformation", ["jit", "checkpoint"])
def test_transformed_layers_have_the_same_gradient(name, transformation):
    """Where a gradient of our own uses what was computed outside of it, JAX raises an error."""
    import jax

    layer = built(name)

    def loss(x, apply=lambda x: layer((x, IMAGE))):
        return apply(x).var()

    transformed = getattr(jax, transformation)(lambda x: layer((x, IMAGE)))
    found = jax.jit(jax.grad(lambda x: loss(x, transformed)))(LOGITS)
    np.testing.assert_allclose(found, jax.jit(jax.grad(loss))(LOGITS), atol=1e-6)
    assert np.abs(found).max() > 1e-6


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_autocast_leaves_float32_as_it_is(name, dtype):
    """In float16 sums of squared colours overflow."""
    import torch

    layer, inputs = built(name), [torch.tensor(LOGITS), torch.tensor(IMAGE)]
    if name != "field":
        inputs[0] = torch.softmax(inputs[0], -1)
    expected = layer(inputs)
    with torch.autocast("cpu", dtype=getattr(torch, dtype)):
        found = layer(inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["lattice", "gaussian", "field"])
def test_layers_are_built_with_the_shapes_of_tensors(name):
    """TensorFlow's are no tuples."""
    tensors = [keras.ops.convert_to_tensor(x) for x in (LOGITS, IMAGE)]
    layer = LAYERS[name]()
    layer.build(tuple(x.shape for x in tensors))
    assert layer.built


@pytest.mark.parametrize("name", ["lattice", "field"])
def test_images_with_channels_first_are_told_so(name):
    logits, image = (np.moveaxis(x[:, :, :, :2], -1, 1) for x in (LOGITS, IMAGE))
    with pytest.raises(ValueError, match="Put the channels last"):
        LAYERS[name]()((logits[:, :1], image))
    with pytest.raises(ValueError, match="Upsample the logits to the image's size first"):
        LAYERS[name]()((LOGITS[:, ::2, ::2], IMAGE))
