import keras
import numpy as np
import pytest

from keras_dpn.models.skips import SKIPS, check_skips, decode
from tests.keras_dpn.support import assert_close, random, run, to_numpy

# Features of stride 16 and what comes before them, of an image of 25x33 pixels.
CELLS = {16: (2, 3), 8: (4, 5), 4: (7, 9), 2: (13, 17)}
CHANNELS = {"b7_conv3": 7, "b5_conv3": 6, "b3_conv2": 5}


def decoder(skips=("conv4", "conv3"), dropout=0.0, size=CELLS):
    """A model of features of stride 16 and of the backbone's maps, with weights drawn anew."""
    maps = {layer: keras.Input((*size[s], CHANNELS[layer])) for layer, s in SKIPS.values()}
    features = keras.Input((*size[16], 8))
    x, stride = decode(maps, features, 16, skips, 4, dropout)
    model = keras.Model([features, *(maps[SKIPS[skip][0]] for skip in skips)], x)
    for i, weight in enumerate(model.trainable_weights):
        weight.assign(weight + random(*weight.shape, seed=i, high=0.2))
    return model, stride


def maps(skips=("conv4", "conv3"), batch=2):
    shapes = [(*CELLS[16], 8)] + [(*CELLS[SKIPS[s][1]], CHANNELS[SKIPS[s][0]]) for s in skips]
    return [random(batch, *shape, seed=i, low=-1.0) for i, shape in enumerate(shapes)]


# === One step after the other, in NumPy ===


def normalized(x, scale):
    return scale * x / np.sqrt(np.square(x).sum(-1, keepdims=True) + 1e-10)


def upsampled(x, factor):
    """Bilinear, with the centres of cells half a cell from the border."""
    for axis in (1, 2):
        cells = (np.arange(x.shape[axis] * factor) + 0.5) / factor - 0.5
        places = np.arange(x.shape[axis])
        x = np.apply_along_axis(lambda row, c=cells, p=places: np.interp(c, p, row), axis, x)
    return x


def convolved(x, kernel, bias):
    n = len(kernel)
    padded = np.pad(x, ((0, 0), *[(n // 2, n // 2)] * 2, (0, 0)))
    height, width = x.shape[1:3]
    return bias + sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in np.ndindex(n, n)
    )


def test_each_step_adds_projected_norms_and_looks_at_3x3_cells():
    model, stride = decoder()
    weights = {layer.name: [to_numpy(w) for w in layer.weights] for layer in model.layers}
    features, conv4, conv3 = inputs = maps()
    x = convolved(normalized(features, *weights["b10_fc7_norm"]), *weights["b10_fc7_project"])
    for skip, finer in (("conv4", conv4), ("conv3", conv3)):
        finer = normalized(finer, *weights[f"b10_{skip}_norm"])
        finer = convolved(finer, *weights[f"b10_{skip}_project"])
        total = upsampled(x, 2)[:, : finer.shape[1], : finer.shape[2]] + finer
        x = np.maximum(convolved(np.maximum(total, 0), *weights[f"b10_{skip}"]), 0)
    assert stride == 4 and x.shape == (2, *CELLS[4], 4)
    assert (x > 0).mean() > 0.2
    assert_close(run(model, inputs), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("skips", "stride"), [(("conv4",), 8), (("conv3",), 4), (["conv4", "conv2"], 2)]
)
def test_the_last_skip_gives_the_grid(skips, stride):
    model, found = decoder(skips)
    assert found == stride
    assert run(model, maps(skips)).shape == (2, *CELLS[stride], 4)
    unknown, _ = decoder(skips, size=dict.fromkeys(CELLS, (None, None)))
    assert unknown.output.shape == (None, None, None, 4)
    unknown.set_weights(model.get_weights())
    assert_close(run(unknown, maps(skips)), run(model, maps(skips)))


@pytest.mark.tensorflow_only
def test_features_are_dropped_after_they_are_normalised():
    model, _ = decoder(dropout=0.5)
    seen = keras.Model(model.input, model.get_layer("b10_fc7_project").input)
    whole, dropped = (to_numpy(seen(maps(), training=training)) for training in (False, True))
    kept = dropped != 0
    assert 0.3 < kept.mean() < 0.7
    assert_close(dropped[kept], 2 * whole[kept])


# === Arguments ===


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("skips", [(), [], ("conv4",), ("conv3",), ["conv2"], ("conv4", "conv2")])
def test_takes_what_becomes_finer(stride, skips):
    check_skips(skips, stride)


@pytest.mark.parametrize(
    ("skips", "stride", "names"),
    [
        (("conv4",), 4, "conv3, conv2"),
        (("conv2", "conv3"), 8, "conv4, conv3, conv2"),
        (("conv3", "conv3"), 8, "conv4, conv3, conv2"),
        (("conv3", "conv4"), 16, "conv4, conv3, conv2"),
        (("conv4", "conv5"), 16, "conv4, conv3, conv2"),
        ("conv3", 8, "conv4, conv3, conv2"),
        (None, 8, "conv4, conv3, conv2"),
        ({"conv3"}, 16, "conv4, conv3, conv2"),
    ],
)
def test_refuses_skips(skips, stride, names):
    message = f"`skips`: expected any of {names} in this order for features of stride {stride}, rec"
    with pytest.raises(ValueError, match=message):
        check_skips(skips, stride)
