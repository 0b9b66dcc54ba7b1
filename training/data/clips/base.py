"""Data sets of clips: a labelled frame with its neighbours in time and the flow between them."""

import functools
import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from keras_dpn.io import VIDEO_SUFFIXES
from keras_dpn.io.images import ImageError, read_image
from keras_dpn.io.video import VideoReader, natural_order

from ..dataset import Dataset, Example, read_lines
from ..io.images import read_label, size_message
from ..sets.folder import SUFFIXES, read_classes
from .flow import NO_LINK, FlowCache, check_flow, read_flo

# Videos that a data set holds open, and the latest frames that it keeps of each: clips overlap, and
# going back in a video decodes it from its start.
_OPEN_VIDEOS, _KEPT_FRAMES = 4, 16

Frames = tuple[Example, ...]
Link = tuple[Example, Example]


@dataclass(frozen=True)
class Clip:
    """T frames in order of time, T odd, with the labels of the middle one.

    Args:
        frames: uint8 (T, H, W, 3) RGB.
        forward_flow: float32 (T-1, H, W, 2), (dx, dy) in pixels, from frame t to t+1.
        backward_flow: float32 (T-1, H, W, 2), from frame t+1 to t.
        labels: uint8 (H, W): 0..L-1 or the ignore label.
    """

    frames: np.ndarray
    forward_flow: np.ndarray
    backward_flow: np.ndarray
    labels: np.ndarray


