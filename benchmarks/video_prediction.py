"""Peak memory and speed of predicting videos: one of 100 frames, then one of 2,000.

    python -m benchmarks.video_prediction [--model flow]

The videos have small frames and the network is tiny, with random weights, so that the whole path of
a frame is measured: reading, flow, network, temporal consistency, drawing, encoding.
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
    """Predict videos one after another in this process, and print a table.

    Args:
        model: a network of images, or a spatial-temporal one with static or flow links.
        frames: frames of each video.
        size: height and width of a frame.
    """
    dataset = ScenesDataset({"val": 1}, size=(2 * size[0], 2 * size[1]))
    segmenter = Segmenter(build(model, dataset.classes.num_classes), dataset.classes)
    title = f"model: {model}, frames of {size[0]}x{size[1]}"
    table = Table("frames", "written", "seconds", "frames/s", "peak memory, MiB", title=title)
    for count in frames:
        with tempfile.TemporaryDirectory() as scratch:
            clip = make_video(Path(scratch) / "clip.mp4", dataset, count, size)
            report = predict_video(segmenter, clip, Path(scratch) / "out", "clip")
            written = VideoReader(Path(scratch) / "out/videos/clip.mp4").frame_count
        seconds, rate = report.seconds, report.frames_per_second
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.add_row(str(count), str(written), f"{seconds:.1f}", f"{rate:.1f}", f"{peak:.0f}")
    Console().print(table)


def build(model: str, num_classes: int) -> keras.Model:
    """Return a tiny network with random weights."""
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


def make_video(path: Path, dataset: ScenesDataset, frames: int, size: tuple[int, int]) -> Path:
    """Write the video of a camera that circles over one generated image."""
    image, _ = dataset.read(dataset.splits["val"][0])
    with VideoWriter(path, 25, size) as writer:
        for index in range(frames):
            angle = 2 * np.pi * index / 100
            y, x = (
                int(n / 2 * (1 + f(angle))) for n, f in zip(size, (np.sin, np.cos), strict=True)
            )
            writer.write(np.ascontiguousarray(image[y : y + size[0], x : x + size[1]]))
    return path


if __name__ == "__main__":
    tyro.cli(main)
