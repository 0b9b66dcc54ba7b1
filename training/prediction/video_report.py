"""The report of a predicted video."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..utils.counts import counted
from ..utils.files import read_json
from .results import FileResult


@dataclass(frozen=True)
class VideoReport:
    """The result of `predict_video`; videos/NAME.json contains these fields.

    Args:
        source: the video.
        complete: whether all of its frames were predicted.
        frames: frames that were predicted.
        frame_count: number of frames that the file declares.
        broken_frames: indices of frames that can't be read.
        truncated: whether the file ends before the frames that it declares.
        fps: frames per second, the mean of a variable rate.
        is_static: whether all frames are identical.
        seconds: duration of the prediction.
        frames_per_second: of the prediction.
        temporal_consistency: the `metrics.scores` of each frame's labels against the next ones,
            along the optical flow (`metrics.temporal_confusion`).
        size: height and width of the first frame; None if there is none.
        class_fractions: fraction of each class in the pixels of all label maps, 0 to 1.
    """

    source: str
    complete: bool
    frames: int
    frame_count: int
    broken_frames: list[int]
    truncated: bool
    fps: float
    is_static: bool
    seconds: float
    frames_per_second: float | None
    temporal_consistency: dict[str, Any]
    size: tuple[int, int] | None = None
    class_fractions: Sequence[float] | None = None

    def result(self, name: str) -> FileResult:
        """Return the report as the result of an input of this name."""
        height, width = self.size or (None, None)
        problems = self.problems()
        if not self.complete:
            problems.append(f"{self.source}: stopped after {counted(self.frames, 'frame')}")
        return FileResult(
            "video",
            name,
            height,
            width,
            self.frames,
            self.class_fractions,
            problems,
            self.summary(),
        )

    def summary(self) -> str:
        """Return the report as one line."""
        miou = self.temporal_consistency["miou"]
        consistency = "none, of one frame" if miou is None else f"{100 * miou:.1f}% mIoU"
        return (
            f"{self.source}: {counted(self.frames, 'frame')} predicted in {self.seconds:.0f} s, "
            f"{self.frames_per_second or 0:.1f} frames/s; temporal consistency {consistency}"
        )

    def problems(self) -> list[str]:
        """Return a line per cause of missing frames."""
        lines, broken = [], self.broken_frames
        if broken:
            shown = ", ".join(map(str, broken[:8])) + (", ..." if len(broken) > 8 else "")
            lines.append(
                f"{self.source}: {counted(len(broken), 'frame')} left out, unreadable: {shown}"
            )
        if self.truncated:
            lines.append(
                f"{self.source}: {counted(self.frame_count, 'frame')} declared, "
                f"{self.frames + len(broken)} read; the file is truncated or damaged"
            )
        return lines

    def warnings(self) -> list[str]:
        """Return a line per oddity of the video that leaves out no frame."""
        if not self.is_static:
            return []
        return [f"{self.source}: its {self.frames} frames are identical; is it the right file?"]


def read_report(path: Path) -> VideoReport | None:
    """Return the report of an earlier run; None if it is missing, damaged or of another version."""
    try:
        values = read_json(path)
        known = {field.name for field in fields(VideoReport)}
        return VideoReport(**{key: value for key, value in values.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
