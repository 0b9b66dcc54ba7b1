"""The page's code for this library does what it says; blocks marked `py` are the peers'."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_dpn import crf, layers
from tests.keras_dpn.support import (
    assert_close,
    direct_lattice,
    direct_mean_field,
    direct_softmax,
    random,
    to_numpy,
)

PAGE = Path(__file__).parents[1] / "docs" / "coming_from_pydensecrf.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def run(marker, **names):
    """What the block with the marker leaves behind."""
    [block] = [block for block in BLOCKS if marker in block]
    names |= {"keras": keras, "np": np, "crf": crf, "MeanFieldCRF": layers.MeanFieldCRF}
    exec(block, names)
    return names


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 40, (5, 6, 3), "uint8")


@pytest.fixture
def p():
    return direct_softmax(random(5, 6, 3, low=-2.0))


def test_refine(image, p):
    names = run("labels = refined.argmax", image=image, p=p)
    kernels = [(4, 121, 5), (3, 3)]
    expected = direct_mean_field(np.log(p), image, kernels, iterations=10, gaussian=direct_lattice)
    assert_close(names["refined"], expected, rtol=0, atol=1e-4)
    assert names["labels"].shape == (5, 6)
    np.testing.assert_array_equal(names["refined"], crf.refine(image, p))  # the defaults


def test_the_layer(image, p):
    names = run("refined_logits", images=image[None], logits=np.log(p).astype("float32")[None])
    assert_close(names["probabilities"][0], crf.refine(image, p), rtol=0, atol=1e-5)


def test_unary_terms(image, p):
    annotation = np.random.default_rng(1).integers(0, 3, (5, 6)).astype("uint8")
    names = run("annotation", image=image, p=p, annotation=annotation)
    assert_close(names["refined"], crf.refine(image, 0.9 * p + 0.1 / 3), rtol=0, atol=1e-5)
    unsure = np.exp(crf.unary_from_labels(annotation.astype(int) - 1, 2, ignore=-1))
    of_labels = np.array([[0.5, 0.5], [0.7, 0.3], [0.3, 0.7]])
    assert_close(unsure, of_labels[annotation])


def test_volumes():
    volume, p = random(2, 3, 4, 1), direct_softmax(random(2, 3, 4, 3, seed=1))
    names = run("volume", volume=volume, volume_probabilities=p)
    kernels = [(4, (2, 10, 10), 0.1), (3, (1, 3, 3))]
    settings = {"iterations": 10, "gaussian": direct_lattice}
    expected = direct_mean_field(np.log(p), volume, kernels, **settings)
    assert_close(names["refined"], expected, rtol=0, atol=1e-4)


def test_trained_matrices_carry_over(image):
    names = run("padding=")
    logits = random(5, 6, 21, high=6.0)
    # compatibility_matrix, bilateral_ker_weights, spatial_ker_weights
    costs, bilateral, spatial = (random(21, 21, seed=s, low=-0.6, high=0.6) for s in (3, 4, 5))
    run(
        "products",
        **{"layer": names["layer"], "compatibility_matrix": costs},
        **{"bilateral_ker_weights": bilateral, "spatial_ker_weights": spatial},
    )
    expected = direct_mean_field(
        logits,
        image,
        [(1.0, 160.0, 3.0), (1.0, 3.0)],
        # There, labels are rows: compatibility_matrix @ (weights @ filtered).
        [(costs @ bilateral).T, (costs @ spatial).T],
        iterations=10,
        normalization="row",
        gaussian=direct_lattice,
    )
    out = keras.ops.softmax(names["layer"]((logits[None], image[None])))
    assert_close(out[0], expected, rtol=0, atol=1e-4)
    assert np.abs(to_numpy(out[0]) - direct_softmax(logits)).max() > 0.01

    model = names["model"]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = random(2, 4, 5, 3, high=255.0), np.zeros((2, 4, 5), "int32")
    assert np.isfinite(model.fit(images / 255, labels, verbose=0).history["loss"][0])


def test_every_block_has_a_test():
    assert len(BLOCKS) == 6
