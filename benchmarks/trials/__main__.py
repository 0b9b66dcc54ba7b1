"""Run the trials; see the package."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import tyro

from . import Outcome, __doc__, disk, fuzz, kill, soak

TRIALS: dict[str, Callable[[Path, int, float], Iterable[Outcome]]] = {
    "kill": kill.run,
    "disk": disk.run,
    "fuzz": fuzz.run,
    "soak": soak.run,
}


def main(
    only: tuple[Literal["kill", "disk", "fuzz", "soak"], ...] = ("kill", "disk", "fuzz", "soak"),
    seed: int = 0,
    scale: float = 1.0,
) -> int:
    """Run trials and print a table of their outcomes.

    Args:
        only: which trials.
        seed: of everything random.
        scale: fraction of the usual number of repetitions.
    """
    print(f"seed {seed}, scale {scale:g}\n")
    print("| trial | result | seconds |\n|---|---|---|", flush=True)
    failures = []
    for name in only:
        with tempfile.TemporaryDirectory(prefix="keras-dpn-trials-") as folder:
            started = time.monotonic()
            for outcome in TRIALS[name](Path(folder), seed, scale):
                result = "; ".join([outcome.result, *outcome.failures[:3]])
                seconds, started = time.monotonic() - started, time.monotonic()
                print(f"| {outcome.trial} | {result} | {seconds:.0f} |", flush=True)
                failures += outcome.failures
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
