"""The files of a predicted video: videos with labels drawn, and a label map per frame."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from keras_dpn import viz
from keras_dpn.classes import Classes
from keras_dpn.io.video import VideoWriter

Position = tuple[int, float]  # index of a frame, and its time in seconds
WriteFrame = Callable[[Position, np.ndarray, np.ndarray], None]  # frame, labels


class DrawnVideo:
    """A video file that is opened with its first frame, whose size it has.

    Args:
        stack: closes the file, which is then playable, even after an exception.
        path: the file.
        fps: frames per second.
    """

    def __init__(self, stack: ExitStack, path: Path, fps: float) -> None:
        self._stack, self._path, self._fps = stack, path, fps
        self._writer: VideoWriter | None = None

    def write(self, frame: np.ndarray, time: float | None = None) -> None:
        """Append a frame, uint8 (H, W, 3), as `VideoWriter.write`."""
        if self._writer is None:
            writer = VideoWriter(self._path, self._fps, frame.shape[:2])
            self._writer = self._stack.enter_context(writer)
        self._writer.write(frame, time)


def open_writers(
    stack: ExitStack,
    fps: float,
    classes: Classes,
    drawn: Mapping[str, Path],
    maps: Path | None,
    write_file: Callable[[Path, bytes], None],
) -> Iterator[WriteFrame]:
    """Yield the functions to call with each frame and its labels; the stack closes the files.

    Args:
        stack: closes the video files.
        fps: frames per second of the video files.
        classes: of the labels.
        drawn: the video files, from `video_files`.
        maps: directory for a label map per frame; None: there are none.
        write_file: writes one of them.
    """
    colors, ignore = classes.colors, classes.ignore

    def write_map(folder: Path, position: Position, frame: np.ndarray, labels: np.ndarray) -> None:
        write_file(folder / f"{position[0]:06}.png", viz.label_png(labels, colors, ignore))

    if maps is not None:
        yield partial(write_map, maps)
    if "videos" in drawn:
        side_by_side = DrawnVideo(stack, drawn["videos"], fps)
        yield lambda position, frame, labels: side_by_side.write(
            viz.labelled_frame(frame, labels, classes.names, colors, ignore), position[1]
        )
    if "overlays" in drawn:
        overlays = DrawnVideo(stack, drawn["overlays"], fps)
        yield lambda position, frame, labels: overlays.write(
            viz.overlay(frame, labels, colors, ignore), position[1]
        )
