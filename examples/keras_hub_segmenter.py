"""A segmenter of KerasHub with a random field behind it: trained, saved, loaded, exported.

    python -m examples.keras_hub_segmenter

It builds a tiny SegFormer with random weights, and puts first `DeepParsingField`, then
`MeanFieldCRF` behind it: the field compares the colours of the image that the network sees. Use a
pretrained one, `keras_hub.models.SegFormerImageSegmenter.from_preset(...)`, in the same way;
KerasHub's networks take images of one size, that of the preset.

KerasHub requires tensorflow-text, which requires the full tensorflow package; next to
tensorflow-cpu install it without them:

    pip install --no-deps keras-hub kagglehub kagglesdk regex sentencepiece tokenizers
"""

import tempfile
from pathlib import Path

import keras
import keras_hub
import numpy as np

from keras_dpn.export import export
from keras_dpn.layers import DeepParsingField, MeanFieldCRF
from keras_dpn.losses import SegmentationCrossEntropy

NUM_CLASSES = 3
# Statistics of ImageNet's colours, which KerasHub's presets subtract in a preprocessor.
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])

FIELDS = {
    "DeepParsingField": lambda: DeepParsingField(window=7, context_window=5, mixtures=2),
    "MeanFieldCRF": lambda: MeanFieldCRF(
        num_iterations=3,
        bilateral=(1.0, 5.0, 20.0),
        spatial=(1.0, 2.0),
        compatibility="matrix",
        trainable_weights_of=("weights", "compatibility"),
    ),
}


def make_segmenter(size: int = 64, width: int = 8) -> keras.Model:
    """Return a SegFormer of random weights: normalised images (B, size, size, 3) to logits."""
    encoder = keras_hub.models.MiTBackbone(
        image_shape=(size, size, 3),
        num_layers=4,
        hidden_dims=[width, 2 * width, 3 * width, 4 * width],  # all differ: they name layers
        layerwise_depths=[1, 1, 1, 1],
        layerwise_num_heads=[1, 1, 1, 1],
        layerwise_sr_ratios=[8, 4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        max_drop_path_rate=0.0,
    )
    backbone = keras_hub.models.SegFormerBackbone(encoder, projection_filters=width)
    return keras_hub.models.SegFormerImageSegmenter(backbone, num_classes=NUM_CLASSES)


def with_field(segmenter: keras.Model, field: keras.layers.Layer) -> keras.Model:
    """Return the segmenter with its preprocessing before it and the field behind it.

    It takes images (B, H, W, 3), RGB, 0-255, and returns logits (B, H, W, L).
    """
    image = keras.Input(segmenter.input.shape[1:], name="image")
    x = keras.layers.Rescaling((1 / STD).tolist(), (-MEAN / STD).tolist(), name="preprocess")(image)
    return keras.Model(image, field((segmenter(x), image)))


def make_images(count: int, size: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy images uint8 (count, size, size, 3) of a rectangle per class, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((count, size, size), "uint8")
    for label in labels:
        for number in range(1, NUM_CLASSES):
            top, left = rng.integers(0, size // 2, 2)
            label[top : top + size // 2, left : left + size // 2] = number
    colors = np.array([[60, 90, 60], [160, 120, 90], [90, 110, 180]])
    images = colors[labels] + rng.normal(0, 30, (*labels.shape, 3))
    return images.clip(0, 255).astype("uint8"), labels


def train(model: keras.Model, steps: int, size: int = 64, seed: int = 0) -> list[float]:
    """Train the network and the field together; return the loss of each step."""
    images, labels = make_images(8, size, seed)
    model.compile(keras.optimizers.Adam(3e-3), SegmentationCrossEntropy())
    history = model.fit(images, labels, batch_size=len(images), epochs=steps, verbose=0)
    return history.history["loss"]


def main(steps: int = 60, seed: int = 0) -> None:
    """Train a SegFormer with each field; save, load and export it.

    Args:
        steps: of training, of 8 images each.
        seed: of the weights and the images.
    """
    for name, make_field in FIELDS.items():
        keras.utils.set_random_seed(seed)
        model = with_field(make_segmenter(), make_field())
        losses = train(model, steps, seed=seed)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory)
            model.save(path / "model.keras")
            loaded = keras.saving.load_model(path / "model.keras")
            images, _ = make_images(2, seed=seed + 1)
            difference = np.abs(
                loaded.predict(images, verbose=0) - model.predict(images, verbose=0)
            )
            export(loaded, path / "segmenter")
        print(
            f"{name:16} loss {losses[0]:.3f} -> {losses[-1]:.3f}; saved, loaded, exported", end=""
        )
        print(f" (logits differ by {difference.max():.1g})")


if __name__ == "__main__":
    main()
