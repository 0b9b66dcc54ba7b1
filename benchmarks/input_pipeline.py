"""Images per second of the training pipeline, from files and from shards.

    python -m benchmarks.input_pipeline [--data-dir CAMVID]
    python -m benchmarks.input_pipeline --voc

Generated images of 360x480, or CamVid's; random scale 0.75 to 1.5, crops of 360x480, horizontal
flip and photometric jitter. Or, with --voc, generated JPEG files of 375x500, which is PASCAL VOC's
size, a random scale of 0.5 to 1.5 and crops of 321x321. Shards are those of `keras-dpn pack`. The
bare loop reads and decodes the files, and does nothing else.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from training.configs.schema import Augmentation
from training.data.dataset import Dataset
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_dataset
from training.data.pipeline.batches import train_dataset
from training.data.registry import load_dataset
from training.data.shards.writer import pack

CAMVID = Augmentation((360, 480), (0.75, 1.5), True, 0.1, 0.2, 0.2)
VOC = Augmentation((321, 321), (0.5, 1.5), True, 0.1, 0.2, 0.2)
VOC_SIZE = (375, 500)
BATCH = 8


def main(data_dir: Path | None = None, voc: bool = False, epochs: int = 5, count: int = 64) -> None:
    """Time the input pipeline.

    Args:
        data_dir: CamVid, in SegNet's layout; generated images by default.
        voc: generate JPEG files of PASCAL VOC's size instead.
        epochs: timed epochs; the table shows their median. One more comes first, untimed.
        count: images to generate.
    """
    with tempfile.TemporaryDirectory() as scratch:
        name, folder = ("camvid", data_dir) if data_dir else ("folder", Path(scratch) / "files")
        if data_dir is None:
            write_files(folder, count, VOC_SIZE if voc else CAMVID.crop, as_jpeg=voc)
        pack(name, folder, Path(scratch) / "shards", examples_per_shard=-(-count // 4))
        files = load_dataset(name, folder)
        shards = load_dataset("shards", Path(scratch) / "shards")
        table = Table("input", "images/s", "slowest", "fastest", title=describe(files))
        for words, rates in measure(files, shards, VOC if voc else CAMVID, epochs).items():
            numbers = (statistics.median(rates), min(rates), max(rates))
            table.add_row(words, *(f"{number:.0f}" for number in numbers))
    Console().print(table)


def write_files(out: Path, count: int, size: tuple[int, int], as_jpeg: bool) -> None:
    """Write generated images in the folder layout."""
    write_dataset(ScenesDataset({"train": count}, size), out)
    for path in (out / "images").iterdir() if as_jpeg else ():
        Image.open(path).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()


def describe(dataset: Dataset) -> str:
    paths = [example.image for example in dataset.splits["train"]]
    kib = sum(path.stat().st_size for path in paths) / len(paths) / 1024
    with Image.open(paths[0]) as image:
        size = f"{image.width}x{image.height}"
    return f"{len(paths)} images, {size}, {paths[0].suffix} of {kib:.0f} KiB"


def measure(
    files: Dataset, shards: Dataset, augmentation: Augmentation, epochs: int
) -> dict[str, list[float]]:
    """Images per second in each epoch after the first, for each way of reading."""
    crop = augmentation.crop
    augmentations = {
        "crop": Augmentation(crop, horizontal_flip=False),
        "scale, crop, horizontal flip": Augmentation(crop, augmentation.scale),
        "all": augmentation,
    }
    rates = {"bare loop over Pillow": timed(lambda epoch: bare_loop(files), epochs)}
    for name, chosen in augmentations.items():
        rates[f"cached: {name}"] = pipeline(files, chosen, True, epochs)
        rates[f"files: {name}"] = pipeline(files, chosen, False, epochs)
        rates[f"shards: {name}"] = pipeline(shards, chosen, False, epochs)
    return rates


def bare_loop(dataset: Dataset) -> int:
    """Read every image and label map once; return how many."""
    for example in dataset.splits["train"]:
        for path in (example.image, example.label):
            with Image.open(path) as image:
                np.asarray(image)
    return len(dataset.splits["train"])


def pipeline(dataset: Dataset, augmentation: Augmentation, cache: bool, epochs: int) -> list[float]:
    """Images per second of `train_dataset` in each epoch after the first."""
    batches = train_dataset(
        dataset,
        "train",
        batch_size=BATCH,
        augmentation=augmentation,
        seed=0,
        epochs=epochs + 1,
        cache=cache,
    )
    iterator = iter(batches)
    steps = len(dataset.splits["train"]) // BATCH

    def epoch(_: int) -> int:
        for _ in range(steps):
            next(iterator)
        return steps * BATCH

    return timed(epoch, epochs)


def timed(function: Callable[[int], int], epochs: int) -> list[float]:
    """Calls a function once untimed and then `epochs` times; what it returns, per second."""
    rates = []
    for number in range(epochs + 1):
        start = time.perf_counter()
        images = function(number)
        rates.append(images / (time.perf_counter() - start))
    return rates[1:]


if __name__ == "__main__":
    tyro.cli(main)
