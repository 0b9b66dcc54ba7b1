"""A network of one class equals the network of two labels whose first logits are 0."""

import keras
import numpy as np
import pytest

from keras_dpn import layers, losses, metrics
from keras_dpn.export import export
from keras_dpn.inference import Predictor
from keras_dpn.models import DPN, FCN, DeepLab, ParseNet, SpatialTemporalDPN
from tests.keras_dpn.support import (
    assert_close,
    compile_for_one_step,
    picture,
    random,
    run,
    to_numpy,
)

TENSORFLOW = pytest.mark.tensorflow_only
FIELD = {"local_conv": {"window": 4}, "contexts": {"window": 3, "mixtures": 2, "noise": 0.3}}
TINY = {"width": 0.05, "backbone": {"fc6_kernel": 1, "fc_width": 100}, **FIELD}
NETWORKS = {
    "dpn": lambda n: DPN(n, num_iterations=2, global_context=True, pairwise_stride=2, **TINY),
    "clips": lambda n: SpatialTemporalDPN(n, linking="static", **TINY),
    "deeplab": lambda n: DeepLab(
        num_classes=n, multiscale=True, width=0.03, crf={"num_iterations": 2}
    ),
    "parsenet": lambda n: ParseNet(n, width=0.02),
    "fcn": lambda n: FCN(n, ("fc7", "conv4"), width=0.01),
}


def both(name):
    """The same network with one class and with two labels."""
    keras.utils.set_random_seed(3)
    one, two = (NETWORKS[name](n) for n in (1, 2))
    for layer in one.layers:
        weights, other = layer.get_weights(), two.get_layer(layer.name)
        if weights and weights[0].shape != other.weights[0].shape:
            weights[1:] = [w + 0.2 for w in weights[1:]]
            layer.set_weights(weights)
            weights = [np.concatenate([0 * w, w], axis=-1) for w in weights]
        other.set_weights(weights)
    return one, two


@TENSORFLOW
@pytest.mark.parametrize("name", NETWORKS)
def test_every_head_equals_that_of_two_labels(name):
    one, two = both(name)
    image = picture(3, 17, 22) if name == "clips" else picture(17, 22)
    for head in one.head_names:
        logits, pair = (run(model.head_model(head), image) for model in (one, two))
        assert logits.shape == (1, 17, 22, 1)
        assert_close(logits, pair[..., 1:] - pair[..., :1], rtol=1e-3, atol=1e-4)
    assert np.ptp(logits) > 1e-3


@TENSORFLOW
@pytest.mark.parametrize("name", ["dpn", "clips"])
def test_contexts_are_those_of_two_labels(name):
    one, two = both(name)
    image = picture(3, 17, 22) if name == "clips" else picture(17, 22)
    assert one.triple_penalty_sign(image) == two.triple_penalty_sign(image)
    np.testing.assert_array_equal(one.context_kernels(), two.context_kernels())


@TENSORFLOW
def test_predictions_have_two_labels(tmp_path):
    one, two = both("dpn")
    image = picture(17, 22)[0]
    found, expected = (Predictor(model, heads="all").probabilities(image) for model in (one, two))
    for head, probabilities in expected.items():
        assert_close(found[head], probabilities, rtol=1e-3, atol=1e-5)
    assert_close(found["final"][..., 1], 1 / (1 + np.exp(-run(one, image[None])[0, ..., 0])), 1e-3)
    np.testing.assert_array_equal(Predictor(one).labels(image), Predictor(two).labels(image))
    one.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(run(loaded, image[None]), run(one, image[None]))


@TENSORFLOW
def test_clips_start_from_images():
    images, _ = both("dpn")
    settings = {"linking": "static", "global_context": True, "pairwise_stride": 2, **TINY}
    clips = SpatialTemporalDPN(1, num_iterations=2, **settings)
    clips.start_from(images)
    assert_close(clips.get_layer("b11").kernel, to_numpy(images.get_layer("b11").kernel))


