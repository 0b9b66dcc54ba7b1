"""Predict videos frame by frame, in constant memory."""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from keras_dpn import metrics, viz
from keras_dpn.classes import Classes
from keras_dpn.io.flow import dis_flow
from keras_dpn.io.video import ImageSequence, VideoError, VideoReader, VideoWriter
from keras_dpn.segmentation import Segmentation
from keras_dpn.segmenter import Segmenter

from ..rundir.outputs import Outputs
from ..utils.files import json_bytes, write_bytes
from ..utils.progress import progress_bar
from .manifest import video_files
from .video_report import VideoReport

logger = logging.getLogger("keras_dpn")

T = TypeVar("T")
P = TypeVar("P")
Frames = VideoReader | ImageSequence
Position = tuple[int, float]  # index of a frame, and its time in seconds
Link = tuple[np.ndarray, np.ndarray]  # flow from a frame to the next, and back
WriteFrame = Callable[[Position, np.ndarray, np.ndarray], None]  # frame, labels


def predict_videos(
    segmenter: Segmenter,
    sources: Mapping[str, Path],
    out: Path,
    *,
    overlay: bool = False,
    save_frames: bool = False,
    files: Outputs | None = None,
) -> list[Path]:
    """Predict videos, one after another, and print a line about each.

    Args:
        segmenter: as in `predict_video`.
        sources: video files and folders by the names of their results.
        out: directory for the results.
        overlay: as in `predict_video`.
        save_frames: as in `predict_video`.
        files: as in `predict_video`.

    Returns:
        The videos that could not be read, or not in full. They are logged at the end.
    """
    problems: dict[Path, list[str]] = {}
    warnings: list[str] = []
    try:
        for name, source in sources.items():
            try:
                report = predict_video(
                    segmenter,
                    source,
                    out,
                    name,
                    overlay=overlay,
                    save_frames=save_frames,
                    files=files,
                )
            except VideoError as error:
                problems[source] = [f"skipped: {error}"]
            else:
                print(report.summary())
                problems[source] = report.problems()
                warnings += report.warnings()
    finally:
        for line in itertools.chain(warnings, *problems.values()):
            logger.warning(line)
    return [source for source, lines in problems.items() if lines]


def predict_video(
    segmenter: Segmenter,
    source: Path,
    out: Path,
    name: str,
    *,
    overlay: bool = False,
    save_frames: bool = False,
    files: Outputs | None = None,
) -> VideoReport:
    """Predict one video and write the results, with a report in videos/NAME.json.

    A frame that can't be read is left out. Videos show the others at the times that they have in
    the source, also where its rate varies. An exception or Ctrl-C leaves playable files with the
    frames predicted so far; "complete" is false in videos/NAME.json then.

    Args:
        segmenter: of images or of clips.
        source: a video file, or a folder whose images are the frames.
        out: directory for the results.
        name: of the results below it.
        overlay: also write overlays/NAME.mp4, the labels' colours over the video, at its size.
        save_frames: write label maps labels/NAME/000123.png by the index of the frame, instead of
            videos/NAME.mp4, which shows the video and its labels side by side.
        files: writes and records the results, and refuses to replace files of others; None: any
            file is replaced.

    Raises:
        ValueError: if the source can't be read at all, and as `Segmenter.video`.
        OSError: if a result can't be written.
    """
    video = open_video(source, segmenter.max_pixels)
    if not video.fps_known:
        logger.info("%s: no usable frame rate, %g frames per second assumed", source, video.fps)
    classes = segmenter.classes
    write_file = files.write_bytes if files else write_bytes
    drawn = video_files(out, name, overlay=overlay, save_frames=save_frames)
    if files:
        files.check(drawn.values())
    consistency = np.zeros((classes.num_classes,) * 2, "int64")
    written, complete, seconds, start = 0, False, 0.0, time.perf_counter()
    try:
        with (
            progress_bar(source.name, video.frame_count or None, "frames") as bar,
            ExitStack() as stack,
        ):
            maps = out / "labels" / name if save_frames else None
            writers = list(_open_writers(stack, video, classes, drawn, maps, write_file))
            for position, frame, labels, confusion in _predict_labels(segmenter, video):
                for write in writers:
                    write(position, frame, labels)
                consistency += confusion
                written += 1
                seconds = time.perf_counter() - start
                bar.update(written)
        complete = True
    except (KeyboardInterrupt, ValueError):
        logger.warning("%s: stopped; %d frames of it are in %s", source, written, out)
        raise
    finally:
        report = VideoReport(
            source=str(source),
            complete=complete,
            frames=written,
            frame_count=video.frame_count,
            broken_frames=video.broken,
            truncated=video.truncated,
            fps=video.fps,
            is_static=video.is_static,
            seconds=seconds,
            frames_per_second=written / seconds if seconds else None,
            temporal_consistency=metrics.scores(consistency),
        )
        if written:
            if files:
                for path in drawn.values():
                    files.record(path)
            write_file(out / "videos" / f"{name}.json", json_bytes(asdict(report)))
    return report


