"""Clips in a directory: `clips/`, `labels/`, `flow/`, `splits/` and `classes.json`."""

import functools
import itertools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

import numpy as np

from keras_dpn.io import VIDEO_SUFFIXES
from keras_dpn.io.formats import is_image, is_video, list_visible
from keras_dpn.io.images import read_image
from keras_dpn.io.video import VideoReader, natural_order

from ..dataset import Example, read_lines
from ..io.class_files import read_classes_json
from .base import Frames, Link, RecordedClips
from .flow import FlowCache

# The number of videos that a dataset keeps open, and of the latest frames that it caches of each:
# clips overlap, and seeking back in a video decodes it from its start.
_OPEN_VIDEOS, _KEPT_FRAMES = 4, 16


class ClipFolder(RecordedClips):
    """A directory of sequences, frames or videos, with label maps for some of their frames.

    Args:
        data_dir: holds
            `clips/`: a directory of images for each sequence, in natural order of their names
            (2.png before 10.png), or a video (.mp4, .avi, .mkv...), whose frames are called
            000000, 000001... Reading a frame decodes all before it: prefer images for
            training in random order.
            `labels/`: SEQUENCE/FRAME.png for some frames: class indices or colours, see
            `read_label`.
            `flow/`: optional, SEQUENCE/FRAME_forward.flo from that frame to the next, and
            SEQUENCE/FRAME_backward.flo back from the next to that frame, both of the same pair;
            used instead of computed flow.
            `splits/`: `train.txt`, `val.txt`...: a sequence per line.
            `classes.json`: as for `FolderDataset`.
        flow: computes and caches the flow that isn't in files; by default without a cache.

    Raises:
        ValueError: if a part is missing or broken, a sequence is listed twice in a split, two
            frames have the same name, or a label map or a flow has no frame.
    """

    name = "clips"

    def __init__(self, data_dir: Path, flow: FlowCache | None = None) -> None:
        data_dir = Path(data_dir)
        self.classes, self.label_values = read_classes_json(data_dir / "classes.json")
        lists = list_visible(data_dir / "splits", "*.txt")
        if not lists:
            raise ValueError(f"{data_dir / 'splits'}: expected train.txt, val.txt...; none there.")
        for part in ("clips", "labels"):
            if not (data_dir / part).is_dir():
                raise ValueError(f"{data_dir / part}: no such directory; expected the {part}.")
        names = {path.stem: _read_names(path) for path in lists}
        self._videos: dict[str, Path] = {}
        self._open_video = functools.lru_cache(_OPEN_VIDEOS)(_Video)
        flow_files: dict[Link, Path] = {}
        sequences = {}
        for name in dict.fromkeys(itertools.chain(*names.values())):
            sequences[name] = self._list_frames(data_dir, name)
            flow_files |= _flow_files(data_dir / "flow" / name, sequences[name])
        super().__init__(flow, flow_files)
        self.sequences = {
            split: tuple(sequences[name] for name in listed) for split, listed in names.items()
        }
        self.splits = {
            split: tuple(example for sequence in listed for example in sequence if example.label)
            for split, listed in self.sequences.items()
        }

    def read_frame(self, example: Example) -> np.ndarray:
        if example.image:
            return read_image(example.image)
        sequence, _ = example.name.rsplit("/", 1)
        return self._open_video(self._videos[sequence]).read(example.index)

    def _list_frames(self, data_dir: Path, sequence: str) -> Frames:
        source = _find_source(data_dir / "clips" / sequence)
        if source.is_dir():
            images = _list_images(source)
            names = list(images)
        else:
            self._videos[sequence] = source
            images = {}
            names = _frame_names(source)
        labels = {path.stem: path for path in _visible(data_dir / "labels" / sequence, ".png")}
        _check_known(labels, names, f"clips/{sequence} has no such frame")
        return tuple(
            # No image for a frame of a video: checks would try to read the file as an image.
            Example(f"{sequence}/{name}", images.get(name), labels.get(name), index)
            for index, name in enumerate(names)
        )


class _Video:
    """A video that several threads read; it keeps the latest frames."""

    def __init__(self, path: Path) -> None:
        self._reader = VideoReader(path)
        self._frames: dict[int, np.ndarray] = {}
        self._lock = Lock()

    def read(self, index: int) -> np.ndarray:
        with self._lock:
            if index not in self._frames:
                self._frames[index] = self._reader.read(index)
            if len(self._frames) > _KEPT_FRAMES:
                del self._frames[next(iter(self._frames))]  # the oldest
            return self._frames[index].copy()


def _read_names(path: Path) -> list[str]:
    names = [line.strip().rstrip("/") for line in read_lines(path) if line.strip()]
    for name, count in Counter(names).items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{path}: expected names of sequences in clips/, received {name!r}.")
        if count > 1:
            raise ValueError(f"{path}: the sequence {name!r} is listed twice; keep one of them.")
    return names


def _find_source(root: Path) -> Path:
    """Return the directory or the video of a sequence."""
    named = [path for path in _visible(root.parent) if path.stem == root.name]
    videos = [path for path in named if is_video(path)]
    sources = [root] * root.is_dir() + videos
    if not sources:
        raise ValueError(
            f"{root}: expected a directory of frames, or a video of that name with one of the "
            f"suffixes {', '.join(sorted(VIDEO_SUFFIXES))}; none there."
        )
    if len(sources) > 1:
        names = " and ".join(path.name for path in sources)
        raise ValueError(f"{root}: {root.name!r} matches {names}; keep one of them.")
    return sources[0]


def _list_images(folder: Path) -> dict[str, Path]:
    """Return the images of a directory by their names without suffix, in natural order."""
    images: dict[str, Path] = {}
    for path in sorted(filter(is_image, _visible(folder)), key=natural_order):
        if path.stem in images:
            names = f"{images[path.stem].name} and {path.name}"
            raise ValueError(f"{folder}: two frames of the same name, {names}; keep one of them.")
        images[path.stem] = path
    if not images:
        raise ValueError(f"{folder}: expected the frames of a sequence as images; none there.")
    return images


def _frame_names(video: Path) -> list[str]:
    return [f"{index:06d}" for index in range(VideoReader(video).frame_count)]


def _flow_files(folder: Path, sequence: Frames) -> dict[Link, Path]:
    links = {}
    for first, second in itertools.pairwise(sequence):
        name = first.name.rsplit("/", 1)[1]
        links[f"{name}_forward"] = first, second
        links[f"{name}_backward"] = second, first
    files = {path.stem: path for path in _visible(folder, ".flo")}
    expected = "expected FRAME_forward.flo or FRAME_backward.flo of a frame that has a next one"
    _check_known(files, links, expected)
    return {links[name]: path for name, path in files.items()}


def _check_known(files: dict[str, Path], names: Iterable[str], message: str) -> None:
    unknown = sorted(files.keys() - set(names))
    if unknown:
        raise ValueError(f"{files[unknown[0]]}: {message}; files like it: {len(unknown)}.")


def _visible(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files of a directory with one of the suffixes, or with any if none is given."""
    paths = list_visible(folder) if folder.is_dir() else []
    return [path for path in paths if not suffixes or path.suffix.lower() in suffixes]
