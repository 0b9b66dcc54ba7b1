"""Time of each metric of an evaluation next to the network's, at 360x480.

    python -m benchmarks.evaluation [--precision mixed_bfloat16] [--repeats 20]

The network has random weights, so the metrics get another prediction, like that of a trained one:
the true labels, shifted by three pixels. All alternate in one process.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics
import time
from collections.abc import Callable
from typing import Literal

import keras
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from keras_dpn import metrics
from keras_dpn.inference import Predictor
from keras_dpn.models import DPN
from training.data.generated.scenes import ScenesDataset


def main(
    precision: Literal["float32", "mixed_bfloat16"] = "float32",
    size: tuple[int, int] = (360, 480),
    repeats: int = 20,
) -> None:
    """Times the network and the metrics, image after image, and prints a table.

    Args:
        precision: of the network, DPN on DeepLab's LargeFOV backbone.
        size: of the images, height and width.
        repeats: images.
    """
    keras.config.set_dtype_policy(precision)
    dataset = ScenesDataset({"val": 1}, size)
    image, labels = dataset.read(dataset.splits["val"][0])
    model = DPN(dataset.classes.num_classes, backbone="large_fov", pairwise_stride=4)
    predictor = Predictor(model)
    work = {"network": lambda: predictor.probabilities(image)}
    work |= metric_calls(labels, dataset.classes.num_classes, dataset.classes.ignore)
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats + 1):
        for name, call in work.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(found[1:]) for name, found in seconds.items()}
    table = Table("", "ms an image", "share of the network's", title=f"{size}, {precision}")
    for name, found in medians.items():
        table.add_row(name, f"{1000 * found:.1f}", f"{found / medians['network']:.1%}")
    always = sum(medians[name] for name in ("mIoU", "TA, LA, BA", "ECE"))
    table.add_section()
    table.add_row(
        "all that evaluate always counts",
        f"{1000 * always:.1f}",
        f"{always / medians['network']:.1%}",
        style="bold",
    )
    Console().print(table)


def metric_calls(labels: np.ndarray, count: int, ignore: int) -> dict[str, Callable[[], object]]:
    """What `training.evaluate` counts of an image, by name."""
    shifted = np.roll(labels, 3, axis=1)
    predicted = np.where(shifted == ignore, 0, shifted)
    probabilities = np.random.default_rng(0).uniform(0.3, 1, (*labels.shape, count))
    probabilities = probabilities.astype("float32")
    pixels = labels, predicted, count, ignore

    def calibration() -> np.ndarray:
        places = predicted[..., None].astype("int64")
        confidences = np.take_along_axis(probabilities, places, axis=-1)[..., 0]
        return metrics.calibration_counts(labels, predicted, confidences, ignore)

    return {
        "mIoU": lambda: metrics.confusion_matrix(*pixels),
        "TA, LA, BA": lambda: metrics.object_counts(*pixels),
        "ECE": calibration,
        "trimap, on request": lambda: metrics.trimap_confusions(*pixels, "boundary"),
    }


if __name__ == "__main__":
    tyro.cli(main)
