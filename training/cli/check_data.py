"""Reads a whole data set and reports every fault at once.

    python -m training.check_data camvid --data-dir DIR

prints the faults and how often each class occurs, and ends with exit code 2 where there is one. Of
clips it reads the frames without labels too.
"""

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from ..data.checks import Fault, Survey, sequence_faults, survey
from ..data.clips.base import FilmedClips
from ..data.dataset import Dataset
from ..data.registry import NAMES, load_dataset
from ..data.statistics import class_frequencies


def main(
    dataset: Positional[Literal[*NAMES]],
    data_dir: Path | None = None,
    workers: int | None = None,
) -> None:
    """Reads a whole data set and reports every fault at once.

    Args:
        dataset: how to read it.
        data_dir: directory of the data set; those that are generated need none.
        workers: threads that read; one a processor by default.
    """
    data = load_dataset(dataset, data_dir)
    found = survey(data, workers=workers)
    faults = found.faults
    if isinstance(data, FilmedClips):
        faults = sequence_faults(data, workers=workers) + faults
    console = Console()
    console.print(_class_table(data, found))
    if faults:
        console.print(_fault_table(faults))
    errors = [fault for fault in faults if not fault.is_warning]
    if errors:
        source = data_dir or dataset
        raise ValueError(f"{source}: faults found: {len(errors)}; mend them before training.")
    console.print("No faults.")


def _class_table(dataset: Dataset, found: Survey) -> Table:
    """Each class's share of the pixels, and the pictures that show it, by split."""
    table = Table(title=f"{dataset.name}: share of pixels (pictures that show it)")
    table.add_column("class")
    for split, rows in found.counts.items():
        table.add_column(f"{split}, {len(rows)}", justify="right")
    shares = [class_frequencies(rows.sum(axis=0)) for rows in found.counts.values()]
    pictures = [(rows > 0).sum(axis=0) for rows in found.counts.values()]
    for label, name in enumerate(dataset.classes.names):
        pairs = zip(shares, pictures, strict=True)
        table.add_row(name, *(f"{share[label]:.2%} ({shown[label]})" for share, shown in pairs))
    return table


def _fault_table(faults: list[Fault]) -> Table:
    table = Table("split", "fault", "what", title=f"Faults and warnings: {len(faults)}")
    for fault in faults:
        style = "yellow" if fault.is_warning else "red"
        table.add_row(fault.where, fault.kind, fault.message, style=style)
    return table
