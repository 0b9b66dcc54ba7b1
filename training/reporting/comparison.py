"""Several runs side by side, each against the first."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..evaluation.comparison import compare
from ..rundir.paths import read_json
from . import html
from .runs import Run, stage_counts
from .sections import scores

_VERDICTS = "Is the difference more than chance?"


def score_tables(runs: Sequence[Run], names: Sequence[str]) -> str:
    """The scores after the last stage, a column for each run; a table for each split they share."""
    found = [_last_stages(run) for run in runs]
    text = (
        "After the last stage of each run, in per cent; beside it, in points, the difference from "
        "the first run."
    )
    sections = []
    for split in found[0]:
        if all(split in one for one in found):
            columns = [
                {**one[split], "name": run.title} for one, run in zip(found, runs, strict=True)
            ]
            table = scores.score_table(columns, names, from_first=True)
            sections.append(html.section(f"Scores on {split}", text, table))
    return "\n".join(sections)


def _last_stages(run: Run) -> dict[str, dict[str, Any]]:
    """Scores of the last stage by split: from training, and what `training.evaluate` has added."""
    stages = {run.results["config"]["data"]["val_split"]: run.results["stages"][-1]}
    for path in sorted(run.work_dir.glob("evaluation_*.json")):
        evaluation = read_json(path)
        stages.setdefault(evaluation["split"], evaluation["stages"][-1])
    return stages


def verdicts(runs: Sequence[Run], split: str | None, block: int) -> str:
    """What a paired bootstrap says about the differences in mean IoU from the first run.

    Args:
        runs: two or more.
        split: one on which all were evaluated picture by picture; None if there is none.
        block: as in `metrics.paired_bootstrap`.
    """
    if split is None:
        text = (
            "Unknown: the runs share no split of which <code>python -m training.evaluate</code> "
            "has written what it counted in each picture."
        )
        return html.section(_VERDICTS, text)
    first, *others = [
        stage_counts(run.work_dir, split)[-1]._replace(title=run.title) for run in runs
    ]
    found, unknown = {}, []
    for other in others:
        try:
            found[other.title] = compare(first, other, block=block)
        except ValueError as error:
            unknown.append(f"<p>Not known: {escape(str(error))}</p>")
    return verdict_section(found, first.title, len(first.names), split, block, *unknown)


def verdict_section(
    found: Mapping[str, Mapping[str, Any]],
    first: str,
    count: int,
    split: str,
    block: int,
    *more: str,
) -> str:
    """What `training.compare` finds between the first and others, by title; and more HTML."""
    drawn = "pictures" if block == 1 else f"blocks of {block} successive pictures"
    text = (
        f"Mean IoU on {count} pictures of {escape(split)} against that of {escape(first)}, in "
        f"points, with the 95 % interval of a paired bootstrap over {drawn}. Another seed of the "
        "training may change more than that."
    )
    head = ["", "difference", "95 % interval", "draws that it wins", ""]
    rows = [_verdict(title, one) for title, one in found.items()]
    return html.section(_VERDICTS, text, html.table(head, [rows]) if rows else "", *more)


def _verdict(title: str, found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    verdict = '<span class="quiet">may be chance</span>'
    if low > 0:
        verdict = '<span class="up">better</span>'
    elif high < 0:
        verdict = '<span class="down">worse</span>'
    difference, interval = _signed(found["difference"]), f"{_signed(low)} … {_signed(high)}"
    wins = f"{scores.percent(found['wins'])} %"
    return html.row(title, [difference, interval, wins, verdict])


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")
