"""Inference: a folder of images compared with the bare network, and the memory of large images.

    python -m benchmarks.inference folder [--count 40]
    python -m benchmarks.inference large [--memory 1.0] [--size 4000 6000]
    python -m benchmarks.inference network --network dpn [--size 640]

`folder` times what `keras-dpn predict` does with a folder, from JPEG files to label maps on disk,
and the network's `predict_on_batch` alone on the same images, alternately. `large` labels one image
in limited memory; `network` compares a forward pass with the estimate of
`keras_dpn.inference.tiles`. Both print how much the process grew, so each run is for one setting.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tyro
from PIL import Image

from keras_dpn import Segmenter, models
from keras_dpn.inference import InferenceSettings, Predictor
from keras_dpn.inference.tiles import bytes_per_pixel
from keras_dpn.io.images import read_image
from training.data.generated.scenes import ScenesDataset
from training.prediction.images import predict_images

Precision = Literal["float32", "mixed_bfloat16"]
NETWORKS = {
    "dpn": lambda: models.DPN(21, backbone="large_fov", pairwise_stride=4),
    "dpn_vgg16": lambda: models.DPN(21),
    "deeplab": lambda: models.DeepLab("largefov", num_classes=21),
    "deeplab_multiscale": lambda: models.DeepLab("largefov", num_classes=21, multiscale=True),
    "deeplab_crf": lambda: models.DeepLab("largefov", num_classes=21, crf={"num_iterations": 5}),
    "parsenet": lambda: models.ParseNet(21),
    "fcn": lambda: models.FCN(60),
}


def folder(
    count: int = 40,
    size: tuple[int, int] = (360, 480),
    precision: Precision = "float32",
    repeats: int = 3,
) -> None:
    """Time a folder of images, and the bare network.

    Args:
        count: number of images.
        size: their height and width.
        precision: of the network, DPN on DeepLab's LargeFOV backbone.
        repeats: rounds, each with both.
    """
    keras.config.set_dtype_policy(precision)
    dataset = ScenesDataset({"val": 4}, size)
    model = models.DPN(dataset.classes.num_classes, backbone="large_fov", pairwise_stride=4)
    rates: dict[str, list[float]] = {"bare network": [], "folder": []}
    with tempfile.TemporaryDirectory() as scratch:
        sources = _save_images(dataset, count, Path(scratch))
        images = [read_image(path).astype("float32")[None] for path in sources.values()]
        model.predict_on_batch(images[0])
        segmenter = Segmenter(model, dataset.classes)
        segmenter.labels(images[0][0])
        for number in range(repeats):
            started = time.perf_counter()
            for image in images:
                model.predict_on_batch(image)
            rates["bare network"].append(count / (time.perf_counter() - started))
            out = Path(scratch) / f"out{number}"
            started = time.perf_counter()
            predict_images(segmenter, sources, out)
            rates["folder"].append(count / (time.perf_counter() - started))
    for name, found in rates.items():
        print(f"{name}: {statistics.median(found):.2f} images per second")
    ratios = [a / b for a, b in zip(rates["folder"], rates["bare network"], strict=True)]
    print(f"the folder at {statistics.median(ratios):.1%} of the bare network's rate")


def large(
    memory: float = 1.0,
    size: tuple[int, int] = (4000, 6000),
    precision: Precision = "mixed_bfloat16",
) -> None:
    """Label one large image, and print how much the process grew.

    Args:
        memory: the limit in GiB.
        size: height and width of the image.
        precision: of the network, DPN on DeepLab's LargeFOV backbone.
    """
    keras.config.set_dtype_policy(precision)
    model = NETWORKS["dpn"]()
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), "uint8")
    predictor = Predictor(model, InferenceSettings(memory_gib=memory))
    predictor.labels(image[:64, :72])
    predictor.labels(image[:80, :64])
    before, started = _reset_peak(), time.perf_counter()
    labels = predictor.labels(image)
    side = predictor.settings.tile
    seconds, grown = time.perf_counter() - started, (_peak() - before) / 1024
    print(f"{size[0]}x{size[1]} in tiles of up to {side}: {seconds:.0f} s, {labels.shape} labels")
    print(f"limit {memory:.2f} GiB, the process grew by {grown:.2f} GiB at its peak")


def network(network: Literal[*NETWORKS], size: int = 640, precision: Precision = "float32") -> None:
    """Compare the memory of a forward pass with its estimate.

    Args:
        network: which one, at full width.
        size: side of the square image.
        precision: dtype policy of the network.
    """
    keras.config.set_dtype_policy(precision)
    model = NETWORKS[network]()
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), "uint8")
    predictor = Predictor(model)
    predictor.probabilities(image[:64, :72])
    predictor.probabilities(image[:80, :64])
    before = _reset_peak()
    predictor.probabilities(image)
    taken = (_peak() - before) * 2**20 / size**2
    estimated = bytes_per_pixel(model)
    numbers = f"{taken:.0f} bytes per pixel, estimated {estimated:.0f}"
    print(f"{network}, {precision}, {size}x{size}: {numbers}")


def _save_images(dataset: ScenesDataset, count: int, folder: Path) -> dict[str, Path]:
    examples = dataset.splits["val"]
    sources = {f"{i:03}": folder / f"{i:03}.jpg" for i in range(count)}
    for i, path in enumerate(sources.values()):
        Image.fromarray(dataset.read(examples[i % len(examples)])[0]).save(path, quality=90)
    return sources


def _reset_peak() -> float:
    """Forget the process's peak memory (Linux); what it takes now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"folder": folder, "large": large, "network": network})
