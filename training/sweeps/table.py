"""The table of a sweep's scores, as JSON, as Markdown and for the terminal."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from ..evaluation.comparison import Comparison, add_counts, compare
from ..evaluation.results import Evaluation, load_counts
from ..evaluation.scores import HeadScores
from ..evaluation.tables import score_definitions
from ..utils.files import read_json, reading, write_bytes, write_json
from .definitions import Sweep
from .plan import RowKey

ABLATION, _MARKDOWN = "ablation.json", "ablation.md"  # as `Summary.save` writes them
# Columns of the table after the comparison, and the score of each.
COLUMNS = {
    "accuracy": "accuracy",
    "mean accuracy": "mean_accuracy",
    "f.w. IoU": "frequency_weighted_iou",
    "TA": "objects.ta",
    "LA": "objects.la",
    "BA": "objects.ba",
    "ECE": "calibration.ece",
    "consistency": "consistency.miou",
}
# Columns that don't fit into a terminal.
_IN_FILES_ALONE = ("accuracy", "mean accuracy", "f.w. IoU", "ECE")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class RowSummary:
    """A row of the table.

    Args:
        name: name of the row.
        title: its title.
        paper: the mIoU in the paper, in percent.
        miou: by seed.
        evaluations: the JSON file of each seed's evaluation.
        mean: mean of each column's score over the seeds, if all seeds have it.
        deviation: standard deviation over the seeds; None for a single seed.
        against: comparison with the reference, with the counts of all seeds added up.
    """

    name: str
    title: str
    paper: float | None
    miou: Mapping[int, float | None]
    evaluations: Mapping[int, Path]
    mean: Mapping[str, float]
    deviation: Mapping[str, float | None]
    against: Comparison | None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            **vars(self),
            "evaluations": {seed: str(file) for seed, file in self.evaluations.items()},
            "against": self.against and self.against.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RowSummary:
        """Read what `to_json` returned, from JSON."""
        against = values["against"]
        changed = {
            "miou": {int(seed): miou for seed, miou in values["miou"].items()},
            "evaluations": {int(seed): Path(file) for seed, file in values["evaluations"].items()},
            "against": Comparison.from_json(against) if against else None,
        }
        return cls(**{**values, **changed})


@dataclass(frozen=True)
class Summary:
    """The table of a sweep.

    Args:
        title: of the sweep.
        seeds: those that each row is to have.
        split: the rows are scored on.
        reference: name of the row with which all others are compared.
        block_size: as in `compare`.
        confidence: of the intervals.
        definitions: of the scores; empty where nothing is scored yet.
        rows: the lines.
    """

    title: str
    seeds: tuple[int, ...]
    split: str
    reference: str
    block_size: int
    confidence: float
    definitions: str
    rows: tuple[RowSummary, ...]

    def save(self, directory: Path) -> None:
        """Write the table to a sweep's directory, as JSON and as Markdown."""
        write_json(directory / ABLATION, self.to_json())
        write_bytes(directory / _MARKDOWN, markdown(self).encode())

    @classmethod
    def load(cls, directory: Path) -> Summary:
        """Read the table from a sweep's directory; ValueError if it isn't one."""
        with reading(directory / ABLATION, "the table of a sweep"):
            return cls.from_json(read_json(directory / ABLATION))

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "title": self.title,
            "seeds": list(self.seeds),
            "split": self.split,
            "reference": self.reference,
            "block": self.block_size,
            "confidence": self.confidence,
            "definitions": self.definitions,
            "rows": [row.to_json() for row in self.rows],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Summary:
        """Read what `to_json` returned, from JSON."""
        changed = {
            "seeds": tuple(values["seeds"]),
            "block_size": values["block"],
            "rows": tuple(map(RowSummary.from_json, values["rows"])),
        }
        kept = {key: value for key, value in values.items() if key != "block"}
        return cls(**{**kept, **changed})


def check_tables(directory: Path) -> None:
    """Check that a sweep may write its table into a directory: that it replaces no other file.

    Raises:
        ValueError: naming the file that no sweep has written.
    """
    for path in (directory / ABLATION, directory / _MARKDOWN):
        if os.path.lexists(path) and not _is_table(path):
            raise ValueError(
                f"{path}: would be replaced, and no sweep has written it; choose another "
                "--work-dir, or move the file."
            )


def _is_table(path: Path) -> bool:
    """Return whether a file is a sweep's table: JSON, or Markdown next to it."""
    try:
        values = read_json(path.with_name(ABLATION))
        is_sweep = isinstance(values, dict) and {"rows", "seeds", "reference"} <= values.keys()
        return is_sweep and (path.name == ABLATION or path.read_bytes().startswith(b"# "))
    except (ValueError, OSError):
        return False


