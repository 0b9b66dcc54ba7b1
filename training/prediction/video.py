"""The video half of `training.predict`: labels films frame after frame, at a constant memory."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from keras_dpn import metrics, viz
from keras_dpn.classes import Classes
from keras_dpn.io.flow import dis_flow
from keras_dpn.io.video import ImageSequence, VideoError, VideoReader, VideoWriter
from keras_dpn.segmenter import Segmenter

from ..rundir.paths import write_atomically, write_json

Write = Callable[[int, np.ndarray, np.ndarray], None]  # index, frame, labels

PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}


def label_video(
    segmenter: Segmenter,
    source: Path,
    out: Path,
    name: str,
    *,
    overlay: bool = False,
    frames: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Labels one film and writes what is asked for, and videos/NAME.json about it.

    A frame that can't be read is left out. An exception or Ctrl-C leaves playable files with the
    frames labelled so far; videos/NAME.json says so then ("complete").

    Args:
        segmenter: of images or of clips.
        source: a video file, or a folder whose pictures are the frames.
        out: directory for the results.
        name: of the results below it.
        overlay: write overlays/NAME.mp4 too, the labels' colours over the film, in its size.
        frames: write label maps labels/NAME/000123.png by the number of the frame, instead of
            videos/NAME.mp4, which shows the film and its labels side by side.
        console: shows the progress; stderr by default.

    Returns:
        What the JSON file holds: "source", "complete", "frames" written, "frame_count" as the
        source has it, "broken_frames" by number, "truncated", "fps", "seconds",
        "frames_per_second" of the prediction, and in "temporal_consistency" the `metrics.scores` of
        each labelled frame against the next one (`metrics.temporal_confusion`).

    Raises:
        ValueError: if the source can't be read at all, and as `Segmenter.video`.
        OSError: if a result can't be written.
    """
    console = console or Console(stderr=True)
    film = open_film(source)
    if not film.fps_known:
        console.print(
            f"{source}: names no usable frame rate, {film.fps:g} frames a second assumed", **PLAIN
        )
    classes = segmenter.classes
    consistency = np.zeros((classes.num_classes,) * 2, "int64")
    written, complete, seconds, start = 0, False, 0.0, time.perf_counter()
    try:
        with _progress_bar(console) as bar, ExitStack() as stack:
            writes = list(_writers(stack, film, classes, out, name, overlay, frames))
            task = bar.add_task(source.name, total=film.frame_count or None)
            for index, frame, labels, confusion in _labelled(segmenter, film):
                for write in writes:
                    write(index, frame, labels)
                consistency += confusion
                written += 1
                seconds = time.perf_counter() - start
                bar.update(task, completed=written)
        complete = True
    except (KeyboardInterrupt, ValueError):
        console.print(f"{source}: stopped; {written} frames of it are in {out}", **PLAIN)
        raise
    finally:
        report = {
            "source": str(source),
            "complete": complete,
            "frames": written,
            **_facts(film),
            "seconds": seconds,
            "frames_per_second": written / seconds if seconds else None,
            "temporal_consistency": metrics.scores(consistency),
        }
        if written:
            write_json(out / "videos" / f"{name}.json", report)
    return report


def label_videos(
    segmenter: Segmenter,
    sources: dict[str, Path],
    out: Path,
    *,
    overlay: bool = False,
    frames: bool = False,
    console: Console | None = None,
) -> list[Path]:
    """Labels films, one after another, and prints a line about each.

    Args:
        segmenter: as in `label_video`.
        sources: video files and folders by the names that their results get.
        out: directory for the results.
        overlay: as in `label_video`.
        frames: as in `label_video`.
        console: shows the progress, and at the end what could not be read; stderr by default.

    Returns:
        The films that could not be read, or not in full.
    """
    console = console or Console(stderr=True)
    options = {"overlay": overlay, "frames": frames, "console": console}
    troubles: dict[Path, list[str]] = {}
    try:
        for name, source in sources.items():
            try:
                report = label_video(segmenter, source, out, name, **options)
            except VideoError as error:
                troubles[source] = [f"skipped: {error}"]
            else:
                print(summary(report))
                troubles[source] = _troubles(report)
    finally:
        for line in itertools.chain.from_iterable(troubles.values()):
            console.print(line, **PLAIN)
    return [source for source, lines in troubles.items() if lines]


