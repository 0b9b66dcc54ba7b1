import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_dpn import losses, metrics
from tests.keras_dpn.support import TRACED, random

LOGITS = random(6, 4, 5, 4)
LABELS = np.random.default_rng(1).choice([0, 1, 3, 255], (6, 4, 5))  # 2 only predicted
EXPECTED = metrics.confusion_matrix(LABELS, LOGITS.argmax(-1), 4)


def values(metric):
    return {name: float(value) for name, value in metric.result().items()}


def expected_scores(confusion=EXPECTED, out_of_range=0):
    found = metrics.scores(confusion)
    known = {name: found[name] for name in found if name != "iou"}
    return pytest.approx({**known, "out_of_range": out_of_range}, rel=1e-6)


@pytest.mark.parametrize(
    ("batch_size", "padded"),
    [(4, True), (8, False)]
    + [pytest.param(*p, marks=pytest.mark.tensorflow_only) for p in ((1, False), (3, True))],
)
def test_any_batch_size_gives_the_same_counts(batch_size, padded):
    metric = metrics.SegmentationScores(4)
    for i in range(0, 6, batch_size):
        labels, logits = LABELS[i : i + batch_size], LOGITS[i : i + batch_size]
        if padded:  # to whole batches of larger images
            padding = [(0, batch_size - len(labels)), (0, 3), (0, 2)]
            labels = np.pad(labels, padding, constant_values=255)
            logits = np.pad(logits, [*padding, (0, 0)])
        metric.update_state(labels, logits)
    np.testing.assert_array_equal(metric.confusion, EXPECTED)
    assert values(metric) == expected_scores()


def test_reset():
    metric = metrics.SegmentationScores(4)
    metric.update_state(LABELS, LOGITS)
    metric.reset_state()
    assert not metric.confusion.any()
    assert values(metric) == dict.fromkeys(values(metric), 0.0)


def test_absent_classes_do_not_enter_the_means():
    metric = metrics.SegmentationScores(9)
    metric.update_state(LABELS, np.pad(LOGITS, [(0, 0)] * 3 + [(0, 5)], constant_values=-1))
    assert values(metric) == expected_scores()


def test_counts_beyond_2_to_24_stay_exact():
    metric = metrics.SegmentationScores(2)
    metric._counts.assign([[2**24, 0], [0, 2**30]])
    metric.update_state([[[0, 1]]], [[[[1.0, 0.0], [0.0, 1.0]]]])
    assert metric.confusion.tolist() == [[2**24 + 1, 0], [0, 2**30 + 1]]
    for _ in range(4):  # to more than int32 counts
        metric._counts.assign([[2**24, 0], [0, 2**30]] + metric._counts)
        metric.update_state([[[0, 1]]], [[[[1.0, 0.0], [0.0, 1.0]]]])
    assert metric.confusion.tolist() == [[5 * 2**24 + 5, 0], [0, 5 * 2**30 + 5]]
    assert float(metric.result()["miou"]) == 1


@pytest.mark.parametrize("ignore_label", [7, (255, 7, -1), [-1, 7]])
def test_other_ignore_labels(ignore_label):
    labels, several = LABELS.copy(), np.atleast_1d(ignore_label)
    void = labels == 255
    labels[void] = several[np.arange(void.sum()) % len(several)]
    metric = metrics.SegmentationScores(4, ignore_label)
    metric.update_state(labels, LOGITS)
    np.testing.assert_array_equal(metric.confusion, EXPECTED)
    assert values(metric) == expected_scores()


def test_an_ignore_label_may_be_a_class_or_none():
    metric = metrics.SegmentationScores(4, (255, 1))
    metric.update_state(LABELS, LOGITS)
    assert not metric.confusion[1].any()
    np.testing.assert_array_equal(metric.confusion[[0, 2, 3]], EXPECTED[[0, 2, 3]])
    metric = metrics.SegmentationScores(4, None)
    metric.update_state(LABELS % 4, LOGITS)
    assert metric.confusion.sum() == LABELS.size


@pytest.mark.parametrize("label", [-3, -1, 4, 7, 254, 1.5, np.nan])
def test_labels_out_of_range_are_refused(label):
    metric, labels = metrics.SegmentationScores(4), LABELS.astype("float32")
    labels[2, 1, 3] = label
    message = rf"`y_true`: expected integers 0 ... 3, .* {label:g} \(pixels out of range: 1"
    with pytest.raises(ValueError, match=message):
        metric.update_state(labels, LOGITS)
    assert not metric.confusion.any()


