import keras
import numpy as np
import pytest

from keras_dpn.losses import SegmentationCrossEntropy
from tests.keras_dpn.support import assert_close, gradients, random, to_numpy


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


@pytest.mark.parametrize("ignore_label", [-1, 0, 11])
def test_other_ignore_labels(ignore_label):
    labels = np.where(COUNTED, LABELS, ignore_label)
    counted = labels != ignore_label
    expected = pixel_losses(labels, LOGITS)[counted].mean()
    assert_close(SegmentationCrossEntropy(ignore_label)(labels, LOGITS), expected)


def test_ignored_pixels_may_hold_anything():
    logits = np.where(COUNTED[..., None], LOGITS, np.nan)
    expected = pixel_losses(LABELS, LOGITS)[COUNTED].mean()
    assert_close(SegmentationCrossEntropy()(LABELS, logits), expected)


def test_ignored_pixels_have_no_gradient():
    (gradient,) = gradients(lambda x: SegmentationCrossEntropy()(LABELS, x), LOGITS)
    assert not gradient[~COUNTED].any()
    assert gradient[COUNTED].all()


def test_class_weights():
    weights = np.array([0.0, 0.5, 1.0, 2.0, 8.0])
    each = weights[np.where(COUNTED, LABELS, 0)] * COUNTED
    expected = (pixel_losses(LABELS, LOGITS) * each).sum() / each.sum()
    assert_close(SegmentationCrossEntropy(class_weights=weights)(LABELS, LOGITS), expected)


@pytest.mark.parametrize(("hard_ratio", "kept"), [(0.5, 10), (0.25, 5), (0.01, 1), (1.0, 19)])
def test_hard_pixels(hard_ratio, kept):
    hardest = np.sort(pixel_losses(LABELS, LOGITS)[COUNTED])[::-1][:kept]
    loss = SegmentationCrossEntropy(hard_ratio=hard_ratio)
    assert_close(loss(LABELS, LOGITS), hardest.mean())
    (gradient,) = gradients(lambda x: loss(LABELS, x), LOGITS)
    assert np.any(gradient != 0, axis=-1).sum() == kept


def test_hard_pixels_with_class_weights():
    weights = np.array([0.0, 0.5, 1.0, 2.0, 8.0])
    losses, labels = pixel_losses(LABELS, LOGITS)[COUNTED], LABELS[COUNTED]
    hardest = np.argsort(losses)[::-1][:10]
    expected = np.average(losses[hardest], weights=weights[labels[hardest]])
    loss = SegmentationCrossEntropy(class_weights=weights, hard_ratio=0.5)
    assert_close(loss(LABELS, LOGITS), expected)


@pytest.mark.parametrize("settings", [{}, {"hard_ratio": 0.5}, {"class_weights": [1.0] * 5}])
def test_a_batch_without_a_counted_pixel(settings):
    loss, labels = SegmentationCrossEntropy(**settings), np.full((2, 3, 4), 255)
    assert float(loss(labels, LOGITS)) == 0
    (gradient,) = gradients(lambda x: loss(labels, x), LOGITS)
    assert not gradient.any()


@pytest.mark.parametrize("label", [-1, 5, 254])
@pytest.mark.parametrize(
    "settings", [{}, {"hard_ratio": 0.1}, {"class_weights": [0.0, 1.0, 1.0, 1.0, 1.0]}]
)
def test_labels_outside_of_the_classes_give_nan(label, settings):
    labels = LABELS.copy()
    labels[1, 1, 1] = label
    assert np.isnan(float(SegmentationCrossEntropy(**settings)(labels, LOGITS)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_logits(dtype):
    logits = keras.ops.cast(LOGITS, dtype)
    loss = SegmentationCrossEntropy()(LABELS, logits)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    rounded = to_numpy(keras.ops.cast(logits, "float32"))
    assert_close(loss, pixel_losses(LABELS, rounded)[COUNTED].mean())


def test_large_logits_stay_finite():
    logits = np.array([[[[1e4, -1e4]]]], "float32")
    assert float(SegmentationCrossEntropy()(np.array([[[1]]]), logits)) == 2e4


def test_trains_in_fit():
    model = keras.Sequential([keras.Input((None, None, 5)), keras.layers.Conv2D(5, 1)])
    model.compile("sgd", SegmentationCrossEntropy(class_weights=[1.0] * 5, hard_ratio=0.5))
    history = model.fit(LOGITS, LABELS, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_config_round_trip():
    loss = SegmentationCrossEntropy(11, np.array([1, 2]), 0.5, "sum", name="own")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is SegmentationCrossEntropy
    assert again.get_config() == loss.get_config()
    assert (again.ignore_label, again.class_weights, again.hard_ratio) == (11, [1.0, 2.0], 0.5)
    assert again.reduction == "sum"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hard_ratio": 0.0}, r"`hard_ratio`: expected a number in \(0, 1\], received 0.0"),
        ({"hard_ratio": 1.5}, r"`hard_ratio`: expected a number in \(0, 1\], received 1.5"),
        ({"reduction": "none"}, "`reduction`: expected one of .*'mean', 'sum'.*, received 'none'"),
        ({"class_weights": [1, -2]}, "`class_weights`: expected non-negative numbers"),
        ({"class_weights": [float("nan")]}, "`class_weights`: expected non-negative numbers"),
    ],
)
def test_refuses_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        SegmentationCrossEntropy(**settings)


def test_refuses_another_number_of_class_weights():
    loss = SegmentationCrossEntropy(class_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match="expected 5 weights, one for each .* received 2"):
        loss(LABELS, LOGITS)


@pytest.mark.parametrize("shape", [(2, 3, 2), (2, 4, 3), (2, 12), (24,)])
def test_refuses_labels_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"`y_true`: expected shape \(2, 3, 4\) for .*, received"):
        SegmentationCrossEntropy()(np.zeros(shape, int), LOGITS)
