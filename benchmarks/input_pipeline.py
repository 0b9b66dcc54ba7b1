"""Images per second of the training pipeline, against a bare loop over Pillow.

    python -m benchmarks.input_pipeline [--data-dir CAMVID]

Generated pictures of 360x480, or CamVid's; random scale 0.75 to 1.5, crops of 360x480, mirror and
photometric jitter. The bare loop reads and decodes, and does nothing else.
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

from training.data import Dataset, load_dataset
from training.data.pipeline import Augmentation, train_dataset
from training.data.scenes import ScenesDataset, write_folder

SIZE = (360, 480)
BATCH = 8
AUGMENTATIONS = {
    "crop": Augmentation(SIZE, mirror=False),
    "scale, crop, mirror": Augmentation(SIZE, (0.75, 1.5)),
    "all": Augmentation(SIZE, (0.75, 1.5), True, 0.1, 0.2, 0.2),
}


def main(data_dir: Path | None = None, epochs: int = 5, count: int = 64) -> None:
    """Times the input pipeline.

    Args:
        data_dir: CamVid, in SegNet's layout; generated pictures by default.
        epochs: timed epochs; the table shows their median. One more comes first, untimed.
        count: pictures to generate.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if data_dir is None:
            write_folder(ScenesDataset({"train": count}, SIZE), Path(scratch))
            dataset = load_dataset("folder", Path(scratch))
        else:
            dataset = load_dataset("camvid", data_dir)
        table = Table("input", "images/s", "slowest", "fastest", title=dataset.name)
        for name, rates in measure(dataset, epochs).items():
            numbers = (statistics.median(rates), min(rates), max(rates))
            table.add_row(name, *(f"{number:.0f}" for number in numbers))
    Console().print(table)


def measure(dataset: Dataset, epochs: int) -> dict[str, list[float]]:
    """Images per second in each epoch after the first, for each way of reading."""
    rates = {"bare loop over Pillow": timed(lambda epoch: bare_loop(dataset), epochs)}
    for name, augmentation in AUGMENTATIONS.items():
        for cache in (True, False):
            words = f"pipeline, {'cached' if cache else 'decoding'}: {name}"
            rates[words] = pipeline(dataset, augmentation, cache, epochs)
    return rates


def bare_loop(dataset: Dataset) -> int:
    """Reads every picture and label map once; returns how many."""
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
