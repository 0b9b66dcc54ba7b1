"""Time per frame of reading a video: `VideoReader` (PyAV), and OpenCV.

    python -m benchmarks.video_reading

A camera circles over a generated scene. Both readers take turns, in one process.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.video_prediction import make_video
from keras_dpn.io.video import VideoReader
from training.data.generated.scenes import ScenesDataset


def main(
    sizes: tuple[tuple[int, int], ...] = ((360, 480), (720, 1280)),
    frames: int = 60,
    repeats: int = 5,
) -> None:
    """Read videos of several sizes, and print the medians.

    Args:
        sizes: heights and widths.
        frames: frames of each video.
        repeats: times that each reader reads it.
    """
    table = Table("size", "VideoReader, ms", "OpenCV, ms", "ratio", title="a frame, medians")
    with tempfile.TemporaryDirectory() as scratch:
        for height, width in sizes:
            path = Path(scratch) / f"{height}x{width}.mp4"
            scene = ScenesDataset({"val": 1}, size=(2 * height, 2 * width))
            make_video(path, scene, frames, (height, width))
            ours, opencv = measure(path, [count_frames, count_frames_opencv], frames, repeats)
            numbers = f"{ours:.2f}", f"{opencv:.2f}", f"{ours / opencv:.2f}"
            table.add_row(f"{height}x{width}", *numbers)
    Console().print(table)


def measure(
    path: Path, readers: list[Callable[[Path], int]], frames: int, repeats: int
) -> list[float]:
    """Return the median milliseconds per frame of each reader, which take turns."""
    seconds: list[list[float]] = [[] for _ in readers]
    for _ in range(repeats + 1):
        for reader, times in zip(readers, seconds, strict=True):
            start = time.perf_counter()
            if (found := reader(path)) != frames:
                raise RuntimeError(f"{reader.__name__}: expected {frames} frames, read {found}.")
            times.append(time.perf_counter() - start)
    return [1000 * statistics.median(times[1:]) / frames for times in seconds]


def count_frames(path: Path) -> int:
    """Read all frames by `VideoReader`."""
    return sum(1 for _ in VideoReader(path))


def count_frames_opencv(path: Path) -> int:
    """Read all frames by OpenCV, in RGB."""
    capture, count = cv2.VideoCapture(str(path)), 0
    while True:
        found, frame = capture.read()
        if not found:
            return count
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        count += 1


if __name__ == "__main__":
    tyro.cli(main)
