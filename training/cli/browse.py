"""Show what a network sees in training: augmented images next to their labels.

    keras-dpn browse camvid --data-dir DIR --out sheet.png --crop 240 320

Writes a contact sheet of the images that training with --seed sees in --epoch.
"""

from pathlib import Path

from tyro.conf import Positional

from ..configs.datasets import DatasetName


def main(
    dataset: Positional[DatasetName],
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
    rotation: float = 0.0,
    blur: float = 0.0,
    cutout: float = 0.0,
    rows: int = 4,
    columns: int = 4,
    seed: int = 0,
    epoch: int = 0,
    force: bool = False,
) -> None:
    """Write a contact sheet of augmented training images next to their labels.

    Args:
        dataset: name of the dataset, or of its layout.
        data_dir: directory of the dataset; generated ones need none.
        out: the PNG file to write.
        split: train, val or test.
        crop: height and width of the crops; by default those of the first image.
        scale: smallest and largest factor of the random resize.
        horizontal_flip: flip images left to right, with probability 1/2.
        brightness: largest shift of the brightness, as a fraction of 255.
        contrast: largest relative change of the contrast, 0..1.
        saturation: largest relative change of the saturation, 0..1.
        rotation: largest angle of a random rotation, in degrees.
        blur: largest standard deviation of a random Gaussian blur, in pixels.
        cutout: largest side of a hidden rectangle, as a fraction of the image's.
        rows: rows of the contact sheet.
        columns: pairs of image and labels per row.
        seed: the training run's seed.
        epoch: the epoch to show.
        force: replace a file that this command did not write.
    """
    from keras_dpn.viz import image_png

    from ..configs.schema import Augmentation
    from ..data.contact_sheet import contact_sheet
    from ..data.registry import load_dataset
    from ..rundir.outputs import replacing
    from ..utils.files import write_bytes

    if out.suffix.lower() != ".png":
        raise ValueError(f"--out: expected a name that ends in .png, received {out}.")
    data = load_dataset(dataset, data_dir)
    examples = data.examples(split)
    if not examples:
        raise ValueError(f"The split {split!r} of {dataset} has no examples.")
    crop = crop or data.read(examples[0])[1].shape
    augmentation = Augmentation(
        crop=crop,
        scale=scale,
        horizontal_flip=horizontal_flip,
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        rotation=rotation,
        blur=blur,
        cutout=cutout,
    )
    with replacing(out, command="browse", force=force):
        sheet = contact_sheet(
            data, split, augmentation, rows=rows, columns=columns, seed=seed, epoch=epoch
        )
        write_bytes(out, image_png(sheet))
    print(f"{out}: images of epoch {epoch}")
