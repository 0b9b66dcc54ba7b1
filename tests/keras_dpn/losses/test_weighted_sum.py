import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_dpn import losses
from tests.keras_dpn.losses import references
from tests.keras_dpn.support import TRACED, assert_close, random, to_numpy

LOGITS = random(4, 6, 5, 5, low=-3.0, high=3.0)
LABELS = np.random.default_rng(1).choice([0, 1, 2, 4, 255], (4, 6, 5))
ALL = [
    losses.SegmentationCrossEntropy(ohem_fraction=0.5),
    losses.SegmentationFocal(),
    losses.SegmentationDice(),
    losses.SegmentationJaccard(),
    losses.SegmentationTversky(),
    losses.LovaszSoftmax(stride=2),
]


@pytest.fixture(scope="module")
def each():
    """The value of each loss by itself."""
    return [float(references.eager(loss)(LABELS, LOGITS)) for loss in ALL]


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 0.5, 2.0, 3.0, 4.0]])
def test_is_the_sum(weights, each):
    found = references.eager(losses.WeightedSum(ALL, weights))(LABELS, LOGITS)
    assert_close(found, np.dot(weights or [1.0] * 6, each))


@TRACED
@pytest.mark.parametrize(
    ("policy", "xla"),
    [
        pytest.param("mixed_float16", False, marks=pytest.mark.tensorflow_only),
        ("mixed_bfloat16", True),
    ],
)
def test_trains_in_fit(policy, xla):
    """With unknown sizes, labels out of range, and a batch without any counted pixel."""
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential([keras.Input((None, None, 5)), keras.layers.Conv2D(5, 1)])
    model.compile(
        keras.optimizers.SGD(0.05), losses.WeightedSum(ALL[::2] + ALL[5:]), jit_compile=xla
    )
    labels = LABELS.copy()
    labels[0, 0] = 7
    history = model.fit(LOGITS, labels, epochs=2, verbose=0).history["loss"]
    assert history[-1] < history[0]
    before = [to_numpy(weight) for weight in model.weights]
    assert model.train_on_batch(LOGITS, np.full_like(labels, 255)) == 0
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), value)


def test_saves_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 5)), keras.layers.Identity()])
    loss = losses.WeightedSum(ALL, range(6), name="own")
    model.compile(loss=loss)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").loss
    assert type(again) is losses.WeightedSum and again.get_config() == loss.get_config()
    assert [type(loss) for loss in again.losses] == [type(loss) for loss in ALL]
    assert again.weights == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] and again.name == "own"


def test_refuses_weights_of_samples():
    loss = losses.WeightedSum([losses.SegmentationDice()])
    with pytest.raises(ValueError, match="`sample_weight`: WeightedSum takes none"):
        loss(np.zeros((1, 2), int), np.zeros((1, 2, 3), "float32"), np.ones(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), r"`losses`: expected instances of keras.losses.Loss, at .* received \[\]"),
        ((["dice"],), r"`losses`: expected instances .* received \['dice'\]"),
        ((ALL[:2], [1.0]), r"`weights`: expected 2 numbers, one for each .* received \[1.0\]"),
        ((ALL[:2], [1.0, -2.0]), r"`weights`: expected non-negative .* received \[1.0, -2.0\]"),
        ((ALL[:2], {0: 1.0, 1: 2.0}), r"`weights`: .* in order, received \{0: 1.0, 1: 2.0\}"),
    ],
)
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        losses.WeightedSum(*arguments)


TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
from keras_dpn import losses
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with np.load({path!r}) as data, strategy.scope():
    model = keras.Sequential([keras.Input((None, None, 5)), keras.layers.Identity()])
    terms = losses.SegmentationCrossEntropy(), losses.SegmentationDice()
    model.compile(loss=losses.WeightedSum(terms, [1.0, 2.0]))
    print("loss", model.evaluate(data["logits"], data["labels"], batch_size=4, verbose=0))
"""


@pytest.mark.tensorflow_only
def test_two_replicas_have_the_mean_of_their_losses(tmp_path):
    """In a process of its own, as devices are set up before TensorFlow first uses them."""
    path = tmp_path / "data.npz"
    np.savez(path, labels=LABELS, logits=LOGITS)
    command = [sys.executable, "-c", TWO_REPLICAS.format(path=str(path))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    loss = losses.WeightedSum(
        [losses.SegmentationCrossEntropy(), losses.SegmentationDice()], (1, 2)
    )
    expected = np.mean([loss(LABELS[i : i + 2], LOGITS[i : i + 2]) for i in (0, 2)])
    assert_close(float(done.stdout.split("loss")[1]), expected)
