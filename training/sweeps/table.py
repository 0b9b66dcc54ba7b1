"""The table of a sweep: what its evaluations say, as JSON, as Markdown and for the terminal."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from ..evaluation.comparison import Counts, compare, load_counts
from ..evaluation.results import score_definitions
from ..rundir.paths import read_json
from .definitions import Sweep

ABLATION = "ablation.json"  # as `summarize` makes it
# Columns of the table behind the comparison, and where an evaluation has them.
COLUMNS = {
    "accuracy": ("accuracy",),
    "mean accuracy": ("mean_accuracy",),
    "f.w. IoU": ("frequency_weighted_iou",),
    "TA": ("objects", "ta"),
    "LA": ("objects", "la"),
    "BA": ("objects", "ba"),
    "ECE": ("calibration", "ece"),
    "consistency": ("consistency", "miou"),
}
# Those for which a terminal has no room.
_IN_FILES_ALONE = ("accuracy", "mean accuracy", "f.w. IoU", "ECE")
CONFIDENCE = 0.95

Evaluations = Mapping[tuple[str, int], Path]


def summarize(
    sweep: Sweep, evaluations: Evaluations, seeds: Sequence[int], split: str, block: int
) -> dict[str, Any]:
    """The table of a sweep as JSON values.

    Args:
        sweep: the rows.
        evaluations: the file that `training.evaluate` wrote, by a row's name and the seed. Rows
            that are not there yet stay empty.
        seeds: those that each row is to have.
        split: they are of.
        block: as in `metrics.paired_bootstrap`.

    Returns:
        "title", "seeds", "split", "reference", "block", "confidence", "definitions" of scores, and
        in "rows" for each row "name", "title", "paper", by seed the "miou" and the file of the
        "evaluations", "mean" and "deviation" of each score over the seeds, and "against", what
        `compare` finds between the reference and the row, all seeds' counts added up. The deviation
        is the sample's standard deviation, None for a single seed.
    """
    rows, definitions = [], ""
    for row in sweep.rows:
        files = {seed: file for (name, seed), file in evaluations.items() if name == row.name}
        stages = {seed: read_json(file)["stages"][-1] for seed, file in files.items()}
        found = {seed: _scores(stage) for seed, stage in stages.items()}
        definitions = next(map(score_definitions, stages.values()), definitions)
        columns = {column: [one[column] for one in found.values()] for column in ("mIoU", *COLUMNS)}
        known = {c: values for c, values in columns.items() if values and None not in values}
        rows.append(
            {
                "name": row.name,
                "title": row.title or row.name,
                "paper": row.paper,
                "miou": {seed: one["mIoU"] for seed, one in found.items()},
                "evaluations": {seed: str(file) for seed, file in files.items()},
                "mean": {column: statistics.fmean(values) for column, values in known.items()},
                "deviation": {column: _deviation(values) for column, values in known.items()},
                "against": _against(sweep.reference, row.name, evaluations, split, block),
            }
        )
    return {
        "title": sweep.title,
        "seeds": list(seeds),
        "split": split,
        "reference": sweep.reference,
        "block": block,
        "confidence": CONFIDENCE,
        "definitions": definitions,
        "rows": rows,
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """The table that `summarize` made, as Markdown."""
    head, *lines = _cells(summary)
    rule = ["---", *["---:"] * (len(head) - 1)]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
    return f"# {summary['title']}\n\n{text}\n\n{_notes(summary)}\n"


def table(summary: Mapping[str, Any]) -> Table:
    """The table that `summarize` made, for the terminal, without some of its columns."""
    head, *lines = _cells(summary, without=_IN_FILES_ALONE)
    columns = [Column(head[0]), *(Column(name, justify="right") for name in head[1:])]
    found = Table(*columns, title=summary["title"], caption=_notes(summary))
    for cells in lines:
        found.add_row(*cells)
    return found


def _cells(summary: Mapping[str, Any], without: Sequence[str] = ()) -> list[list[str]]:
    """The head and the lines of the table; columns that are empty are left out, too."""
    lines = [_line(row, len(summary["seeds"])) for row in summary["rows"]]
    head = [c for c in lines[0] if c not in without and any(line[c] for line in lines)]
    return [head, *([line[column] for column in head] for line in lines)]


def _line(row: Mapping[str, Any], seeds: int) -> dict[str, str]:
    """What each column says about a row."""
    found = len(row["miou"])
    missing = "" if found == seeds else f" ({found} of {seeds} seeds)"
    difference, interval = "", ""
    if row["against"]:
        difference = f"{100 * row['against']['difference']:+.2f}"
        interval = " … ".join(f"{100 * end:+.2f}" for end in row["against"]["interval"])
    mean, deviation = row["mean"], row["deviation"].get("mIoU")
    texts = {column: f"{100 * value:.1f}" for column, value in mean.items()}
    if deviation is not None:
        texts["mIoU"] += f" ± {100 * deviation:.1f}"
    return {
        "network": row["title"] + missing,
        "paper": "" if row["paper"] is None else f"{row['paper']:g}",
        "mIoU": texts.get("mIoU", ""),
        "difference": difference,
        "interval": interval,
        **{column: texts.get(column, "") for column in COLUMNS},
    }


def _notes(summary: Mapping[str, Any]) -> str:
    seeds, titles = summary["seeds"], {row["name"]: row["title"] for row in summary["rows"]}
    runs = f"seed {seeds[0]}"
    if len(seeds) > 1:
        runs = f"means of the seeds {', '.join(map(str, seeds))}, mIoU ± their standard deviation"
    images = "images" if summary["block"] == 1 else f"blocks of {summary['block']} images"
    definitions = f" {summary['definitions']}." if summary["definitions"] else ""
    return (
        f"In per cent, on {summary['split']}; {runs}. Differences in mIoU from "
        f"“{titles[summary['reference']]}”, with {100 * summary['confidence']:g}% intervals of a "
        f"paired bootstrap over {images}, the counts of all seeds added up.{definitions}"
    )


def _scores(stage: Mapping[str, Any]) -> dict[str, float | None]:
    """An evaluation's numbers by the table's column."""
    found = {"mIoU": stage["miou"]}
    for column, path in COLUMNS.items():
        value: Any = stage
        for key in path:
            value = value.get(key) if value else None
        found[column] = value
    return found


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _against(
    reference: str, name: str, evaluations: Evaluations, split: str, block: int
) -> dict[str, Any] | None:
    """The bootstrap's verdict on a row, for the seeds that both have."""
    pairs = {
        seed: (evaluations[reference, seed], file)
        for (other, seed), file in evaluations.items()
        if other == name and (reference, seed) in evaluations
    }
    if name == reference or not pairs:
        return None
    first, second = (
        _added([load_counts(str(file), split) for file in files])
        for files in zip(*pairs.values(), strict=True)
    )
    found = compare(first, second, block=block, confidence=CONFIDENCE)
    verdict = {key: value for key, value in found.items() if key != "images"}
    return {**verdict, "seeds": list(pairs)}


def _added(counts: Sequence[Counts]) -> Counts:
    """The counts of several networks for the same images, added up image by image."""
    first = counts[0]
    total = sum(one.confusions[[one.names.index(n) for n in first.names]] for one in counts)
    return Counts(first.title, first.names, total)
