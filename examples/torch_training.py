"""A network of PyTorch with a random field behind it, in a plain PyTorch training loop.

    KERAS_BACKEND=torch python -m examples.torch_training

On Keras's PyTorch backend a layer of keras_dpn is a `torch.nn.Module`. `FieldBehind` puts one
behind a network such as those of torchvision's `models.segmentation`, which take images
(B, 3, H, W) and return `{"out": logits}`, logits (B, L, H, W); the layers themselves have channels
last. The loop is PyTorch's own: `torch.optim`, `loss.backward()`, `state_dict()`.

It trains on generated images of a noisy sky, meadow and disc, and prints the loss and the accuracy
with each field. Measured with seed 0: accuracy 95.2 without a field, 97.8 with `MeanFieldCRF`, 97.7
with `DeepParsingField`, in half a minute on one core.
"""

from collections.abc import Callable

import keras
import numpy as np
import torch
from torch import nn

from keras_dpn.layers import DeepParsingField, MeanFieldCRF

NUM_CLASSES, IGNORE = 3, 255
COLORS = np.array([[120, 150, 200], [110, 160, 120], [150, 150, 150]], "float32")
NOISE = 40  # standard deviation of each pixel's colour
# Statistics of ImageNet's colours, as torchvision's networks expect them.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class SmallNetwork(nn.Module):
    """Stands for torchvision's networks: normalised images in, `{"out": logits}` out."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, NUM_CLASSES, 1),
        )

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.layers(x)}


class FieldBehind(nn.Module):
    """A network of PyTorch, and behind it a field that compares the image's colours.

    Args:
        network: from normalised images (B, 3, H, W) to `{"out": logits}`.
        field: `MeanFieldCRF`, `DeepParsingField`, or None. With a name of its own: the keys of
            `state_dict()` contain it.
        num_classes: L.

    Takes images (B, 3, H, W), RGB, 0-255, and returns logits (B, L, H, W).
    """

    def __init__(self, network: nn.Module, field: nn.Module | None, num_classes: int) -> None:
        super().__init__()
        self.network, self.field = network, field
        if field is not None:  # its weights must exist before the optimizer is made
            field.build(((None, None, None, num_classes), (None, None, None, 3)))
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.network((images - self.mean) / self.std)["out"]
        if self.field is None:
            return logits
        pair = logits.movedim(1, -1), images.movedim(1, -1)  # the layers have channels last
        return self.field(pair, training=self.training).movedim(-1, 1)


FIELDS: dict[str, Callable[[], nn.Module | None]] = {
    "none": lambda: None,
    "MeanFieldCRF": lambda: MeanFieldCRF(
        num_iterations=3,
        bilateral=None,
        spatial=(1.0, 2.0),
        compatibility="matrix",
        trainable_weights_of=("weights", "compatibility"),
        name="crf",
    ),
    "DeepParsingField": lambda: DeepParsingField(
        window=7, context_window=5, mixtures=3, name="field"
    ),
}


def make_images(count: int, size: int = 32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images float32 (count, 3, size, size), 0-255, and labels int64 (count, size, size)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    labels = np.stack([rows > rng.integers(size // 4, 3 * size // 4) for _ in range(count)])
    labels = labels.astype("int64")
    for label in labels:
        y, x = rng.uniform(0.2 * size, 0.8 * size, 2)
        label[(rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(0.15, 0.25) ** 2 * size**2] = 2
    images = COLORS[labels] + NOISE * rng.standard_normal((*labels.shape, 3), "float32")
    labels[:, 0] = IGNORE  # as an annotator's border that doesn't count
    images = torch.from_numpy(images.clip(0, 255)).movedim(-1, 1)
    return images, torch.from_numpy(labels)


def train(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    steps: int,
    batch_size: int = 8,
    learning_rate: float = 0.01,
) -> list[float]:
    """Train all weights of the network and of the field; return the loss of each step."""
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    model.train()
    losses = []
    for _ in range(steps):
        batch = torch.randperm(len(images))[:batch_size]
        logits = model(images[batch])
        loss = nn.functional.cross_entropy(logits, labels[batch], ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the fraction of the counted pixels that are labelled correctly."""
    model.eval()
    with torch.no_grad():
        predictions = model(images).argmax(1)
    return (predictions == labels)[labels != IGNORE].float().mean().item()


def main(steps: int = 150, seed: int = 0) -> None:
    """Train the network without a field and with each; print the losses and the accuracies."""
    device = keras.ops.zeros(()).device  # the GPU if there is one: Keras puts the field there
    images, labels = (x.to(device) for x in make_images(64, seed=seed))
    test = [x.to(device) for x in make_images(32, seed=seed + 1)]
    for name, make_field in FIELDS.items():
        torch.manual_seed(seed)
        model = FieldBehind(SmallNetwork(), make_field(), NUM_CLASSES).to(device)
        losses = train(model, images, labels, steps)
        score = 100 * accuracy(model, *test)
        print(f"{name:16} loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {score:.1f}")


if __name__ == "__main__":
    main()
