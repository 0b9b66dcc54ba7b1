from functools import partial

import keras
import numpy as np
import pytest

from keras_dpn.losses import SegmentationCrossEntropy
from tests.keras_dpn.losses import references
from tests.keras_dpn.support import TRACED, assert_close, gradients, random, to_numpy


def pixel_losses(labels, logits):
    """-ln softmax at the label, in float64; any value where the label isn't a class."""
    logits = np.asarray(logits, "float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    safe = np.clip(labels, 0, logits.shape[-1] - 1)
    return -np.take_along_axis(log_p, safe[..., None], -1)[..., 0]


LOGITS = random(2, 3, 4, 5, low=-3.0, high=3.0)
LABELS = np.random.default_rng(1).integers(0, 5, (2, 3, 4))
LABELS[0, 0] = LABELS[1, 2, 3] = 255
COUNTED = LABELS != 255


def test_is_the_mean_over_the_counted_pixels():
    expected = pixel_losses(LABELS, LOGITS)[COUNTED].mean()
    for labels in (LABELS, LABELS.astype("uint8"), LABELS[..., None]):
        assert_close(SegmentationCrossEntropy()(labels, LOGITS), expected)


def test_the_sum_is_the_mean_times_the_counted_pixels():
    loss = SegmentationCrossEntropy(reduction="sum")
    assert_close(loss(LABELS, LOGITS), pixel_losses(LABELS, LOGITS)[COUNTED].sum(), rtol=1e-5)
    weights = np.array([0.0, 0.5, 1.0, 2.0, 8.0])
    each = weights[np.where(COUNTED, LABELS, 0)] * COUNTED
    found = SegmentationCrossEntropy(class_weights=weights, reduction="sum")(LABELS, LOGITS)
    assert_close(found, (pixel_losses(LABELS, LOGITS) * each).sum(), rtol=1e-5)
    assert float(loss(np.full_like(LABELS, 255), LOGITS)) == 0


@pytest.mark.parametrize(("ohem_fraction", "kept"), [(0.5, 10), (0.25, 5), (0.01, 1), (1.0, 19)])
def test_hard_pixels(ohem_fraction, kept):
    hardest = np.sort(pixel_losses(LABELS, LOGITS)[COUNTED])[::-1][:kept]
    loss = SegmentationCrossEntropy(ohem_fraction=ohem_fraction)
    assert_close(loss(LABELS, LOGITS), hardest.mean())
    (gradient,) = gradients(lambda x: loss(LABELS, x), LOGITS)
    assert np.any(gradient != 0, axis=-1).sum() == kept


def test_hard_pixels_with_class_weights():
    weights = np.array([0.0, 0.5, 1.0, 2.0, 8.0])
    losses, labels = pixel_losses(LABELS, LOGITS)[COUNTED], LABELS[COUNTED]
    hardest = np.argsort(losses)[::-1][:10]
    expected = np.average(losses[hardest], weights=weights[labels[hardest]])
    loss = SegmentationCrossEntropy(class_weights=weights, ohem_fraction=0.5)
    assert_close(loss(LABELS, LOGITS), expected)


@TRACED
@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.tensorflow_only)])
def test_hard_pixels_in_a_compiled_step(xla):
    loss = references.compiled(partial(SegmentationCrossEntropy, ohem_fraction=0.5), xla=xla)
    labels = np.where(LABELS == 255, 7, LABELS)  # out of range, as hard as a pixel can be
    value, gradient = loss(labels, LOGITS)
    assert_close(value, np.sort(pixel_losses(LABELS, LOGITS)[COUNTED])[-10:].mean())
    assert np.any(to_numpy(gradient) != 0, axis=-1).sum() == 10
    value, gradient = loss(np.full_like(LABELS, 255), LOGITS)
    assert float(value) == 0 and not to_numpy(gradient).any()


@pytest.mark.parametrize("weights", [None, [0.0, 0.5, 1.0, 2.0, 8.0]])
def test_label_smoothing_spreads_the_target(weights):
    target = np.full((*LABELS.shape, 5), 0.3 / 5)
    np.put_along_axis(target, np.where(COUNTED, LABELS, 0)[..., None], 0.7 + 0.3 / 5, axis=-1)
    each = sum(target[..., i] * pixel_losses(np.full_like(LABELS, i), LOGITS) for i in range(5))
    scale = np.ones(19) if weights is None else np.array(weights)[LABELS[COUNTED]]
    loss = SegmentationCrossEntropy(class_weights=weights, label_smoothing=0.3)
    assert_close(loss(LABELS, LOGITS), np.average(each[COUNTED], weights=scale))
    hardest = np.sort(each[COUNTED])[-10:].mean()
    hard = SegmentationCrossEntropy(label_smoothing=0.3, ohem_fraction=0.5)
    assert_close(hard(LABELS, LOGITS), hardest)


def test_large_logits_stay_finite():
    logits = np.array([[[[1e4, -1e4]]]], "float32")
    assert float(SegmentationCrossEntropy()(np.array([[[1]]]), logits)) == 2e4


def test_config_round_trip():
    loss = SegmentationCrossEntropy(
        11, np.array([1, 2]), 0.5, "sum", name="own", label_smoothing=0.1
    )
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is SegmentationCrossEntropy
    assert again.get_config() == loss.get_config()
    assert (again.ignore_label, again.class_weights, again.ohem_fraction) == (11, [1.0, 2.0], 0.5)
    assert again.reduction == "sum"


def test_files_of_the_first_version_load():
    """When the losses were one module, and other ignore labels than one number were unknown."""
    stored = {
        "module": "keras_dpn.losses",
        "class_name": "SegmentationCrossEntropy",
        "config": {
            "name": "own",
            "reduction": "sum",
            "ignore_label": 11,
            "class_weights": None,
            "ohem_fraction": 0.5,
        },
        "registered_name": "keras_dpn>SegmentationCrossEntropy",
    }
    loss = keras.losses.deserialize(stored)
    assert type(loss) is SegmentationCrossEntropy
    assert loss.get_config() == {**stored["config"], "label_smoothing": 0.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ohem_fraction": 0.0}, r"`ohem_fraction`: expected a number in \(0, 1\], received 0.0"),
        ({"ohem_fraction": 1.5}, r"`ohem_fraction`: expected a number in \(0, 1\], received 1.5"),
        (
            {"label_smoothing": 1.0},
            r"`label_smoothing`: expected a number in \[0, 1\), received 1.0",
        ),
        ({"reduction": "none"}, "`reduction`: expected one of .*'mean', 'sum'.*, received 'none'"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        SegmentationCrossEntropy(**settings)


def test_the_fraction_of_hard_pixels_has_its_old_name_too():
    with pytest.warns(DeprecationWarning, match="`hard_ratio=` .* Use `ohem_fraction=` instead"):
        loss = SegmentationCrossEntropy(hard_ratio=0.5)
    with pytest.warns(DeprecationWarning, match="`hard_ratio` .* Use `ohem_fraction` instead"):
        assert loss.hard_ratio == loss.ohem_fraction == 0.5
    assert "hard_ratio" not in dir(loss)  # saving a compiled model would warn
