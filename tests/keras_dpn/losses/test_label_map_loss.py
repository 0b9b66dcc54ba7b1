"""What holds for every loss on label maps."""

import re

import keras
import numpy as np
import pytest

from keras_dpn import losses
from tests.keras_dpn.losses import references
from tests.keras_dpn.support import TRACED, assert_close, finite_differences, random, to_numpy

LOSSES = {
    losses.SegmentationCrossEntropy: references.direct_cross_entropy,
    losses.SegmentationFocal: references.direct_focal,
    losses.SegmentationDice: references.direct_dice,
    losses.SegmentationJaccard: references.direct_jaccard,
    losses.SegmentationTversky: references.direct_tversky,
    losses.LovaszSoftmax: references.direct_lovasz,
}
XLA = [False, pytest.param(True, marks=pytest.mark.tensorflow_only)]  # JAX always compiles
all_losses = pytest.mark.parametrize("cls", LOSSES)

LOGITS = random(2, 3, 4, 5, low=-3.0, high=3.0)
LABELS = np.random.default_rng(1).choice([0, 1, 2, 4], (2, 3, 4))  # 3 does not occur
LABELS[0, 0] = LABELS[1, 2, 3] = 255
COUNTED = LABELS != 255
WEIGHTS = (0.0, 0.5, 1.0, 3.0, 8.0)


def expected(cls, labels=LABELS, logits=LOGITS, weights=(1.0,) * 5, counted=COUNTED):
    return LOSSES[cls](labels[counted], logits[counted], weights)


@all_losses
def test_is_the_reference_on_the_counted_pixels(cls):
    for dtype in ("int64", "uint8"):
        loss = references.eager(cls())(LABELS.astype(dtype), LOGITS)
        assert_close(loss, expected(cls))


@all_losses
@pytest.mark.parametrize("xla", XLA)
def test_class_weights_and_the_gradient(cls, xla):
    value, gradient = references.compiled(cls, WEIGHTS, xla)(LABELS, LOGITS)
    assert_close(value, expected(cls, weights=WEIGHTS))
    (wanted,) = finite_differences(lambda x: expected(cls, logits=x, weights=WEIGHTS), LOGITS)
    assert_close(gradient, wanted)


@pytest.mark.parametrize("cls", [losses.SegmentationCrossEntropy, losses.LovaszSoftmax])
@pytest.mark.parametrize("shape", [(24,), (2, 12), (2, 3, 2, 2)])
def test_axes_of_any_number(cls, shape):
    logits = LOGITS.reshape(*shape, 5)
    for labels in (LABELS.reshape(shape), LABELS.reshape(*shape, 1)):
        assert_close(references.eager(cls())(labels, logits), expected(cls))


@all_losses
@pytest.mark.parametrize("xla", XLA)
def test_ignored_pixels_may_hold_anything_and_have_no_gradient(cls, xla):
    logits = np.where(COUNTED[..., None], LOGITS, np.array([np.nan, np.inf, -np.inf, 0, 1]))
    value, gradient = references.compiled(cls, xla=xla)(LABELS, logits.astype("float32"))
    assert_close(value, expected(cls))
    gradient = to_numpy(gradient)
    assert not gradient[~COUNTED].any()
    assert np.isfinite(gradient).all() and gradient[COUNTED].any(axis=-1).all()


@all_losses
def test_other_ignore_labels(cls):
    void, all_count = np.ones_like(COUNTED), np.where(COUNTED, LABELS, 3)
    void[:1] = False
    mixed = np.where(COUNTED, LABELS, np.where(void, -1, 255))
    for ignore_label, labels, counted in [
        (-1, np.where(COUNTED, LABELS, -1), COUNTED),
        ((255, -1, 2), mixed, COUNTED & (LABELS != 2)),
        (None, all_count, np.ones_like(COUNTED)),
    ]:
        found = references.eager(cls(ignore_label))(labels, LOGITS)
        assert_close(found, expected(cls, labels, counted=counted))


@all_losses
@pytest.mark.parametrize("xla", XLA)
def test_a_batch_without_a_counted_pixel(cls, xla):
    for weights, labels in [(None, np.full_like(LABELS, 255)), (WEIGHTS, LABELS * 0)]:
        value, gradient = references.compiled(cls, weights, xla)(labels, LOGITS)
        assert float(value) == 0 and not to_numpy(gradient).any()


