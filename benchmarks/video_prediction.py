"""Peak memory and speed of predicting films: one of 100 frames, then one of 2,000.

    python -m benchmarks.video_prediction [--model flow]

The films have small frames and the network is a tiny one at random, so that what is measured is the
way of a frame: reading, flow, network, temporal consistency, drawing, encoding.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import resource
import tempfile
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from keras_dpn import Segmenter
from keras_dpn.io.video import VideoReader, VideoWriter
from keras_dpn.models import DPN, SpatialTemporalDPN
from training.data.generated.scenes import ScenesDataset
from training.prediction.video import predict_video


def main(
    model: Literal["image", "static", "flow"] = "image",
    frames: tuple[int, ...] = (100, 2000),
    size: tuple[int, int] = (96, 128),
) -> None:
    """Predicts films one after another in this process and prints a table.

    Args:
        model: a network of images, or a spatial-temporal one with static or flow links.
        frames: of each film.
        size: of a frame, height and width.
    """
    dataset = ScenesDataset({"val": 1}, size=(2 * size[0], 2 * size[1]))
    segmenter = Segmenter(build(model, dataset.classes.num_classes), dataset.classes)
    title = f"model: {model}, frames of {size[0]}x{size[1]}"
    table = Table("frames", "written", "seconds", "frames/s", "peak memory, MiB", title=title)
    for count in frames:
        with tempfile.TemporaryDirectory() as scratch:
            film = make_film(Path(scratch) / "film.mp4", dataset, count, size)
            report = predict_video(segmenter, film, Path(scratch) / "out", "film")
            written = VideoReader(Path(scratch) / "out/videos/film.mp4").frame_count
        seconds, rate = report.seconds, report.frames_per_second
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.add_row(str(count), str(written), f"{seconds:.1f}", f"{rate:.1f}", f"{peak:.0f}")
    Console().print(table)


def build(model: str, num_classes: int) -> keras.Model:
    """A tiny network with random weights."""
    tiny = {
        "backbone": {"name": "large_fov", "fc_width": 16},
        "width": 0.0625,
        "local_conv": {"window": 5},
        "contexts": {"window": 3, "mixtures": 2},
        "pairwise_stride": 4,
    }
    if model == "image":
        return DPN(num_classes, **tiny)
    return SpatialTemporalDPN(num_classes, linking=model, **tiny)


def make_film(path: Path, dataset: ScenesDataset, frames: int, size: tuple[int, int]) -> Path:
    """A camera that circles over one generated picture."""
    picture, _ = dataset.read(dataset.splits["val"][0])
    with VideoWriter(path, 25, size) as film:
        for index in range(frames):
            angle = 2 * np.pi * index / 100
            y, x = (
                int(n / 2 * (1 + f(angle))) for n, f in zip(size, (np.sin, np.cos), strict=True)
            )
            film.write(np.ascontiguousarray(picture[y : y + size[0], x : x + size[1]]))
    return path


if __name__ == "__main__":
    tyro.cli(main)
