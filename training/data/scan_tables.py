"""Tables of what `checks.scan_dataset` finds."""

import numpy as np
from rich.table import Table

from ..utils.counts import counted
from .checks import DatasetIssue, DatasetScan
from .dataset import Dataset
from .statistics import class_frequencies


def class_table(dataset: Dataset, scan: DatasetScan) -> Table:
    """Return each class's fraction of the pixels, and the images that contain it, by split."""
    table = Table(title=f"{dataset.name}: fraction of pixels (images that contain it)")
    table.add_column("class")
    for split, rows in scan.counts.items():
        table.add_column(f"{split}, {len(rows)}", justify="right")
    fractions = [class_frequencies(rows.sum(axis=0)) for rows in scan.counts.values()]
    images = [(rows > 0).sum(axis=0) for rows in scan.counts.values()]
    for label, name in enumerate(dataset.classes.names):
        pairs = zip(fractions, images, strict=True)
        cells = (f"{fraction[label]:.2%} ({count[label]})" for fraction, count in pairs)
        table.add_row(name, *cells)
    totals = [rows.sum() + scan.ignored[split].sum() for split, rows in scan.counts.items()]
    cells = (
        f"{ignored.sum() / max(total, 1):.2%} ({(ignored > 0).sum()})"
        for ignored, total in zip(scan.ignored.values(), totals, strict=True)
    )
    table.add_row("ignored, of all pixels", *cells, style="dim")
    return table


def ignored_table(scan: DatasetScan, most: int = 10) -> Table | None:
    """Return the images with the largest fractions of ignored pixels; None if there are none.

    Args:
        scan: of a dataset.
        most: the largest number of images per split.
    """
    table = Table("split", "image", "ignored", title="Images with the most ignored pixels")
    for split in scan.ignored:
        fractions = scan.ignored_fractions(split)
        for index in np.argsort(-fractions, kind="stable")[:most]:
            if fractions[index]:
                table.add_row(split, scan.names[split][index], f"{fractions[index]:.2%}")
    return table if table.row_count else None


def issue_table(issues: list[DatasetIssue]) -> Table:
    """Return a row per issue."""
    warnings = sum(issue.is_warning for issue in issues)
    title = f"Issues: {len(issues) - warnings} to fix, {counted(warnings, 'warning')}"
    table = Table("split", "issue", "details", title=title)
    for issue in issues:
        style = "yellow" if issue.is_warning else "red"
        table.add_row(issue.where, issue.type, issue.message, style=style)
    return table
