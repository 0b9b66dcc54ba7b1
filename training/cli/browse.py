"""Show what a network sees in training: augmented images next to their labels.

    keras-dpn browse camvid --data-dir DIR --out sheet.png --crop 240 320

Writes a contact sheet of what training with that seed sees in that epoch.
"""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ..data.registry import NAMES


def main(
    dataset: Positional[Literal[*NAMES]],
    data_dir: Path | None = None,
    *,
    out: Path,
    split: str = "train",
    crop: tuple[int, int] | None = None,
    scale: tuple[float, float] = (0.75, 1.5),
    horizontal_flip: bool = True,
    brightness: float = 0.1,
    contrast: float = 0.2,
    saturation: float = 0.2,
    rows: int = 4,
    columns: int = 4,
    seed: int = 0,
    epoch: int = 0,
) -> None:
    """Write a contact sheet of augmented training images next to their labels.

    Args:
        dataset: its layout.
        data_dir: its directory; generated ones need none.
        out: the PNG file to write.
        split: which split.
        crop: height and width of the images; by default those of the first.
        scale: smallest and largest factor of the random resize.
        horizontal_flip: flip every second image, at random.
        brightness: largest shift, as a fraction of 255.
        contrast: largest relative change.
        saturation: largest relative change.
        rows: rows of the sheet.
        columns: pairs per row.
        seed: the training run's seed.
        epoch: the epoch to show.
    """
    import os

    from keras_dpn import viz

    from ..data.contact_sheet import show
    from ..data.pipeline.batches import Augmentation, train_dataset
    from ..data.registry import load_dataset

    data = load_dataset(dataset, data_dir)
    examples = data.examples(split)
    if not examples:
        raise ValueError(f"The split {split!r} of {dataset} has no examples.")
    if rows < 1 or columns < 1:
        raise ValueError(f"Expected `rows` and `columns` from 1 up, got {rows} and {columns}.")
    crop = crop or data.read(examples[0])[1].shape
    augmentation = Augmentation(crop, scale, horizontal_flip, brightness, contrast, saturation)
    batches = train_dataset(
        data,
        split,
        batch_size=1,
        augmentation=augmentation,
        seed=seed,
        first_epoch=epoch,
        epochs=epoch + 1,
        cache=False,
    )
    pairs = [
        show(image[0], labels[0], data.classes)
        for image, labels in batches.take(rows * columns).as_numpy_iterator()
    ]
    titles = [str(number) for number in range(1, len(pairs) + 1)]
    sheet = viz.side_by_side(pairs, titles, columns)
    legend = viz.legend(data.classes.names, data.classes.colors, sheet.shape[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    part.write_bytes(viz.image_png(viz.stack([sheet, legend])))
    os.replace(part, out)
    print(f"{out}: {len(pairs)} pictures of epoch {epoch}")
