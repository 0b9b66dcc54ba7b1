"""Files that a visitor drops: read, brought to a size, labelled, made ready for the page."""

import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, tee
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dpn import viz
from keras_dpn.io import VIDEO_SUFFIXES
from keras_dpn.io.images import ImageError, read_image
from keras_dpn.io.video import VideoReader, VideoWriter

from .served_model import Found, Model
from .viewer import answer, message

# Pictures of more pixels are not even decoded: these take 150 MB.
DECODABLE = 50_000_000
# Of a film: its first frames, and of each so many pixels.
FRAMES = 64
FRAME_PIXELS = 320 * 240
KEPT_FILMS = 8

UNFAMILIAR = (
    "This looks like nothing that the network was trained on: it is less sure of these labels than "
    "of any picture's that it was validated on."
)

Progress = Callable[[tuple[int, int], str], Any]


@dataclass(frozen=True)
class Labelled:
    """What the page shows of a file: the viewer's value, and the labelled film if it is one."""

    value: dict[str, Any]
    film: Path | None = None


class Labeller:
    """Labels files with a model; what can't be labelled is a message, not an exception.

    Args:
        model: the model.
        folder: directory for the films that it makes, of which it keeps the last eight.
        max_pixels: larger pictures are shrunk to it, or to the model's own limit if that is lower.
    """

    def __init__(self, model: Model, folder: Path, max_pixels: int):
        self.model, self.folder = model, folder
        self.max_pixels = min(max_pixels, model.max_pixels)
        self._films: list[Path] = []

    def label(self, path: Path, progress: Progress) -> Labelled:
        """Labels a picture, or a video: one whose suffix is a video's.

        Args:
            path: the file.
            progress: called with (frames done, frames) and a text.
        """
        try:
            if path.suffix.lower() in VIDEO_SUFFIXES:
                return self._film(path, progress)
            return Labelled(self._picture(path))
        except (ValueError, OSError) as error:
            return Labelled(message(str(error).replace(str(path), path.name)))
        except tf.errors.OpError as error:
            return Labelled(message(f"{path.name}: the model can't label it: {error.message}"))

    def frame_of(self, place: Mapping[str, Any]) -> dict[str, Any]:
        """A frame of a film that was labelled before: "film" and "index" of the viewer's value."""
        film, index = str(place["film"]), int(place["index"])
        if film not in {path.name for path in self._films}:
            return message("This film is gone: drop it again.")
        return json.loads((self.folder / film / f"{index}.json").read_text())

    def _picture(self, path: Path) -> dict[str, Any]:
        _check_size(path)
        image = read_image(path)
        seen = shrunk(image, self.max_pixels)
        notes = [] if seen is image else [_shrunk_note(image.shape[:2], seen.shape[:2])]
        found = self.model(seen)
        if found.is_unfamiliar:
            notes.insert(0, UNFAMILIAR)
        return answer(seen, found, self.model.classes, path.stem, " ".join(notes))

    def _film(self, path: Path, progress: Progress) -> Labelled:
        reader = VideoReader(path)
        folder = self._new_folder()
        film, note = folder / f"{path.stem}_labelled.mp4", self._film_note(reader)
        total = min(reader.frame_count or FRAMES, FRAMES)
        count = 0
        with ExitStack() as stack:
            small = (shrunk(frame, self._frame_pixels) for frame in islice(reader, FRAMES))
            frames, seen = tee(small)
            for frame, found in zip(frames, self.model.film(seen), strict=True):
                drawn, value = self._frame(frame, found, f"{path.stem}_{count:06}", note)
                if not count:
                    writer = VideoWriter(film, reader.fps, drawn.shape[:2])
                    stack.enter_context(writer)
                writer.write(drawn)
                (folder / f"{count}.json").write_text(json.dumps(value))
                count += 1
                progress((count, total), "labelling frames")
        first = self.frame_of({"film": folder.name, "index": 0})
        return Labelled(first | {"frames": count, "film": folder.name}, film)

    def _film_note(self, reader: VideoReader) -> str:
        parts = []
        if reader.frame_count > FRAMES:
            parts.append(f"The first {FRAMES} of {reader.frame_count} frames.")
        seen = shrunk_size(reader.size, self._frame_pixels)
        if seen != reader.size:
            parts.append(_shrunk_note(reader.size, seen))
        return " ".join(parts)

    def _frame(
        self, frame: np.ndarray, found: Found, name: str, note: str
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A frame of the labelled film, and what the page shows of it."""
        classes = self.model.classes
        drawn = viz.labelled_frame(
            frame, found.labels[-1], classes.names, classes.colors, classes.ignore
        )
        return drawn, answer(frame, found, classes, name, note)

    @property
    def _frame_pixels(self) -> int:
        return min(FRAME_PIXELS, self.max_pixels)

    def _new_folder(self) -> Path:
        """A directory for a film, under a name that nobody guesses; the oldest goes."""
        folder = self.folder / secrets.token_urlsafe(12)
        folder.mkdir(parents=True)
        self._films.append(folder)
        for old in self._films[:-KEPT_FILMS]:
            shutil.rmtree(old, ignore_errors=True)
        del self._films[:-KEPT_FILMS]
        return folder


def shrunk(image: np.ndarray, pixels: int) -> np.ndarray:
    """The image itself, or one of at most so many pixels: uint8 (h, w, 3)."""
    size = shrunk_size(image.shape[:2], pixels)
    if size == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.LANCZOS))


def shrunk_size(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Height and width, or smaller ones with at most so many pixels."""
    factor = min(1.0, (pixels / (size[0] * size[1])) ** 0.5)
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def _check_size(path: Path) -> None:
    """From its header, before anything is decoded."""
    try:
        with Image.open(path) as image:
            width, height = image.size
    except Exception:  # read_image says what is wrong
        return
    if width * height > DECODABLE:
        raise ImageError(
            f"{path}: {width} x {height} pixels are too many; at most {DECODABLE / 1e6:.0f} "
            "million can be shown."
        )


def _shrunk_note(size: tuple[int, int], seen: tuple[int, int]) -> str:
    return f"Shrunk from {size[1]} x {size[0]} to {seen[1]} x {seen[0]} pixels."
