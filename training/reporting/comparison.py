"""A report about several runs side by side, each compared with the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from keras_dpn.inference import Predictor

from ..data.dataset import Dataset
from ..data.sampling import Sample, read_samples
from ..evaluation.comparison import Comparison, compare
from ..rundir.models import load_model
from ..utils.progress import progress
from .context import ReportContext, Section, render_sections, sample_title
from .images import RIGHT, WRONG, Predictions, comparison_rows, predict_labels
from .rendering import render
from .runs import Run, ScoreColumn, choose, evaluated_split, head_counts
from .sections.affinities import LabelAffinities
from .sections.contexts import LabelContexts
from .sections.curves import ConfusionMatrix, TrainingCurves
from .sections.scores import StageScores, score_table
from .sections.settings import Settings, differences

# Of each run.
SECTIONS: tuple[Section, ...] = (
    StageScores(),
    LabelAffinities(),
    LabelContexts(),
    TrainingCurves(),
    ConfusionMatrix(),
    Settings(),
)


@dataclass(frozen=True)
class Panel:
    """What a page about several runs says about one of them."""

    summary: str
    sections: Sequence[Markup]


def comparison_page(
    runs: Sequence[Run], dataset: Dataset, split: str | None, num_images: int, block_size: int
) -> Markup:
    """Render the page about several runs; arguments as in `page.write_report`."""
    evaluated = evaluated_split(runs)
    split, titles = choose(runs, split, num_images)
    found: list[dict[str, np.ndarray]] = [{} for _ in range(num_images)]
    panels: list[tuple[str, Panel]] = []
    shown: Sequence[Sample] = ()
    names = list(titles) if titles else None
    for run in progress(runs, "images of the runs", len(runs)):  # one model in memory at a time
        model = load_model(run.work_dir)
        samples = read_samples(dataset, split, max(num_images, 1), model.clip_frames, names)
        context = ReportContext(run, dataset, model, split, samples, num_images, titles)
        shown = context.shown
        predictor = Predictor(model, heads=(run.last_head,))
        for predictions, sample in zip(found, shown, strict=False):
            predictions[run.title] = predict_labels(predictor, sample)
        panels.append((run.title, Panel(run.summary, render_sections(SECTIONS, context))))
    sections = [
        score_tables(runs, dataset.classes.names),
        significance(runs, evaluated, block_size),
        images_section(
            shown,
            found[: len(shown)],
            dataset,
            titles,
            text=f"Predictions after the last stage of each run on {split}.",
            column="run",
        ),
        render("differences", table=differences(runs), is_folded=False),
        render("panels", panels=panels),
    ]
    title, subtitle = f"{len(runs)} runs on {dataset.name}", ", ".join(run.title for run in runs)
    return render("page", title=title, subtitle=subtitle, sections=sections)


def images_section(
    samples: Sequence[Sample],
    predictions: Sequence[Predictions],
    dataset: Dataset,
    titles: Mapping[str, str] | None,
    *,
    text: str,
    column: str,
) -> Markup:
    """Render samples with what changed from the first label map; nothing without samples.

    Args:
        samples: with their ground truth.
        predictions: of each sample, by title.
        dataset: theirs.
        titles: as in `ReportContext`.
        text: what the label maps are.
        column: what each of them is of, "run" or "row".
    """
    if not samples:
        return Markup("")
    rows = comparison_rows(samples, predictions, dataset.classes, from_first=True)
    names = [sample_title(sample, titles) for sample in samples]
    return render(
        "run_images",
        text=text,
        column=column,
        is_chosen=bool(titles),
        classes=dataset.classes,
        rows=list(zip(names, rows, strict=True)),
        right=RIGHT,
        wrong=WRONG,
    )


def score_tables(runs: Sequence[Run], names: Sequence[str]) -> Markup:
    """Render the scores after the last stage of each run, on each split that all runs share."""
    found = [_last_columns(run) for run in runs]
    text = (
        "After the last stage of each run, in %, with the difference from the first run in "
        "percentage points."
    )
    tables = []
    for split in found[0]:
        if all(split in one for one in found):
            table = score_table([one[split] for one in found], names, from_first=True)
            title = f"Scores on {split}"
            tables.append(render("score_tables", title=title, text=text, tables=[table]))
    return Markup("\n").join(tables)


def _last_columns(run: Run) -> dict[str, ScoreColumn]:
    """Return the last stage's column by split: that of training, and those of evaluations."""
    last = run.last_stage
    found = {run.val_split: ScoreColumn.of(run.title, last.scores, last.training)}
    for evaluation in run.evaluations:
        found.setdefault(evaluation.split, ScoreColumn.of(run.title, evaluation.head()))
    return found


def significance(runs: Sequence[Run], split: str | None, block_size: int) -> Markup:
    """Render what a paired bootstrap says about the differences in mean IoU from the first run.

    Args:
        runs: two or more.
        split: one on which all have scores of each image; None if there is none.
        block_size: as in `metrics.paired_bootstrap`.
    """
    if split is None:
        return render("significance", split=None)
    first, *others = [head_counts(run, split)[-1]._replace(title=run.title) for run in runs]
    found: dict[str, Comparison] = {}
    unknown = []
    for other in others:
        try:
            found[other.title] = compare(first, other, block_size=block_size)
        except ValueError as error:
            unknown.append(str(error))
    return significance_section(found, first.title, len(first.names), split, block_size, unknown)


def significance_section(
    comparisons: Mapping[str, Comparison],
    first: str,
    num_images: int,
    split: str,
    block_size: int,
    unknown: Sequence[str] = (),
) -> Markup:
    """Render comparisons with the first run by title, and why others are unknown."""
    return render(
        "significance",
        comparisons=comparisons,
        first=first,
        num_images=num_images,
        split=split,
        block_size=block_size,
        unknown=unknown,
    )
