"""Sections of images: the training stages' predictions, and the trained network's heads."""

from markupsafe import Markup

from keras_dpn.inference import Predictor

from ..context import ReportContext, sample_title
from ..images import RIGHT, WRONG, comparison_rows, predict_heads, predict_stages
from ..rendering import render

_MAX_SAMPLES = 3  # on which the heads are shown


class StageImages:
    """Predictions of each training stage's best model, and what each stage changed."""

    def applies(self, context: ReportContext) -> bool:
        return bool(context.shown)

    def render(self, context: ReportContext) -> Markup:
        classes, samples = context.dataset.classes, context.shown
        rows = comparison_rows(samples, predict_stages(context.run, samples), classes)
        titles = [sample_title(sample, context.titles) for sample in samples]
        return render(
            "stage_images",
            split=context.split,
            is_chosen=bool(context.titles),
            classes=classes,
            rows=list(zip(titles, rows, strict=True)),
            right=RIGHT,
            wrong=WRONG,
        )


class HeadImages:
    """Predictions of the trained network at each of its heads."""

    def applies(self, context: ReportContext) -> bool:
        return len(context.model.heads) > 1 and bool(context.shown)

    def render(self, context: ReportContext) -> Markup:
        samples = context.shown[:_MAX_SAMPLES]
        predictor = Predictor(context.model, heads="all")
        maps = [predict_heads(predictor, sample) for sample in samples]
        titles = {head.name: head.title for head in context.model.heads}
        predictions = [{titles[head]: labels for head, labels in m.items()} for m in maps]
        rows = comparison_rows(samples, predictions, context.dataset.classes)
        names = [sample.name for sample in samples]
        return render("head_images", rows=list(zip(names, rows, strict=True)))
