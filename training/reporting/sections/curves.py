"""Sections of plots: boundaries, training curves and the confusion matrix."""

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from markupsafe import Markup

from keras_dpn import viz

from ...evaluation.results import Evaluation
from ...rundir.paths import HISTORY
from ...utils.files import read_json, reading
from .. import media
from ..context import ReportContext
from ..rendering import render
from ..runs import Run, stage_title


class BoundaryScores:
    """Scores by the distance to object boundaries, which `keras-dpn evaluate --trimap` writes."""

    def applies(self, context: ReportContext) -> bool:
        return bool(_with_trimaps(context.run))

    def render(self, context: ReportContext) -> Markup:
        return Markup("\n").join(map(_render_trimap, _with_trimaps(context.run)))


class TrainingCurves:
    """Losses and scores of the training's epochs."""

    def applies(self, context: ReportContext) -> bool:
        return bool(_history(context.run))

    def render(self, context: ReportContext) -> Markup:
        with reading(context.run.work_dir / HISTORY, "the history of a training run"):
            rows = [{**row, "stage": stage_title(row["stage"])} for row in _history(context.run)]
            plot = media.plot(viz.plot_curves(rows), "training curves")
        return render("plot", title="Training", text="", plot=plot)


class ConfusionMatrix:
    """Predicted classes of the last stage by true class."""

    def applies(self, context: ReportContext) -> bool:
        return bool(context.run.last_stage.scores.confusion)

    def render(self, context: ReportContext) -> Markup:
        run, names = context.run, context.dataset.classes.names
        figure = viz.plot_confusion(np.array(run.last_stage.scores.confusion), names)
        text = f"Of the last stage on {run.val_split}."
        plot = media.plot(figure, "confusion matrix")
        return render("plot", title="Confusion matrix", text=text, plot=plot)


def _history(run: Run) -> Sequence[dict[str, Any]]:
    path = run.work_dir / HISTORY
    return read_json(path) if path.is_file() else ()


def _with_trimaps(run: Run) -> list[Evaluation]:
    return [
        evaluation
        for evaluation in run.evaluations
        if any(head.trimap for head in evaluation.heads)
    ]


def _render_trimap(evaluation: Evaluation) -> Markup:
    trimaps = {head.name: head.trimap for head in evaluation.heads if head.trimap}
    around = cast(Literal["void", "boundary"], next(iter(trimaps.values())).around)
    scores = {_head_title(name): trimap.miou for name, trimap in trimaps.items()}
    plot = media.plot(viz.plot_trimap(scores, around), "scores near boundaries")
    title = f"Along object boundaries, on {evaluation.split}"
    return render("plot", title=title, text="", plot=plot)


def _head_title(name: str) -> str:
    """Return the title of a head, such as "unary", or of one with a CRF, "unary+crf"."""
    head, plus, rest = name.partition("+")
    return f"{stage_title(head)}{plus}{rest}"
