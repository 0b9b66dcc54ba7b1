"""Example images of the demo."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.io.formats import is_image, list_visible
from keras_dpn.io.video import VideoWriter, natural_order

from ..data.generated.moving_scenes import MovingScenesDataset
from ..data.generated.scenes import CLASSES, ScenesDataset

SCENES = 5
VIDEO_FRAMES, VIDEO_FPS = 12, 6.0
VIDEO_NOISE = 0.3  # more noise is too much for a network for images
MAX_EXAMPLES = 24


class DemoExample:
    """An example.

    Attributes:
        file: an image or a video.
        thumbnail: an image of it.
        title: its name on the page.
    """

    def __init__(self, file: Path, thumbnail: Path | None = None, name: str | None = None) -> None:
        self.file, self.thumbnail = file, thumbnail or file
        self.title = (name or file.stem).replace("_", " ")


def find_examples(classes: Classes, folder: Path | None, scratch: Path) -> list[DemoExample]:
    """Return the examples for a model.

    Args:
        classes: the model's.
        folder: images of the user's, the first 24 in order of their names; None: generated
            scenes and a video of one, if the model has their classes.
        scratch: directory for generated files and for copies of the user's: visitors learn the
            paths of the files that they are shown.

    Raises:
        ValueError: for a folder without images.
    """
    if folder is not None:
        return _copy_folder(folder, scratch)
    return _generate(scratch) if classes == CLASSES else []


def _copy_folder(folder: Path, scratch: Path) -> list[DemoExample]:
    files = [*filter(is_image, list_visible(folder))]
    if not files:
        raise ValueError(f"{folder}: expected a folder with images, received one without.")
    scratch.mkdir(parents=True)
    examples = []
    for number, file in enumerate(sorted(files, key=natural_order)[:MAX_EXAMPLES]):
        copy = shutil.copyfile(file, scratch / f"{number}{file.suffix.lower()}")
        examples.append(DemoExample(copy, name=file.stem))
    return examples


def _generate(scratch: Path) -> list[DemoExample]:
    scratch.mkdir(parents=True)
    scenes = ScenesDataset({"demo": SCENES})
    examples = []
    for number, example in enumerate(scenes.splits["demo"], start=1):
        path = _save(scratch / f"scene_{number}.png", scenes.read(example)[0])
        examples.append(DemoExample(path))
    moving = MovingScenesDataset({"demo": 1}, frames=VIDEO_FRAMES, noise=VIDEO_NOISE)
    frames = [moving.read_frame(example) for example in moving.splits["demo"]]
    video = scratch / "video.mp4"
    with VideoWriter(video, VIDEO_FPS, moving.size) as writer:
        for frame in frames:
            writer.write(frame)
    return [*examples, DemoExample(video, _save(scratch / "video.png", frames[0]))]


def _save(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path)
    return path
