"""Datasets of clips: a labelled frame with its neighbours in time and the flow between them."""

import functools
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_dpn.io.images import ImageError

from ..dataset import Dataset, Example
from ..io.flo import INVALID_FLOW, check_flow, read_flo
from ..io.images import read_label, size_message
from .flow import FlowCache

Frames = tuple[Example, ...]
Link = tuple[Example, Example]


@dataclass(frozen=True)
class Clip:
    """T frames in order of time, T odd, with the labels of the center frame.

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
    """A dataset whose images are frames of sequences.

    `read` still returns one labelled image, so that it also serves as a dataset of images.

    Attributes:
        sequences: for each split its sequences, each a tuple of frames in order of time. Frames
            without labels have the label None; every example of `splits` is in one sequence.
    """

    sequences: dict[str, tuple[Frames, ...]]

    @abstractmethod
    def read_frame(self, example: Example) -> np.ndarray:
        """Read a frame, labelled or not, uint8 (H, W, 3) RGB.

        Raises:
            ValueError: naming the file, if it can't be read.
        """

    @abstractmethod
    def flow(self, first: Example, second: Example) -> np.ndarray:
        """Return the flow from a frame to one next to it: float32 (H, W, 2), (dx, dy) in pixels.

        Raises:
            ValueError: naming the file, if one can't be read or doesn't match.
        """

    def links(self, sequence: Frames) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the flow from each frame to the next, and back, as `flow` returns it."""
        for first, second in itertools.pairwise(sequence):
            yield self.flow(first, second), self.flow(second, first)

    def read_clip(self, example: Example, frames: int, *, flow: bool = True) -> Clip:
        """Read a labelled frame with its neighbours around it.

        Beyond the ends of the sequence its first or last frame is repeated, and all flow to and
        from these copies is `INVALID_FLOW`.

        Args:
            example: a labelled frame.
            frames: the clip's length T, odd.
            flow: whether to read the flow; if not, the clip has flow (0, H, W, 2).

        Raises:
            ValueError: on an even or negative length, an example that is in no sequence, and,
                naming the files, if one can't be read or the frames differ in size.
        """
        sequence, positions = self._find(example, frames)
        middle, last = positions[frames // 2], len(sequence) - 1
        inside = range(max(positions.start, 0), min(positions.stop, len(sequence)))
        # In order of time: a video is read forwards.
        images = {i: self.read_frame(sequence[i]) for i in inside if i < middle}
        images[middle], labels = self.read(example)
        images |= {i: self.read_frame(sequence[i]) for i in inside if i > middle}
        for i in inside:
            _check_size(example, images[middle], sequence[i], images[i])

        def step(first: int, second: int) -> np.ndarray:
            if first not in images or second not in images:
                return np.full((*labels.shape, 2), INVALID_FLOW, "float32")
            ends = sequence[first], sequence[second]
            return self._flow_between(ends, images[first], images[second])

        links = list(itertools.pairwise(positions)) if flow else []
        no_flow = np.zeros((0, *labels.shape, 2), "float32")
        return Clip(
            np.stack([images[min(max(i, 0), last)] for i in positions]),
            np.stack([step(a, b) for a, b in links]) if links else no_flow,
            np.stack([step(b, a) for a, b in links]) if links else no_flow,
            labels,
        )

    def _flow_between(self, ends: Link, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return `flow`, from frames that have been read already."""
        return self.flow(*ends)

    def _find(self, example: Example, frames: int) -> tuple[Frames, range]:
        """Return an example's sequence, and the positions in or beyond it of a clip's frames."""
        if frames < 1 or frames % 2 == 0:
            raise ValueError(
                "Invalid value for argument `frames`: expected an odd number, since a clip has "
                f"the labels of its center frame, received {frames}."
            )
        if example not in self._positions:
            raise ValueError(f"{self.name}: no sequence has the frame {example.name!r}.")
        sequence, position = self._positions[example]
        return sequence, range(position - frames // 2, position + frames // 2 + 1)

    @functools.cached_property
    def _positions(self) -> dict[Example, tuple[Frames, int]]:
        return {
            example: (sequence, position)
            for sequences in self.sequences.values()
            for sequence in sequences
            for position, example in enumerate(sequence)
        }


class RecordedClips(ClipDataset):
    """Clips of recorded videos: flow is read from files if there are any, otherwise computed.

    Args:
        flow: computes and caches flow; by default without a cache.
        flow_files: .flo files by pairs of frames, used instead.
    """

    def __init__(
        self, flow: FlowCache | None, flow_files: Mapping[Link, Path] | None = None
    ) -> None:
        self._cache = flow or FlowCache()
        self._flow_files = flow_files or {}

    def read(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        if example.label is None:
            raise ValueError(f"{_source(example)}: the frame has no label map.")
        image, labels = self.read_frame(example), self.read_labels(example)
        if image.shape[:2] != labels.shape:
            raise ImageError(size_message(_source(example), image, example.label, labels))
        return image, labels

    def read_labels(self, example: Example) -> np.ndarray:
        return read_label(example.label_file, self.classes, self.label_values)

    def flow(self, first: Example, second: Example) -> np.ndarray:
        return self._flow_between((first, second), *self._read_link(first, second))

    def fill_flow(self, split: str, frames: int, workers: int | None = None) -> None:
        """Compute the flow that `read_clip` needs, in parallel, and keep it in the cache.

        Args:
            split: whose examples.
            frames: the length of their clips, odd.
            workers: threads; one per processor by default.

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
        sequence, positions = self._find(example, frames)
        inside = sequence[max(positions.start, 0) : positions.stop]
        return itertools.pairwise(inside)

    def _read_link(self, first: Example, second: Example) -> tuple[np.ndarray, np.ndarray]:
        images = self.read_frame(first), self.read_frame(second)
        _check_size(first, images[0], second, images[1])
        return images


def _check_size(
    first: Example, image: np.ndarray, second: Example, other_image: np.ndarray
) -> None:
    if image.shape != other_image.shape:
        (h, w), (other_h, other_w) = image.shape[:2], other_image.shape[:2]
        raise ValueError(
            f"{_source(second)}: {other_w}x{other_h} pixels, but {_source(first)} has {w}x{h}; "
            "the frames of a sequence must agree."
        )


def _source(example: Example) -> Path:
    return example.image or Path(example.name)
