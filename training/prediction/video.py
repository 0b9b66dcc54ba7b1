"""Predict videos frame by frame, in constant memory."""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np

from keras_dpn import metrics
from keras_dpn.io.flow import dis_flow
from keras_dpn.io.video import ImageSequence, VideoError, VideoReader
from keras_dpn.limits import SizeError
from keras_dpn.segmentation import Segmentation
from keras_dpn.segmenter import Segmenter

from ..data.statistics import count_labels
from ..rundir.outputs import Outputs
from ..utils.files import json_bytes, write_bytes
from ..utils.progress import progress_bar
from .drawn_video import Position, open_writers
from .manifest import report_file, video_files
from .remote import Source, local_file
from .results import FileResult, class_fractions
from .video_report import VideoReport

logger = logging.getLogger("keras_dpn")

T = TypeVar("T")
P = TypeVar("P")
Frames = VideoReader | ImageSequence
Link = tuple[np.ndarray, np.ndarray]  # flow from a frame to the next, and back


def predict_videos(
    segmenter: Segmenter,
    sources: Mapping[str, Source],
    out: Path,
    *,
    overlay: bool = False,
    save_frames: bool = False,
    files: Outputs | None = None,
    on_result: Callable[[FileResult], None] = lambda result: None,
) -> list[Source]:
    """Predict videos, one after another, and print a line about each.

    Args:
        segmenter: as in `predict_video`.
        sources: video files and folders by the names of their results.
        out: directory for the results.
        overlay: as in `predict_video`.
        save_frames: as in `predict_video`.
        files: as in `predict_video`.
        on_result: called with what became of each video.

    Returns:
        The videos that could not be read, or not in full. They are logged at the end.
    """
    problems: dict[Source, list[str]] = {}
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
                on_result(FileResult("video", name, problems=[str(error)]))
            else:
                on_result(report.result(name))
                print(report.summary())
                problems[source] = report.problems()
                warnings += report.warnings()
    finally:
        for line in itertools.chain(warnings, *problems.values()):
            logger.warning(line)
    return [source for source, lines in problems.items() if lines]


def predict_video(
    segmenter: Segmenter,
    source: Source,
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
        source: a video file, which is copied to the local disk if a URL names it; or a folder
            whose images are the frames.
        out: directory for the results.
        name: of the results below it.
        overlay: also write overlays/NAME.mp4, the labels' colours over the video, at its size.
        save_frames: write label maps labels/NAME/000123.png by the index of the frame, instead of
            videos/NAME.mp4, which shows the video and its labels side by side. Those of an earlier
            run are removed first.
        files: writes and records the results, and refuses to replace files of others; None: any
            file is replaced.

    Raises:
        ValueError: if the source can't be read at all, and as `Segmenter.video`.
        OSError: if a result can't be written.
    """
    with local_file(source) as path:
        video = open_video(path, segmenter.max_pixels)
        drawn = video_files(out, name, overlay=overlay, save_frames=save_frames)
        if files:
            files.check(drawn.values())
        maps = out / "labels" / name if save_frames else None
        if files and maps:  # those of an earlier run, whose video may have been longer
            files.remove(maps.glob("*.png"))
        try:
            return _predict_video(segmenter, source, video, out, name, drawn, maps, files)
        except SizeError as error:  # as the network would see its frames
            raise VideoError(f"{source}: {error}") from error


def _predict_video(
    segmenter: Segmenter,
    source: Source,
    video: Frames,
    out: Path,
    name: str,
    drawn: Mapping[str, Path],
    maps: Path | None,
    files: Outputs | None,
) -> VideoReport:
    """Predict the frames of an open video, as `predict_video`, and write the results."""
    if not video.fps_known:
        logger.info("%s: no usable frame rate, %g frames per second assumed", source, video.fps)
    classes = segmenter.classes
    write_file = files.write_bytes if files else write_bytes
    counts = np.zeros(classes.num_classes, "int64")
    size: tuple[int, int] | None = None
    consistency = np.zeros((classes.num_classes,) * 2, "int64")
    written, complete, seconds, start = 0, False, 0.0, time.perf_counter()
    try:
        with (
            progress_bar(source.name, video.frame_count or None, "frames") as bar,
            ExitStack() as stack,
        ):
            writers = list(open_writers(stack, video.fps, classes, drawn, maps, write_file))
            for position, frame, labels, confusion in _predict_labels(segmenter, video):
                for write in writers:
                    write(position, frame, labels)
                size = size or (labels.shape[0], labels.shape[1])
                counts += count_labels(labels, len(counts))
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
            size=size,
            class_fractions=class_fractions(counts) if written else None,
        )
        if written:
            if files:
                for path in drawn.values():
                    files.record(path)
            write_file(report_file(out, name), json_bytes(asdict(report)))
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
