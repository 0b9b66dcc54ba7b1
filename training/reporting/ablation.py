"""The table of a sweep, with the IoU of each class and the networks' labels side by side."""

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from keras_dpn.classes import Classes
from keras_dpn.crf import refine
from keras_dpn.inference import to_labels

from ..data.dataset import Dataset
from ..evaluation.comparison import load_counts
from ..evaluation.results import OTHER_SCORES, SCORES
from ..rundir.paths import RESULTS, load_classes, load_model, read_json
from ..sweeps.table import ABLATION
from . import comparison, html
from .images import Picture, clip_length, output_map, read_pictures, stage_output, strip
from .runs import choose_pictures
from .sections import scores


class Row(NamedTuple):
    """A line of the table that has been scored: its title, verdict, and evaluations by seed."""

    name: str
    title: str
    paper: float | None
    against: Mapping[str, Any] | None
    files: tuple[Path, ...]
    evaluations: tuple[dict[str, Any], ...]

    @property
    def run(self) -> Path:
        """The directory of the first seed's run."""
        return Path(self.evaluations[0]["run"])


class Ablation(NamedTuple):
    """What `training.ablate` has left in a directory; its rows with the reference in front."""

    summary: dict[str, Any]
    rows: list[Row]

    @property
    def classes(self) -> Classes:
        return load_classes(self.rows[0].run)


def read_ablation(work_dir: Path) -> Ablation:
    """Read the rows that have been scored.

    Raises:
        ValueError: if there is none, or an evaluation is missing.
    """
    summary, rows = read_json(work_dir / ABLATION), []
    for row in summary["rows"]:
        names = [Path(file).name for file in row["evaluations"].values()]
        files = tuple(work_dir / "evaluations" / name for name in names)
        found = tuple(read_json(file) for file in files)
        if found:
            settings = (row[key] for key in ("name", "title", "paper", "against"))
            rows.append(Row(*settings, files, found))
    if not rows:
        raise ValueError(f"{work_dir / ABLATION}: expected at least one row with scores.")
    return Ablation(summary, sorted(rows, key=lambda row: row.name != summary["reference"]))


def choose(ablation: Ablation, count: int) -> dict[str, str]:
    """Pictures to show with titles: best and worst of the best row, and most changed to it."""
    best = max(ablation.rows, key=lambda row: _mean(row)["miou"])
    counts = (load_counts(str(row.files[0]), "") for row in (ablation.rows[0], best))
    return choose_pictures(*counts, count)


def score_tables(ablation: Ablation) -> str:
    """All scores of all rows, and those of the papers."""
    summary = ablation.summary
    seeds = ", ".join(map(str, summary["seeds"]))
    text = (
        f"On {escape(summary['split'])}, in per cent, "
        f"{'means of the seeds' if len(summary['seeds']) > 1 else 'seed'} {seeds}; beside it, in "
        "points, the difference from the first."
    )
    columns = [_mean(row) for row in ablation.rows]
    names = ablation.classes.names
    table = scores.score_table(columns, names, from_first=True)
    papers = [html.row(row.title, [f"{row.paper:g}"]) for row in ablation.rows if row.paper]
    extra = html.table(["mean IoU in the paper", "%"], [papers]) if papers else ""
    return html.section("Scores", text, table, extra)


def verdicts(ablation: Ablation) -> str:
    """What a paired bootstrap says about the differences from the reference."""
    rows = {row.title: row.against for row in ablation.rows if row.against}
    count, first = ablation.rows[0].evaluations[0]["images"], ablation.rows[0].title
    return comparison.verdict_section(
        rows, first, count, ablation.summary["split"], ablation.summary["block"]
    )


def settings(ablation: Ablation) -> str:
    """In what the runs differ, folded away: of different networks it is much."""
    results = {row.title: read_json(row.run / RESULTS) for row in ablation.rows}
    table = f"<details><summary>Show them</summary>{scores.differences(results)}</details>"
    return html.section("Settings that differ", "", table)


def strips(
    ablation: Ablation, dataset: Dataset, titles: Mapping[str, str]
) -> tuple[Sequence[Picture], list[str]]:
    """The pictures of these names, and for each the labels of all rows' first seeds."""
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in titles}
    for row in track(ablation.rows, "pictures of the rows"):  # one model in memory at a time
        evaluation = row.evaluations[0]
        model = load_model(row.run, evaluation["stage"])
        pictures = read_pictures(
            dataset, evaluation["split"], len(titles), clip_length(model), list(titles)
        )
        for picture in pictures:
            found[picture.name][row.title] = _labels(model, evaluation, picture)
    shown = [strip(p, found[p.name], dataset.classes, from_first=True) for p in pictures]
    return pictures, shown


def _labels(model: Any, evaluation: Mapping[str, Any], picture: Picture) -> np.ndarray:
    """What the row's network, up to its output and with its CRF, says."""
    output = evaluation["output"] or stage_output(model, "final")
    probabilities = output_map(model, output, picture)
    if evaluation["crf"] is not None:
        probabilities = refine(picture.image, probabilities, **evaluation["crf"])
    return to_labels(probabilities)


def _mean(row: Row) -> dict[str, Any]:
    """The last stage's scores, means of the seeds; None where a seed has none."""
    stages = [evaluation["stages"][-1] for evaluation in row.evaluations]
    mean = {**stages[0], "name": row.title}
    mean |= {key: _average([stage[key] for stage in stages]) for key in SCORES}
    mean["iou"] = [_average(values) for values in zip(*(s["iou"] for s in stages), strict=True)]
    for group, key in OTHER_SCORES.values():
        if group in mean:
            value = _average([stage.get(group, {}).get(key) for stage in stages])
            mean[group] = {**mean[group], key: value}
    return mean


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None