@all_losses
@pytest.mark.parametrize("label", [-1, 5, 254, 256, 2**32, 1.5, float("nan")])
def test_labels_of_no_class_are_refused(cls, label):
    labels = LABELS.astype("float64")
    labels[1, 1, 1:3] = label
    wrong = re.escape(f"received {label:g} (pixels out of range: 2)")
    with pytest.raises(
        ValueError, match=f"`y_true`: expected integers 0 ... 4, {wrong}.*to ignore"
    ):
        cls()(labels, LOGITS)


@TRACED
@all_losses
@pytest.mark.parametrize("xla", XLA)
def test_labels_of_no_class_do_not_count_in_a_compiled_step(cls, xla):
    loss = references.compiled(cls, xla=xla)
    for label in (-1, 5, 1.5, np.nan):
        labels = np.where(COUNTED, LABELS, label)
        value, gradient = loss(labels, LOGITS)
        assert_close(value, expected(cls))
        assert not to_numpy(gradient)[~COUNTED].any()


@all_losses
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_logits(cls, dtype):
    logits = keras.ops.cast(LOGITS, dtype)
    loss = references.eager(cls())(LABELS, logits)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert_close(loss, expected(cls, logits=to_numpy(keras.ops.cast(logits, "float32"))))


@all_losses
def test_labels_are_exact_whatever_floatx(cls):
    keras.config.set_floatx("float16")  # in which 2049 is 2048
    try:
        found = references.eager(cls(2049))(np.where(COUNTED, LABELS, 2049), LOGITS)
    finally:
        keras.config.set_floatx("float32")
    assert_close(found, expected(cls))


@all_losses
@pytest.mark.parametrize("xla", XLA)
def test_large_logits_stay_finite(cls, xla):
    logits = np.where(LOGITS > 0, 6e4, -6e4).astype("float32")
    value, gradient = references.compiled(cls, xla=xla)(LABELS, logits)
    assert np.isfinite(float(value)) and np.isfinite(to_numpy(gradient)).all()


@all_losses
def test_config_round_trip(cls):
    settings = {"ignore_label": (11, -1), "class_weights": np.array([1, 2]), "name": "own"}
    loss = cls(**settings)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is cls and again.get_config() == loss.get_config()
    assert (again.ignore_label, again.class_weights) == ((11, -1), [1.0, 2.0])


@all_losses
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_weights": [1, -2]}, "`class_weights`: expected non-negative numbers"),
        ({"class_weights": [float("nan")]}, "`class_weights`: expected non-negative numbers"),
        ({"class_weights": [float("inf")]}, "`class_weights`: expected non-negative numbers"),
        ({"class_weights": {0: 1.0, 1: 5.0}}, r"`class_weights`: .* received \{0: 1.0, 1: 5.0\}"),
        ({"reduction": "none"}, "`reduction`: expected one of .* received 'none'"),
        ({"ignore_label": 1.5}, "`ignore_label`: expected an integer, a tuple .* received 1.5"),
        ({"ignore_label": (255, "void")}, r"`ignore_label`: .* received \(255, 'void'\)"),
    ],
)
def test_refuses_arguments(cls, settings, message):
    with pytest.raises(ValueError, match=message):
        cls(**settings)


@all_losses
def test_only_cross_entropy_has_a_sum(cls):
    if cls is losses.SegmentationCrossEntropy:
        assert cls(reduction="sum").reduction == "sum"
    else:
        with pytest.raises(ValueError, match=r"`reduction`: expected one of \['mean'\]"):
            cls(reduction="sum")


@all_losses
def test_refuses_weights_of_samples(cls):
    with pytest.raises(ValueError, match=f"`sample_weight`: {cls.__name__} takes none.*`ignore_l"):
        cls()(LABELS, LOGITS, sample_weight=COUNTED)


@all_losses
def test_an_empty_batch_has_no_loss(cls):
    assert float(references.eager(cls())(LABELS[:0], LOGITS[:0])) == 0


@all_losses
def test_refuses_another_number_of_class_weights(cls):
    with pytest.raises(ValueError, match="expected 5 weights, one for each .* received 2"):
        references.eager(cls(class_weights=[1.0, 2.0]))(LABELS, LOGITS)


@all_losses
@pytest.mark.parametrize("shape", [(2, 3, 2), (2, 4, 3), (2, 12), (24,)])
def test_refuses_labels_of_another_shape(cls, shape):
    with pytest.raises(ValueError, match=r"`y_true`: expected shape \(2, 3, 4\) for .*, received"):
        cls()(np.zeros(shape, int), LOGITS)