@TRACED
@pytest.mark.parametrize("xla", [False, True])
def test_labels_out_of_range_are_counted_in_a_compiled_step(xla):
    if keras.backend.backend() == "jax" and not xla:
        pytest.skip("JAX runs step by step then, and refuses them.")
    model = keras.Sequential([keras.Input((None, None, 4)), keras.layers.Identity()])
    metric = metrics.SegmentationScores(4)
    model.compile(loss=losses.SegmentationCrossEntropy(), metrics=[metric], jit_compile=xla)
    void, labels = np.argwhere(LABELS == 255)[:5], LABELS.astype("float32")
    labels[tuple(void.T)] = [-1, 4, 7, 1.5, np.nan]
    for _ in range(2):  # the second time starts at 0 again
        found = model.evaluate(LOGITS, labels, batch_size=4, verbose=0, return_dict=True)
    wanted = expected_scores(out_of_range=5)
    assert {name: found[name] for name in wanted.expected} == wanted
    np.testing.assert_array_equal(metric.confusion, EXPECTED)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("channel", [False, True])
def test_label_dtypes_and_shapes(dtype, channel):
    metric, labels = metrics.SegmentationScores(4), LABELS.astype(dtype)
    metric.update_state(labels[..., None] if channel else labels, LOGITS)
    np.testing.assert_array_equal(metric.confusion, EXPECTED)


@pytest.mark.parametrize(
    "policy",
    ["mixed_bfloat16"]
    + [pytest.param(p, marks=pytest.mark.tensorflow_only) for p in ("float32", "mixed_float16")],
)
def test_in_evaluate(policy):
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential([keras.Input((None, None, 4)), keras.layers.Identity(dtype="float32")])
    model.compile(loss=losses.SegmentationCrossEntropy(), metrics=[metrics.SegmentationScores(4)])
    found = model.evaluate(LOGITS, LABELS, batch_size=4, verbose=0, return_dict=True)
    assert {name: found[name] for name in values(metrics.SegmentationScores(4))} == (
        expected_scores()
    )


def test_each_output_has_its_own_scores():
    image = keras.Input((None, None, 4))
    model = keras.Model(image, {name: keras.layers.Identity(name=name)(image) for name in "ab"})
    named = {"a": metrics.SegmentationScores(4, name="a"), "b": metrics.SegmentationScores(4)}
    model.compile(loss=dict.fromkeys("ab", losses.SegmentationCrossEntropy()), metrics=named)
    targets = {"a": LABELS, "b": np.zeros_like(LABELS)}
    found = model.evaluate(LOGITS, targets, verbose=0, return_dict=True)
    alone = metrics.SegmentationScores(4)
    alone.update_state(LABELS, LOGITS)
    assert found["a_miou"] == pytest.approx(float(alone.result()["miou"]))
    assert found["miou"] != found["a_miou"]


def test_config_round_trip():
    for ignore_label in (11, (11, -1), None):
        metric = metrics.SegmentationScores(4, ignore_label, name="own")
        again = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert type(again) is metrics.SegmentationScores
        assert again.get_config() == metric.get_config()
        assert again.ignore_label == ignore_label


def test_errors():
    with pytest.raises(ValueError, match=r"`y_pred`: expected 3 classes.*\(6, 4, 5, 4\)"):
        metrics.SegmentationScores(3).update_state(LABELS, LOGITS)
    with pytest.raises(ValueError, match=r"`y_true`: expected shape \(6, 4, 5\)"):
        metrics.SegmentationScores(4).update_state(LABELS.transpose(0, 2, 1), LOGITS)
    with pytest.raises(ValueError, match="`ignore_label`: expected an integer, a tuple"):
        metrics.SegmentationScores(4, 25.5)
    with pytest.raises(ValueError, match="`num_classes`: expected an integer of at least 1"):
        metrics.SegmentationScores(0)
    with pytest.raises(ValueError, match="`sample_weight`: SegmentationScores takes none"):
        metrics.SegmentationScores(4).update_state(LABELS, LOGITS, np.ones(6))


TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
from keras_dpn import losses, metrics
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
with np.load({path!r}) as data, strategy.scope():
    labels, logits = data["labels"], data["logits"]
    model = keras.Sequential([keras.Input((None, None, 4)), keras.layers.Identity()])
    metric = metrics.SegmentationScores(4)
    model.compile(loss=losses.SegmentationCrossEntropy(), metrics=[metric])
for _ in range(2):  # the second time starts at 0 again
    model.evaluate(logits, labels, batch_size=2, verbose=0)
np.save({path!r} + ".npy", metric.confusion)
print("out of range", int(metric.result()["out_of_range"]))
"""


@pytest.mark.tensorflow_only
def test_two_replicas(tmp_path):
    """In a process of its own, as devices are set up before TensorFlow first uses them."""
    path = tmp_path / "data.npz"
    labels = LABELS.copy()
    labels[(0, 4), 0, 0] = -1, 7  # one for each replica
    np.savez(path, labels=labels, logits=LOGITS)
    command = [sys.executable, "-c", TWO_REPLICAS.format(path=str(path))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    labels[(0, 4), 0, 0] = 255
    expected = metrics.confusion_matrix(labels, LOGITS.argmax(-1), 4)
    np.testing.assert_array_equal(np.load(f"{path}.npy"), expected)
    assert "out of range 2" in done.stdout
