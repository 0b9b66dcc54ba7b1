"""Organs in a noisy volume with thick slices: a random field over three axes.

    python -m examples.volume_3d

A generator fills volumes of 10 slices, 3 mm apart, of 32x32 pixels of 1 mm with ellipsoids: organs
of two kinds, and vessels, which run through the organs of one kind. The unary term, a small 3-D
convolutional network, is trained on the noisy volumes and then stays as it is. Behind it a random
field is trained:

* `LocalConv3D` with `spacing=(3.0, 1.0, 1.0)`: the triple penalty, which compares each voxel with
  those around it by intensities and by distances in millimetres, so that a neighbour in the next
  slice is as far away as the third pixel in the same one;
* label contexts over its result, a convolution and `BlockMinPool`, as in the Deep Parsing Network.

It prints the mIoU on new volumes without and with the field. Measured with seeds 0, 1 and 2:
68.5, 64.0 and 64.0 without, 80.3, 78.0 and 77.3 with it, in 15 seconds on two cores.
"""

import keras
import numpy as np
from keras import layers
from scipy import ndimage

from keras_dpn.layers import BlockMinPool, LocalConv3D
from keras_dpn.losses import SegmentationCrossEntropy
from keras_dpn.metrics import SegmentationScores
from keras_dpn.ops import mean_field_update

CLASSES = ("tissue", "liver", "spleen", "vessel")
TISSUE, LIVER, SPLEEN, VESSEL = range(4)
SIZE = (10, 32, 32)  # voxels
SPACING = (3.0, 1.0, 1.0)  # millimetres from one voxel to the next
INTENSITY = np.array([0.0, 1.0, 1.6, 2.6], "float32")
NOISE = 0.8  # standard deviation


def make_volumes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Volumes float32 (count, 10, 32, 32, 1) and their labels uint8 (count, 10, 32, 32)."""
    rng = np.random.default_rng(seed)
    labels = np.stack([_anatomy(rng) for _ in range(count)])
    # What a scanner blurs, it blurs by as many millimetres along each axis.
    blur = (0, *(0.7 / np.array(SPACING)))
    volumes = ndimage.gaussian_filter(INTENSITY[labels], blur)
    volumes += NOISE * rng.standard_normal(volumes.shape, "float32")
    return volumes[..., None], labels


def _anatomy(rng: np.random.Generator) -> np.ndarray:
    labels = np.full(SIZE, TISSUE, "uint8")
    for organ in (LIVER, SPLEEN, LIVER, SPLEEN):
        centre = rng.uniform(0.15, 0.85, 3) * SIZE * SPACING
        inside = _ellipsoid(centre, rng.uniform(6, 11, 3))
        labels[inside] = organ
        if organ == LIVER:
            for _ in range(2):
                vessel = _ellipsoid(centre + rng.uniform(-4, 4, 3), [3, 2.5, rng.uniform(5, 9)])
                labels[vessel & inside] = VESSEL
    return labels


def _ellipsoid(centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """The voxels (D, H, W) inside of an ellipsoid; centre and radii in millimetres."""
    offsets = [
        ((np.arange(n) + 0.5) * step - middle) / radius
        for n, step, middle, radius in zip(SIZE, SPACING, centre, radii, strict=True)
    ]
    z, y, x = np.ix_(*offsets)
    return z**2 + y**2 + x**2 <= 1


def build_models(mixtures: int = 3) -> dict[str, keras.Model]:
    """The unary term and the field behind it, which shares its weights.

    Args:
        mixtures: K, how many label context filters each label has; the smallest penalty counts.

    Returns:
        Models "unary" and "field", from volumes (B, D, H, W, 1) to logits (B, D, H, W, 4), for any
        size.
    """
    volume = keras.Input((None, None, None, 1))
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(volume)
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(x)
    unary = layers.Activation("log_softmax")(layers.Conv3D(len(CLASSES), 1)(x))

    b12 = LocalConv3D(
        (5, 13, 13),
        color_weight=1.0,
        position_weight=0.05,  # per square millimetre
        spacing=SPACING,
        name="b12",
    )
    b13 = layers.Conv3D(
        len(CLASSES) * mixtures,
        (1, 3, 3),
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),  # hardly a penalty yet
        name="b13",
    )
    b14 = BlockMinPool(mixtures, name="b14")
    logits = unary
    for _ in range(2):
        logits = mean_field_update(unary, logits, lambda q: b14(b13(b12((q, volume)))))
    outputs = {"unary": unary, "field": logits}
    return {name: keras.Model(volume, output, name=name) for name, output in outputs.items()}


def train(models: dict[str, keras.Model], steps: int, seed: int) -> None:
    """Trains the unary term, freezes it, and trains the field behind it."""
    rng = np.random.default_rng(seed)
    volumes, labels = make_volumes(32, seed)
    for name, model in models.items():
        model.compile(keras.optimizers.Adam(1e-2), SegmentationCrossEntropy())
        # Four times as many for the unary term: what it could still learn is no gain of a field's.
        for _ in range(4 * steps if name == "unary" else steps):
            batch = rng.choice(len(volumes), 2, replace=False)
            model.train_on_batch(volumes[batch], labels[batch])
        if name == "unary":
            model.trainable = False


def score(models: dict[str, keras.Model], seed: int) -> dict[str, float]:
    """The mIoU of each model on volumes of their own."""
    volumes, labels = make_volumes(16, seed + 1000)
    scores = {}
    for name, model in models.items():
        metric = SegmentationScores(len(CLASSES))
        metric.update_state(labels, model.predict(volumes, batch_size=2, verbose=0))
        scores[name] = float(metric.result()["miou"])
    return scores


def run_example(steps: int = 120, seed: int = 0) -> dict[str, float]:
    """Trains everything and returns the mIoU of "unary" and "field".

    Args:
        steps: training steps of two volumes for the field; four times as many for the network.
        seed: of the weights and the volumes.
    """
    if steps < 1:
        raise ValueError(f"Invalid value for argument `steps`: expected 1 or more, got {steps}.")
    keras.utils.set_random_seed(seed)
    models = build_models()
    train(models, steps, seed)
    return score(models, seed)


def main(steps: int = 120, seed: int = 0) -> None:
    """Trains a network and a random field on generated volumes; prints what they score.

    Args:
        steps: training steps for the field; four times as many for the network.
        seed: of the weights and the volumes.
    """
    for name, miou in run_example(steps, seed).items():
        print(f"{name:10} mIoU {100 * miou:.1f}")


if __name__ == "__main__":
    main()