def open_film(source: Path) -> VideoReader | ImageSequence:
    """The frames of a video file, or of a folder of pictures; VideoError if there is none."""
    return ImageSequence(source) if source.is_dir() else VideoReader(source)


def _facts(film: VideoReader | ImageSequence) -> dict[str, Any]:
    return {
        "frame_count": film.frame_count,
        "broken_frames": film.broken,
        "truncated": film.truncated,
        "fps": film.fps,
    }


def summary(report: dict[str, Any]) -> str:
    """What `label_video` returns, in a line."""
    consistency = report["temporal_consistency"]["miou"]
    words = "none, of one frame" if consistency is None else f"{100 * consistency:.1f}% mIoU"
    return (
        f"{report['source']}: {report['frames']} frames labelled in {report['seconds']:.0f} s, "
        f"{report['frames_per_second']:.1f} a second; temporal consistency {words}"
    )


def _troubles(report: dict[str, Any]) -> list[str]:
    lines, broken = [], report["broken_frames"]
    if broken:
        shown = ", ".join(map(str, broken[:8])) + (", ..." if len(broken) > 8 else "")
        lines.append(
            f"{report['source']}: {len(broken)} frames can't be read and are left out: {shown}"
        )
    if report["truncated"]:
        found = report["frames"] + len(broken)
        lines.append(
            f"{report['source']}: {report['frame_count']} frames announced, {found} found; the "
            "file is cut off or damaged"
        )
    return lines


def _labelled(
    segmenter: Segmenter, film: VideoReader | ImageSequence
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray | int]]:
    """For each frame its number, itself, its labels, and how the last frame's agree with them."""
    frames, numbered, neighbours = itertools.tee(((film.index, frame) for frame in film), 3)
    pairs = ((a, b) for (_, a), (_, b) in itertools.pairwise(neighbours))
    links = ((dis_flow(a, b), dis_flow(b, a)) for a, b in pairs)
    used = None
    if segmenter.predictor.needs_flow and segmenter.size in (None, min(film.size)):
        used, links = itertools.tee(links)  # the network sees the frames in this size
    last = None
    found = segmenter.video((frame for _, frame in frames), used)
    # What is found comes first: the frames are read as the model asks for them.
    for segmentation, (index, frame) in zip(found, numbered, strict=False):
        labels, confusion = segmentation.labels, 0
        if last is not None:
            count = segmenter.classes.num_classes
            confusion = metrics.temporal_confusion(last, labels, *next(links), count)
        yield index, frame, labels, confusion
        last = labels


def _writers(
    stack: ExitStack,
    film: VideoReader | ImageSequence,
    classes: Classes,
    out: Path,
    name: str,
    overlay: bool,
    frames: bool,
) -> Iterator[Write]:
    """What to call with every labelled frame; the stack closes the files."""
    colors, ignore = classes.colors, classes.ignore

    def film_of(draw: Callable[[np.ndarray, np.ndarray], np.ndarray], path: Path) -> Write:
        blank = draw(np.zeros((*film.size, 3), "uint8"), np.zeros(film.size, "uint8"))
        writer = stack.enter_context(VideoWriter(path, film.fps, blank.shape[:2]))
        return lambda index, frame, labels: writer.write(draw(frame, labels))

    def beside(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return viz.labelled_frame(frame, labels, classes.names, colors, ignore)

    def over(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return viz.overlay(frame, labels, colors, ignore)

    def write_map(index: int, frame: np.ndarray, labels: np.ndarray) -> None:
        content = viz.label_png(labels, colors, ignore)
        path = out / "labels" / name / f"{index:06}.png"
        write_atomically(path, lambda temporary: temporary.write_bytes(content))

    yield write_map if frames else film_of(beside, out / "videos" / f"{name}.mp4")
    if overlay:
        yield film_of(over, out / "overlays" / f"{name}.mp4")


class _Rate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} frames/s")


def _progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    )
