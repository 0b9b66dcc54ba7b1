"""Pictures that a visitor of the demo can pick."""

from pathlib import Path

import numpy as np
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.io import IMAGE_SUFFIXES
from keras_dpn.io.video import VideoWriter, natural_order

from ..data.generated.moving_scenes import MovingScenesDataset
from ..data.generated.scenes import CLASSES, ScenesDataset

SCENES = 5
FILM_FRAMES, FILM_FPS = 12, 6.0
FILM_NOISE = 0.3  # the model of pictures has not learned to see through more
MOST = 24


class Sample:
    """An example.

    Attributes:
        file: a picture or a film.
        still: a picture of it.
        title: its name on the page.
    """

    def __init__(self, file: Path, still: Path | None = None):
        self.file, self.still, self.title = file, still or file, file.stem.replace("_", " ")


def samples(classes: Classes, folder: Path | None, scratch: Path) -> list[Sample]:
    """The examples for a model.

    Args:
        classes: the model's.
        folder: pictures of the user's, the first 24 in order of their names; None: generated
            scenes and a film of one, if the model's classes are theirs.
        scratch: directory for what is generated.

    Raises:
        ValueError: for a folder without pictures.
    """
    if folder is not None:
        return _of_folder(folder)
    return _generated(scratch) if classes == CLASSES else []


def _of_folder(folder: Path) -> list[Sample]:
    files = [p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise ValueError(f"{folder}: expected a folder with pictures, found none in it.")
    return [Sample(file) for file in sorted(files, key=natural_order)[:MOST]]


def _generated(scratch: Path) -> list[Sample]:
    scratch.mkdir(parents=True)
    scenes = ScenesDataset({"demo": SCENES})
    found = []
    for number, example in enumerate(scenes.splits["demo"], start=1):
        found.append(Sample(_written(scratch / f"scene_{number}.png", scenes.read(example)[0])))
    moving = MovingScenesDataset({"demo": 1}, frames=FILM_FRAMES, noise=FILM_NOISE)
    frames = [moving.read_frame(example) for example in moving.splits["demo"]]
    film = scratch / "film.mp4"
    with VideoWriter(film, FILM_FPS, moving.size) as writer:
        for frame in frames:
            writer.write(frame)
    return [*found, Sample(film, _written(scratch / "film.png", frames[0]))]


def _written(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path)
    return path
