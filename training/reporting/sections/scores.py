"""Sections of scores: those of each training stage, and of other splits."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from ...evaluation.results import Evaluation
from ...evaluation.scores import OTHER_SCORES, SCORES, HeadScores
from ...utils.counts import counted
from ..context import ReportContext
from ..formatting import count, duration, percent, points
from ..rendering import Cell, Row, Table, render
from ..runs import Run, ScoreColumn, stage_title

_LOWER_IS_BETTER = ("calibration.ece",)
_CONSISTENCY = "consistency.miou"
_OBJECTS = {"TA": "ta", "LA": "la", "BA": "ba"}
_TRAINING = {
    "epochs": ("epochs", count),
    "best_epoch": ("best epoch (0: before)", count),
    "steps": ("steps", count),
    "seconds": ("time", duration),
    "parameters_trained": ("parameters trained", count),
}


class Facts:
    """The most important numbers."""

    def applies(self, context: ReportContext) -> bool:
        return True

    def render(self, context: ReportContext) -> Markup:
        return render("facts", facts=facts(context.run))


class StageScores:
    """The scores after each training stage, on the split that chose the stages' best models."""

    def applies(self, context: ReportContext) -> bool:
        return True

    def render(self, context: ReportContext) -> Markup:
        run, names = context.run, context.dataset.classes.names
        return render(
            "scores",
            title=f"Scores on {run.val_split} after each stage",
            text="In %, with the change from the previous stage in percentage points.",
            table=score_table([stage.column for stage in run.stages], names),
            objects=object_table(run.last_stage.scores, names),
        )


class EvaluationScores:
    """The scores of `keras-dpn evaluate` on other splits."""

    def applies(self, context: ReportContext) -> bool:
        return bool(self._evaluations(context.run))

    def render(self, context: ReportContext) -> Markup:
        evaluations = self._evaluations(context.run)
        return Markup("\n").join(self._render(context, evaluation) for evaluation in evaluations)

    def _render(self, context: ReportContext, evaluation: Evaluation) -> Markup:
        names = context.dataset.classes.names
        text = "The best model of each stage, or the trained model at each of its heads."
        columns = [ScoreColumn.of(stage_title(head.name), head) for head in evaluation.heads]
        return render(
            "scores",
            title=f"Scores on {evaluation.split}, {counted(evaluation.num_images, 'image')}",
            text=text if len(columns) > 1 else "",
            table=score_table(columns, names),
            objects=object_table(evaluation.head(), names),
        )

    def _evaluations(self, run: Run) -> list[Evaluation]:
        return [evaluation for evaluation in run.evaluations if evaluation.split != run.val_split]


def facts(run: Run) -> dict[str, str]:
    """Return the most important numbers, on the split that chose the best models, by title."""
    first, last = run.stages[0], run.last_stage
    found = {f"mean IoU on {run.val_split}": f"{percent(last.scores.value('miou'))} %"}
    if last is not first:
        change = points(last.scores.value("miou"), first.scores.value("miou"))
        found["percentage points over the first stage"] = change
    found[f"pixel accuracy on {run.val_split}"] = f"{percent(last.scores.value('accuracy'))} %"
    if (consistency := last.scores.value(_CONSISTENCY)) is not None:
        found[f"temporal consistency on {run.val_split}"] = f"{percent(consistency)} %"
    seconds = sum(stage.training.get("seconds") or 0 for stage in run.stages)
    return found | {"of training": duration(seconds)}


def score_table(
    columns: Sequence[ScoreColumn], names: Sequence[str], *, from_first: bool = False
) -> Table:
    """Return the table of scores, the IoU of each class, and the cost of training.

    Args:
        columns: one per stage, head or run.
        names: of the L classes.
        from_first: show the changes from the first column, not from the previous one.
    """

    def row(name: str, values: Sequence[float | None], key: str = "", style: str = "") -> Row:
        return Row(name, list(_cells(values, from_first, key in _LOWER_IS_BETTER)), style)

    def means(titles: Mapping[str, str], *, known_only: bool) -> list[Row]:
        rows = {key: [column.values[key] for column in columns] for key in titles}
        return [
            row(titles[key], values, key, style="mean")
            for key, values in rows.items()
            if not known_only or any(value is not None for value in values)
        ]

    classes = [row(name, [c.iou[i] for c in columns]) for i, name in enumerate(names)]
    training = [
        Row(title, ["–" if (v := c.training.get(key)) is None else form(v) for c in columns])
        for key, (title, form) in _TRAINING.items()
        if any(c.training.get(key) is not None for c in columns)
    ]
    groups = [means(SCORES, known_only=False), means(OTHER_SCORES, known_only=True)]
    head = ["", *(column.title for column in columns)]
    definitions = next((f"{c.definitions}." for c in columns if c.definitions), "")
    return Table(head, [*groups, classes, training], note=definitions)


def object_table(scores: HeadScores, names: Sequence[str]) -> tuple[str, Table] | None:
    """Return a head's title, and its TA, LA and BA of each class; None if unknown."""
    if scores.objects is None:
        return None
    per_class = scores.objects.per_class
    rows = [
        Row(name, [percent(per_class[key][i]) for key in _OBJECTS.values()])
        for i, name in enumerate(names)
    ]
    return stage_title(scores.name), Table(["", *_OBJECTS], [rows])


def _cells(
    values: Sequence[float | None], from_first: bool, lower_is_better: bool
) -> Iterator[str | Cell]:
    """Yield values in %, each with the change from the previous one, or from the first."""
    yield percent(values[0])
    for i, value in enumerate(values[1:]):
        change = points(value, values[0 if from_first else i])
        if change == "–":
            yield Cell(percent(value), "", "quiet")
        elif change in ("+0.0", "−0.0"):
            yield Cell(percent(value), "±0.0", "quiet")
        else:
            is_better = (change[0] == "+") != lower_is_better
            yield Cell(percent(value), change, "up" if is_better else "down")
