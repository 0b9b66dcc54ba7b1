"""Functions that read examples, with or without a cache of decoded ones."""

import functools
from collections import defaultdict
from collections.abc import Callable
from threading import Lock

import numpy as np

from ..clips.base import Clip, ClipDataset
from ..dataset import Dataset, Example
from .clips import ClipInputs

ReadFunction = Callable[[Example], tuple[np.ndarray, np.ndarray] | Clip]


def read_function(dataset: Dataset, clips: ClipInputs | None) -> ReadFunction:
    """Return a function that reads an image with its labels, or a clip.

    Raises:
        ValueError: if clips are needed and the dataset has none.
    """
    if clips is None:
        return dataset.read
    if not isinstance(dataset, ClipDataset):
        raise ValueError(
            f"Invalid value for argument `dataset`: expected one of clips, received {dataset.name}."
        )
    return functools.partial(dataset.read_clip, frames=clips.frames, flow=clips.flow)


@functools.cache
def cached_read_function(dataset: Dataset, clips: ClipInputs | None) -> ReadFunction:
    """Return `read_function` with a cache, the same one for all pipelines of a dataset.

    TensorFlow never releases functions passed to numpy_function (2.21): a cache per pipeline would
    stay in memory after every stage.
    """
    return _Cache(read_function(dataset, clips))


class _Cache:
    """A cache of examples, each decoded once, even if several threads request it at once."""

    def __init__(self, read: ReadFunction) -> None:
        self._read = read
        self._locks: defaultdict[Example, Lock] = defaultdict(Lock)
        self._lock = Lock()
        self._decoded: dict[Example, tuple[np.ndarray, np.ndarray] | Clip] = {}

    def __call__(self, example: Example) -> tuple[np.ndarray, np.ndarray] | Clip:
        with self._lock:
            lock = self._locks[example]
        with lock:
            if example not in self._decoded:
                self._decoded[example] = self._read(example)
            return self._decoded[example]