def summarize(
    sweep: Sweep,
    evaluations: Mapping[RowKey, Path],
    seeds: Sequence[int],
    split: str,
    block_size: int,
) -> Summary:
    """Make the table of a sweep.

    Args:
        sweep: the rows.
        evaluations: the JSON file of each evaluation. Rows without one stay empty.
        seeds: those that each row is to have.
        split: the rows are scored on.
        block_size: as in `compare`.
    """
    rows, definitions = [], ""
    for row in sweep.rows:
        files = {seed: file for (name, seed), file in evaluations.items() if name == row.name}
        heads = {s: Evaluation.load(f, with_counts=False).head() for s, f in files.items()}
        scores = [_scores(head) for head in heads.values()]
        definitions = next(map(score_definitions, heads.values()), definitions)
        columns = {column: [one[column] for one in scores] for column in ("mIoU", *COLUMNS)}
        known = {
            column: [value for value in values if value is not None]
            for column, values in columns.items()
            if values and None not in values
        }
        rows.append(
            RowSummary(
                name=row.name,
                title=row.title or row.name,
                paper=row.paper,
                miou={seed: head.miou for seed, head in heads.items()},
                evaluations=files,
                mean={column: statistics.fmean(values) for column, values in known.items()},
                deviation={column: _deviation(values) for column, values in known.items()},
                against=_against(sweep.reference, row.name, evaluations, split, block_size),
            )
        )
    return Summary(
        title=sweep.title,
        seeds=tuple(seeds),
        split=split,
        reference=sweep.reference,
        block_size=block_size,
        confidence=CONFIDENCE,
        definitions=definitions,
        rows=tuple(rows),
    )


def markdown(summary: Summary) -> str:
    """Return the table as Markdown."""
    head, *lines = _cells(summary)
    rule = ["---", *["---:"] * (len(head) - 1)]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
    return f"# {summary.title}\n\n{text}\n\n{_notes(summary)}\n"


def table(summary: Summary) -> Table:
    """Return the table for the terminal, without some of its columns."""
    head, *lines = _cells(summary, without=_IN_FILES_ALONE)
    columns = [Column(head[0]), *(Column(name, justify="right") for name in head[1:])]
    shown = Table(*columns, title=summary.title, caption=_notes(summary))
    for cells in lines:
        shown.add_row(*cells)
    return shown


def _cells(summary: Summary, without: Sequence[str] = ()) -> list[list[str]]:
    """Return the head and the lines of the table, without empty columns."""
    lines = [_line(row, len(summary.seeds)) for row in summary.rows]
    head = [c for c in lines[0] if c not in without and any(line[c] for line in lines)]
    return [head, *([line[column] for column in head] for line in lines)]


def _line(row: RowSummary, num_seeds: int) -> dict[str, str]:
    """Return the texts of a row by column."""
    scored = len(row.miou)
    missing = "" if scored == num_seeds else f" ({scored} of {num_seeds} seeds)"
    difference, interval = "", ""
    if row.against:
        difference = f"{100 * row.against.difference:+.2f}"
        interval = " … ".join(f"{100 * end:+.2f}" for end in row.against.interval)
    deviation = row.deviation.get("mIoU")
    texts = {column: f"{100 * value:.1f}" for column, value in row.mean.items()}
    if deviation is not None:
        texts["mIoU"] += f" ± {100 * deviation:.1f}"
    return {
        "network": row.title + missing,
        "paper": "" if row.paper is None else f"{row.paper:g}",
        "mIoU": texts.get("mIoU", ""),
        "difference": difference,
        "interval": interval,
        **{column: texts.get(column, "") for column in COLUMNS},
    }


def _notes(summary: Summary) -> str:
    seeds, titles = summary.seeds, {row.name: row.title for row in summary.rows}
    runs = f"seed {seeds[0]}"
    if len(seeds) > 1:
        runs = f"means of the seeds {', '.join(map(str, seeds))}, mIoU ± their standard deviation"
    images = "images"
    if summary.block_size > 1:
        images = f"blocks of {summary.block_size} images"
    definitions = f" {summary.definitions}." if summary.definitions else ""
    return (
        f"In percent, on {summary.split}; {runs}. Differences in mIoU from "
        f"“{titles[summary.reference]}”, with {100 * summary.confidence:g}% intervals of a "
        f"paired bootstrap over {images}, the counts of all seeds added up.{definitions}"
    )


def _scores(head: HeadScores) -> dict[str, float | None]:
    """Return the scores by the table's column."""
    return {"mIoU": head.miou} | {column: head.value(score) for column, score in COLUMNS.items()}


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _against(
    reference: str, name: str, evaluations: Mapping[RowKey, Path], split: str, block_size: int
) -> Comparison | None:
    """Compare a row with the reference, for the seeds that both have."""
    pairs = {
        seed: (evaluations[reference, seed], file)
        for (other, seed), file in evaluations.items()
        if other == name and (reference, seed) in evaluations
    }
    if name == reference or not pairs:
        return None
    first, second = (
        add_counts([load_counts(str(file), split) for file in files])
        for files in zip(*pairs.values(), strict=True)
    )
    comparison = compare(first, second, block_size=block_size, confidence=CONFIDENCE)
    return replace(comparison, images=(), seeds=tuple(pairs))
