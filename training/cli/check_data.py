"""Read a whole dataset and report every fault at once.

    keras-dpn check-data camvid --data-dir DIR

Prints the faults and how often each class occurs; the exit code is 2 if there is a fault. Of clips
it reads the frames without labels too.
"""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ..data.registry import NAMES


def main(
    dataset: Positional[Literal[*NAMES]],
    data_dir: Path | None = None,
    workers: int | None = None,
) -> None:
    """Read a whole dataset and report every fault at once.

    Args:
        dataset: its layout.
        data_dir: its directory; generated ones need none.
        workers: threads that read; by default one per processor.
    """
    from rich.console import Console

    from ..data.checks import class_table, fault_table, sequence_faults, survey
    from ..data.clips.base import FilmedClips
    from ..data.registry import load_dataset

    data = load_dataset(dataset, data_dir)
    found = survey(data, workers=workers)
    faults = found.faults
    if isinstance(data, FilmedClips):
        faults = sequence_faults(data, workers=workers) + faults
    console = Console()
    console.print(class_table(data, found))
    if faults:
        console.print(fault_table(faults))
    errors = [fault for fault in faults if not fault.is_warning]
    if errors:
        source = data_dir or dataset
        raise ValueError(f"{source}: faults found: {len(errors)}; fix them before training.")
    console.print("No faults.")