class ClipDataset(Dataset):
    """A data set whose pictures are frames of sequences.

    `read` still gives one labelled picture, so that all that works on pictures works here.

    Attributes:
        sequences: for each split its sequences, each a tuple of frames in order of time. Frames
            without labels have the label None; every example of `splits` is in one sequence.
    """

    sequences: dict[str, tuple[Frames, ...]]

    @abstractmethod
    def read_frame(self, example: Example) -> np.ndarray:
        """The picture of a frame, labelled or not, uint8 (H, W, 3) RGB.

        Raises:
            ValueError: naming the file, where it can't be read.
        """

    @abstractmethod
    def flow(self, first: Example, second: Example) -> np.ndarray:
        """The flow from a frame to one next to it: float32 (H, W, 2), (dx, dy) in pixels.

        Raises:
            ValueError: naming the file, where one can't be read or does not fit.
        """

    def links(self, sequence: Frames) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The flow from each frame to the next and back again, as `flow` gives them."""
        for first, second in itertools.pairwise(sequence):
            yield self.flow(first, second), self.flow(second, first)

    def read_clip(self, example: Example, frames: int, *, flow: bool = True) -> Clip:
        """A labelled frame in the middle of its neighbours.

        Where the sequence ends too early, its last frame stands in, and all flow to and from
        these copies is `NO_LINK`: they have no neighbours.

        Args:
            example: a labelled frame.
            frames: the clip's length T, odd.
            flow: whether it is wanted; if not the clip has flow (0, H, W, 2).

        Raises:
            ValueError: on an even or negative length, an example that is in no sequence, and,
                naming the files, where one can't be read or the frames differ in size.
        """
        sequence, places = self._find(example, frames)
        middle, last = places[frames // 2], len(sequence) - 1
        inside = range(max(places.start, 0), min(places.stop, len(sequence)))
        # In order of time: a video is read forwards.
        pictures = {place: self.read_frame(sequence[place]) for place in inside if place < middle}
        pictures[middle], labels = self.read(example)
        pictures |= {place: self.read_frame(sequence[place]) for place in inside if place > middle}
        for place in inside:
            _check_size(example, pictures[middle], sequence[place], pictures[place])

        def step(first: int, second: int) -> np.ndarray:
            if first not in pictures or second not in pictures:
                return np.full((*labels.shape, 2), NO_LINK, "float32")
            ends = sequence[first], sequence[second]
            return self._flow_between(ends, pictures[first], pictures[second])

        links = list(itertools.pairwise(places)) if flow else []
        no_flow = np.zeros((0, *labels.shape, 2), "float32")
        return Clip(
            np.stack([pictures[min(max(place, 0), last)] for place in places]),
            np.stack([step(a, b) for a, b in links]) if links else no_flow,
            np.stack([step(b, a) for a, b in links]) if links else no_flow,
            labels,
        )

    def _flow_between(self, ends: Link, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """`flow`, for those who have read the frames already."""
        return self.flow(*ends)

    def _find(self, example: Example, frames: int) -> tuple[Frames, range]:
        """The sequence of an example, and the places in it, or outside, of a clip's frames."""
        if frames < 1 or frames % 2 == 0:
            raise ValueError(
                "Invalid value for argument `frames`: expected an odd number, since a clip has "
                f"the labels of its middle frame, received {frames}."
            )
        if example not in self._places:
            raise ValueError(f"{self.name}: no sequence has the frame {example.name!r}.")
        sequence, place = self._places[example]
        return sequence, range(place - frames // 2, place + frames // 2 + 1)

    @functools.cached_property
    def _places(self) -> dict[Example, tuple[Frames, int]]:
        return {
            example: (sequence, place)
            for sequences in self.sequences.values()
            for sequence in sequences
            for place, example in enumerate(sequence)
        }


class FilmedClips(ClipDataset):
    """Clips that a camera took: flow is read where files have it, else computed.

    Args:
        flow: computes and keeps flow; by default one that keeps nothing.
        flow_files: .flo files of pairs of frames, used instead.
    """

    def __init__(self, flow: FlowCache | None, flow_files: Mapping[Link, Path] | None = None):
        self._cache = flow or FlowCache()
        self._flow_files = flow_files or {}

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        if example.label is None:
            raise ValueError(f"{_source(example)}: the frame has no label map.")
        picture, labels = self.read_frame(example), self.read_labels(example)
        if picture.shape[:2] != labels.shape:
            raise ImageError(size_message(_source(example), picture, example.label, labels))
        return picture, labels

    def read_labels(self, example: Example) -> np.ndarray:
        return read_label(example.label, self.classes)

    def flow(self, first: Example, second: Example) -> np.ndarray:
        return self._flow_between((first, second), *self._read_link(first, second))

    def fill_flow(self, split: str, frames: int, workers: int | None = None) -> None:
        """Computes the flow that `read_clip` needs, in parallel, and keeps it in the cache.

        Args:
            split: whose examples.
            frames: the length of their clips, odd.
            workers: threads; one a processor by default.

        Raises:
            ValueError: as `read_clip` and `FlowCache.fill`.
        """
        links = dict.fromkeys(
            link for example in self.examples(split) for link in self._links(example, frames)
        )
        missing = [link for link in links if not {link, link[::-1]} <= self._flow_files.keys()]
        pairs = [functools.partial(self._read_link, *link) for link in missing]
        self._cache.fill(pairs, workers, f"{self.name} {split}, flow")

    def _flow_between(self, ends: Link, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        if ends not in self._flow_files:
            return self._cache(first, second)
        path = self._flow_files[ends]
        return check_flow(read_flo(path), first.shape[:2], path)

    def _links(self, example: Example, frames: int) -> Iterator[Link]:
        sequence, places = self._find(example, frames)
        inside = sequence[max(places.start, 0) : places.stop]
        return itertools.pairwise(inside)

    def _read_link(self, first: Example, second: Example) -> tuple[np.ndarray, np.ndarray]:
        pictures = self.read_frame(first), self.read_frame(second)
        _check_size(first, pictures[0], second, pictures[1])
        return pictures


class ClipFolder(FilmedClips):
    """A directory of sequences, frames or videos, with label maps for some of their frames.

    Args:
        data_dir: holds
            `clips/`: a directory of pictures for each sequence, in natural order of their names
            (2.png before 10.png), or a video (.mp4, .avi, .mkv...), whose frames are called
            000000, 000001... To reach a frame all before it are decoded: for training in random
            order have pictures.
            `labels/`: SEQUENCE/FRAME.png for some frames: class indices or colours, see
            `read_label`.
            `flow/`: if there is any, SEQUENCE/FRAME_forward.flo from that frame to the next, and
            SEQUENCE/FRAME_backward.flo back from the next to that frame, both of the same link;
            used instead of computed flow.
            `splits/`: `train.txt`, `val.txt`...: a sequence on each line.
            `classes.json`: as for `FolderDataset`.
        flow: computes and keeps the flow that no file has; by default nothing is kept.

    Raises:
        ValueError: where a part is missing or broken, a sequence is listed twice in a split, two
            frames have one name, or a label map or a flow has no frame.
    """

    name = "clips"

    def __init__(self, data_dir: Path, flow: FlowCache | None = None):
        data_dir = Path(data_dir)
        self.classes = read_classes(data_dir / "classes.json")
        lists = sorted((data_dir / "splits").glob("*.txt"))
        if not lists:
            raise ValueError(f"{data_dir / 'splits'}: expected train.txt, val.txt...; none there.")
        for part in ("clips", "labels"):
            if not (data_dir / part).is_dir():
                raise ValueError(f"{data_dir / part}: no such directory; expected the {part}.")
        names = {path.stem: _read_names(path) for path in lists}
        self._videos: dict[str, Path] = {}
        self._open_video = functools.lru_cache(_OPEN_VIDEOS)(_Video)
        flow_files: dict[Link, Path] = {}
        found = {}
        for name in dict.fromkeys(itertools.chain(*names.values())):
            found[name] = self._list_frames(data_dir, name)
            flow_files |= _flow_files(data_dir / "flow" / name, found[name])
        super().__init__(flow, flow_files)
        self.sequences = {
            split: tuple(found[name] for name in listed) for split, listed in names.items()
        }
        self.splits = {
            split: tuple(example for sequence in sequences for example in sequence if example.label)
            for split, sequences in self.sequences.items()
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
            # No image for a frame of a video: checks would try to read the file as a picture.
            Example(f"{sequence}/{name}", images.get(name), labels.get(name), index)
            for index, name in enumerate(names)
        )


class _Video:
    """A video that several threads read; it keeps the latest frames."""

    def __init__(self, path: Path):
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
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{path}: expected names of sequences in clips/, received {name!r}.")
        if names.count(name) > 1:
            raise ValueError(f"{path}: the sequence {name!r} is listed twice; keep one of them.")
    return names


def _find_source(root: Path) -> Path:
    """The directory or the video of a sequence."""
    videos = [path for path in _visible(root.parent, *VIDEO_SUFFIXES) if path.stem == root.name]
    found = [root] * root.is_dir() + videos
    if not found:
        raise ValueError(
            f"{root}: expected a directory of frames, or a video of that name with one of the "
            f"suffixes {', '.join(sorted(VIDEO_SUFFIXES))}; none there."
        )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ValueError(f"{root}: {root.name!r} fits {names}; keep one of them.")
    return found[0]


def _list_images(folder: Path) -> dict[str, Path]:
    """The pictures of a directory by their names without suffix, in natural order."""
    images: dict[str, Path] = {}
    for path in sorted(_visible(folder, *SUFFIXES), key=natural_order):
        if path.stem in images:
            names = f"{images[path.stem].name} and {path.name}"
            raise ValueError(f"{folder}: two frames of one name, {names}; keep one of them.")
        images[path.stem] = path
    if not images:
        raise ValueError(f"{folder}: expected the frames of a sequence as pictures; none there.")
    return images


def _frame_names(video: Path) -> list[str]:
    count = VideoReader(video).frame_count
    if count < 1:
        raise ValueError(
            f"{video}: the file does not say how many frames it has; write it anew "
            "(ffmpeg -i OLD -c copy NEW), or its frames as pictures."
        )
    return [f"{index:06d}" for index in range(count)]


def _flow_files(folder: Path, sequence: Frames) -> dict[Link, Path]:
    links = {}
    for first, second in itertools.pairwise(sequence):
        name = first.name.rsplit("/", 1)[1]
        links[f"{name}_forward"] = first, second
        links[f"{name}_backward"] = second, first
    files = {path.stem: path for path in _visible(folder, ".flo")}
    expected = "expected FRAME_forward.flo or FRAME_backward.flo of a frame that another follows"
    _check_known(files, links, expected)
    return {links[name]: path for name, path in files.items()}


def _check_known(files: dict[str, Path], names: Iterable[str], message: str) -> None:
    unknown = sorted(files.keys() - set(names))
    if unknown:
        raise ValueError(f"{files[unknown[0]]}: {message}; files like it: {len(unknown)}.")


def _visible(folder: Path, *suffixes: str) -> list[Path]:
    """The files of a directory with one of the suffixes; none where there is no directory."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [p for p in paths if p.suffix.lower() in suffixes and not p.name.startswith(".")]


def _check_size(one: Example, picture: np.ndarray, other: Example, found: np.ndarray) -> None:
    if picture.shape != found.shape:
        (h, w), (other_h, other_w) = picture.shape[:2], found.shape[:2]
        raise ValueError(
            f"{_source(other)}: {other_w}x{other_h} pixels, but {_source(one)} has {w}x{h}; "
            "the frames of a sequence must agree."
        )


def _source(example: Example) -> Path:
    return example.image or Path(example.name)