def open_video(source: Path, max_pixels: int | None = None) -> Frames:
    """Open a video file of frames of at most N pixels, or a folder of images.

    Raises:
        VideoError: if it can't be read.
    """
    if source.is_dir():
        return ImageSequence(source)
    return VideoReader(source, max_pixels=max_pixels)


def predict_frames(
    frames: Iterable[T], predict: Callable[[Iterator[T]], Iterator[P]]
) -> Iterator[tuple[T, P]]:
    """Yield each frame with its prediction, in constant memory.

    Args:
        frames: the frames.
        predict: returns the predictions of a stream of frames, in order. It may read a few frames
            ahead, as networks for clips do.

    Example:
    >>> list(predict_frames([1, 2], lambda frames: (10 * frame for frame in frames)))
    [(1, 10), (2, 20)]
    """
    stream, kept = itertools.tee(frames)
    # The prediction first: frames are read when the network requests them.
    for prediction, frame in zip(predict(stream), kept, strict=False):
        yield frame, prediction


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


def _predict_labels(
    segmenter: Segmenter, video: Frames
) -> Iterator[tuple[Position, np.ndarray, np.ndarray, np.ndarray | int]]:
    """Yield each position, the frame, its labels, and their agreement with the last frame's."""
    indexed, neighbours = itertools.tee(((video.index, video.time), frame) for frame in video)
    pairs = ((a, b) for (_, a), (_, b) in itertools.pairwise(neighbours))
    links: Iterator[Link] = ((dis_flow(a, b), dis_flow(b, a)) for a, b in pairs)
    shared: Iterator[Link] | None = None
    if segmenter.predictor.needs_flow and segmenter.size in (None, min(video.size)):
        shared, links = itertools.tee(links)  # the network sees the frames at this size

    def predict(items: Iterator[tuple[Position, np.ndarray]]) -> Iterator[Segmentation]:
        return segmenter.video((frame for _, frame in items), shared)

    previous: np.ndarray | None = None
    for (position, frame), segmentation in predict_frames(indexed, predict):
        labels = segmentation.labels
        confusion: np.ndarray | int = 0
        if previous is not None:
            num_classes = segmenter.classes.num_classes
            confusion = metrics.temporal_confusion(previous, labels, *next(links), num_classes)
        yield position, frame, labels, confusion
        previous = labels


def _open_writers(
    stack: ExitStack,
    video: Frames,
    classes: Classes,
    drawn: Mapping[str, Path],
    maps: Path | None,
    write_file: Callable[[Path, bytes], None],
) -> Iterator[WriteFrame]:
    """Yield the functions to call with each frame and its labels; the stack closes the files.

    Args:
        stack: closes the video files.
        video: the frames.
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
        side_by_side = DrawnVideo(stack, drawn["videos"], video.fps)
        yield lambda position, frame, labels: side_by_side.write(
            viz.labelled_frame(frame, labels, classes.names, colors, ignore), position[1]
        )
    if "overlays" in drawn:
        overlays = DrawnVideo(stack, drawn["overlays"], video.fps)
        yield lambda position, frame, labels: overlays.write(
            viz.overlay(frame, labels, colors, ignore), position[1]
        )
