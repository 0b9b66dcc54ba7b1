"""Label images of mixed sizes for a long time, and watch the memory."""

import os
from pathlib import Path

import numpy as np

from . import Outcome

INFERENCES, SIZES = 2_000, 40
LARGEST = 160  # pixels of a side
ALLOWED = 40.0  # MB by which memory may grow after the first fifth


def run(folder: Path, seed: int, scale: float) -> list[Outcome]:
    """Return how the memory of the process grew over inferences of mixed sizes."""
    from keras_dpn import Segmenter

    rng, segmenter = np.random.default_rng(seed), Segmenter.from_preset("dpn_scenes", size=None)
    sizes, count = rng.integers(16, LARGEST, (SIZES, 2)), max(2 * SIZES, round(INFERENCES * scale))
    megabytes = []
    for number in range(count):
        height, width = sizes[number % SIZES if number < SIZES else rng.integers(SIZES)]
        segmenter.labels(rng.integers(0, 256, (height, width, 3), "uint8"))
        megabytes.append(_resident())
    start = max(megabytes[SIZES - 1 : max(SIZES, count // 5)])
    growth = megabytes[-1] - start
    failures = (f"grew by more than {ALLOWED:.0f} MB",) if growth > ALLOWED else ()
    trial = f"{count} images of {SIZES} sizes up to {LARGEST} x {LARGEST}, `Segmenter`"
    result = f"{start:.0f} MB after the first fifth, {growth:+.0f} MB at the end"
    return [Outcome(trial, result, failures)]


def _resident() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