def test_training_reaches_every_weight():
    keras.utils.set_random_seed(0)
    model = DPN(1, **TINY, dropout=0.0)
    before = [to_numpy(w) for w in model.trainable_weights]
    compile_for_one_step(model)
    model.compile("adam", losses.SegmentationCrossEntropy(), run_eagerly=model.run_eagerly)
    labels = np.random.default_rng(0).integers(0, 2, (2, 13, 9))
    model.fit(picture(13, 9, batch=2), labels, verbose=0)
    moved = zip(model.trainable_weights, before, strict=True)
    assert not [w.path for w, b in moved if np.all(to_numpy(w) == b)]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.DeepParsingField(window=3, context_window=3, mixtures=2, stride=2),
        lambda: layers.MeanFieldCRF(
            2, compatibility="matrix", trainable_weights_of=("compatibility",), filter="exact"
        ),
    ],
    ids=["field", "crf"],
)
def test_fields(layer):
    one, two = layer(), layer()
    logits, image = random(1, 5, 4, 1, low=-2.0, high=2.0), picture(5, 4)
    pair = np.concatenate([0 * logits, logits], -1)
    one((logits, image)), two((pair, image))
    two.set_weights(one.get_weights())
    found, expected = one((logits, image)), to_numpy(two((pair, image)))
    assert found.shape == (1, 5, 4, 1)
    assert_close(found, expected[..., 1:] - expected[..., :1], rtol=1e-4, atol=1e-5)


LOSSES = [
    lambda: losses.SegmentationCrossEntropy(class_weights=(1.0, 3.0), ohem_fraction=0.5),
    losses.SegmentationDice,
    losses.SegmentationJaccard,
    losses.SegmentationTversky,
    losses.SegmentationFocal,
    losses.LovaszSoftmax,
]


def labels_and_logits():
    labels = np.random.default_rng(0).integers(0, 2, (2, 4, 5))
    labels[0, 0] = 255
    return labels, random(2, 4, 5, 1, low=-3.0, high=3.0)


@pytest.mark.parametrize("make", LOSSES)
def test_losses(make):
    labels, logits = labels_and_logits()
    pair = np.concatenate([0 * logits, logits], -1)
    assert_close(make()(labels, logits), float(make()(labels, pair)), rtol=1e-4)


def test_cross_entropy_is_kerass_binary_one():
    labels, logits = labels_and_logits()
    counted = labels != 255
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(
        labels[counted][:, None], logits[counted]
    )
    loss = losses.SegmentationCrossEntropy()
    assert_close(loss(labels, logits), float(expected), rtol=1e-4)
    with pytest.raises(ValueError, match=r"expected integers 0 \.\.\. 1"):
        loss(2 * labels, logits)


def test_scores():
    labels, logits = labels_and_logits()
    one, two = metrics.SegmentationScores(1), metrics.SegmentationScores(2)
    one.update_state(labels, logits)
    two.update_state(labels, np.concatenate([0 * logits, logits], -1))
    np.testing.assert_array_equal(one.confusion, two.confusion)
    assert one.confusion[:, 1].sum() == (logits[labels != 255] > 0).sum()
    assert metrics.SegmentationScores.from_config(one.get_config()).num_classes == 1


@TENSORFLOW
def test_exports_two_labels(tmp_path):
    import tensorflow as tf

    model, _ = both("parsenet")
    path = export(model, tmp_path / "one", outputs=("labels", "probabilities"))
    served = tf.saved_model.load(str(path)).signatures["image"]
    image = picture(17, 22).astype("uint8")
    answer = served(image=tf.constant(image))
    assert answer["probabilities"].shape == (1, 17, 22, 2)
    np.testing.assert_array_equal(answer["labels"][0], Predictor(model).labels(image[0]))


def test_sigmoid_is_for_several_labels():
    with pytest.raises(ValueError, match="`unary_activation`"):
        DPN(1, unary_activation="sigmoid", **TINY)
