"""Predict the files that a visitor drops, and prepare the results for the page."""

import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dpn import viz
from keras_dpn.io.formats import is_video
from keras_dpn.io.images import read_image
from keras_dpn.io.video import VideoReader
from keras_dpn.limits import MIN_SIDE, SMALL

from ..prediction.drawn_video import DrawnVideo
from ..prediction.video import predict_frames
from ..utils.files import read_json, write_json
from .served_model import Model
from .viewer import message, prediction_value

# Larger images are not decoded: these take up to 900 MB.
MAX_DECODED_PIXELS = 50_000_000
# Of a video: at most N frames, each of at most N pixels.
MAX_FRAMES = 64
MAX_FRAME_PIXELS = 320 * 240
# Of a video, before anything is decoded: larger frames, or more seconds, are refused.
MAX_DECODED_FRAME_PIXELS = 10_000_000
MAX_VIDEO_SECONDS = 600.0
# Memory of narrow images grows with their length: 22 kB per pixel of a single row.
MAX_SIDE = 16_384
KEPT_VIDEOS = 8

UNFAMILIAR = (
    "This image is unlike the training images: the network is less confident of these labels than "
    "of those of any validation image."
)

ProgressCallback = Callable[[tuple[int, int], str], Any]


@dataclass(frozen=True)
class FileResult:
    """The result that the page shows for a file.

    Args:
        value: the viewer's value.
        video: the labelled video, if the file is one.
    """

    value: dict[str, Any]
    video: Path | None = None


class FilePredictor:
    """Predicts files with a model; errors become messages on the page.

    Args:
        model: the model.
        folder: directory for labelled videos, of which the last eight are kept.
        max_pixels: larger images are downsampled to it, or to the model's limit if that is lower.
    """

    def __init__(self, model: Model, folder: Path, max_pixels: int) -> None:
        self.model, self.folder = model, folder
        self.max_pixels = min(max_pixels, model.max_pixels)
        self._videos: list[Path] = []

    def predict(self, path: Path, on_progress: ProgressCallback) -> FileResult:
        """Predict an image, or a video, recognised by its suffix or its content.

        Args:
            path: the file.
            on_progress: called with (frames done, frames) and a text.
        """
        try:
            if is_video(path):
                return self._predict_video(path, on_progress)
            return FileResult(self._predict_image(path))
        except (ValueError, OSError) as error:
            return FileResult(message(str(error).replace(str(path), path.name)))
        except tf.errors.OpError as error:
            return FileResult(message(f"{path.name}: the model can't predict it: {error.message}"))

    def read_frame(self, position: Mapping[str, Any]) -> dict[str, Any]:
        """Return a frame of an earlier video: "video" and "index" of the viewer's value."""
        try:
            video, index = str(position["video"]), int(position["index"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return message("There is no such frame.")
        if video not in {path.name for path in self._videos}:
            return message("This video is gone: drop it again.")
        try:
            return read_json(self._frame_file(self.folder / video, index))
        except FileNotFoundError:
            return message("There is no such frame.")

    def _predict_image(self, path: Path) -> dict[str, Any]:
        original = read_image(path, MAX_DECODED_PIXELS)
        image = downsample(original, self.max_pixels)
        notes = []
        if image is not original:
            notes.append(_downsampling_note(original.shape[:2], image.shape[:2]))
        prediction = self.model(image)
        if prediction.is_unfamiliar:
            notes.insert(0, UNFAMILIAR)
        return prediction_value(image, prediction, self.model.classes, path.stem, " ".join(notes))

    def _predict_video(self, path: Path, on_progress: ProgressCallback) -> FileResult:
        reader = VideoReader(
            path, max_pixels=MAX_DECODED_FRAME_PIXELS, max_seconds=MAX_VIDEO_SECONDS
        )
        folder = self._new_folder()
        classes, note = self.model.classes, self._video_note(reader)
        total = min(reader.frame_count or MAX_FRAMES, MAX_FRAMES)
        video = folder / f"{path.stem}_labelled.mp4"
        frames = (
            (reader.time, downsample(frame, self._frame_pixels))
            for frame in islice(reader, MAX_FRAMES)
        )
        count = 0
        with ExitStack() as stack:
            writer = DrawnVideo(stack, video, reader.fps)
            predicted = predict_frames(
                frames, lambda timed: self.model.video(frame for _, frame in timed)
            )
            for (time, frame), prediction in predicted:
                labels = prediction.labels[-1]
                labelled = viz.labelled_frame(
                    frame, labels, classes.names, classes.colors, classes.ignore
                )
                writer.write(labelled, time)
                name = f"{path.stem}_{count:06}"
                value = prediction_value(frame, prediction, classes, name, note)
                write_json(self._frame_file(folder, count), value)
                count += 1
                on_progress((count, total), "labelling frames")
        first = self.read_frame({"video": folder.name, "index": 0})
        return FileResult(first | {"frames": count, "video": folder.name}, video)

    def _video_note(self, reader: VideoReader) -> str:
        notes = []
        if reader.frame_count > MAX_FRAMES:
            notes.append(f"The first {MAX_FRAMES} of {reader.frame_count} frames.")
        size = downsampled_size(reader.size, self._frame_pixels)
        if size != reader.size:
            notes.append(_downsampling_note(reader.size, size))
        return " ".join(notes)

    @property
    def _frame_pixels(self) -> int:
        return min(MAX_FRAME_PIXELS, self.max_pixels)

    @staticmethod
    def _frame_file(folder: Path, index: int) -> Path:
        return folder / f"{index}.json"

    def _new_folder(self) -> Path:
        """Create a directory for a video, with a random name; remove the oldest."""
        folder = self.folder / secrets.token_urlsafe(12)
        folder.mkdir(parents=True)
        self._videos.append(folder)
        for old in self._videos[:-KEPT_VIDEOS]:
            shutil.rmtree(old, ignore_errors=True)
        del self._videos[:-KEPT_VIDEOS]
        return folder


def downsample(image: np.ndarray, max_pixels: int) -> np.ndarray:
    """Return the image itself, or one of at most N pixels: uint8 (h, w, 3)."""
    size = downsampled_size(image.shape[:2], max_pixels)
    if size == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.LANCZOS))


def downsampled_size(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """Return height and width, or smaller ones of at most N pixels and 16384 per axis.

    Of narrow images sides below 64 count as 64, as for the served model.
    """
    longest = min(MAX_SIDE, max(max_pixels, SMALL) // MIN_SIDE)
    factor = min(1.0, (max_pixels / (size[0] * size[1])) ** 0.5, longest / max(size))
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def _downsampling_note(size: tuple[int, int], new_size: tuple[int, int]) -> str:
    return f"Downsampled from {size[1]} x {size[0]} to {new_size[1]} x {new_size[0]} pixels."
