"""Trials of what a user may meet: kills, full disks, broken files, long use.

python -m benchmarks.trials [--only kill disk fuzz soak] [--seed 0] [--scale 1.0]

runs them all with a seed and prints a table; the exit code is 1 if one fails. `--scale 0.01` is a
quick look. `make trials` does the same.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """The result of a trial.

    Args:
        trial: what was done, how often.
        result: what came of it.
        failures: what should not have happened.
    """

    trial: str
    result: str
    failures: tuple[str, ...] = ()
