"""A contact sheet of augmented training images next to their labels."""

import numpy as np

from keras_dpn import viz
from keras_dpn.classes import Classes

from ..configs.schema import Augmentation
from .dataset import Dataset
from .pipeline.batches import train_dataset


def contact_sheet(
    dataset: Dataset,
    split: str,
    augmentation: Augmentation,
    *,
    rows: int,
    columns: int,
    seed: int,
    epoch: int = 0,
) -> np.ndarray:
    """Draw the first images of a training epoch next to their labels, with a legend.

    Args:
        dataset: where the images come from.
        split: one of the dataset's.
        augmentation: the augmentation of the images.
        rows: rows of the sheet.
        columns: image and label pairs per row.
        seed: the training run's seed.
        epoch: counted from 0; the same seed and epoch show what training sees.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: on fewer than one row or column, and as `train_dataset`.
    """
    if rows < 1 or columns < 1:
        raise ValueError(f"Expected `rows` and `columns` from 1 up, received {rows} and {columns}.")
    batches = train_dataset(
        dataset,
        split,
        batch_size=1,
        augmentation=augmentation,
        seed=seed,
        first_epoch=epoch,
        epochs=epoch + 1,
        cache=False,
    )
    pairs = [
        show_labels(image[0], labels[0], dataset.classes)
        for image, labels in batches.take(rows * columns).as_numpy_iterator()
    ]
    titles = [str(number) for number in range(1, len(pairs) + 1)]
    sheet = viz.side_by_side(pairs, titles, columns)
    names = [*dataset.classes.names, "ignored, padding"]
    legend = viz.legend(names, [*dataset.classes.colors, viz.IGNORE_COLOR], sheet.shape[1])
    return viz.stack([sheet, legend])


def show_labels(image: np.ndarray, labels: np.ndarray, classes: Classes) -> np.ndarray:
    """Draw an image, float (H, W, 3) 0..255, next to its labels (H, W): uint8 (H, 2W, 3)."""
    colors = viz.colorize(labels, classes.colors, classes.ignore)
    return np.concatenate([np.rint(image).astype("uint8"), colors], axis=1)
