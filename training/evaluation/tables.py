"""Evaluations and comparisons as tables for the terminal."""

from collections.abc import Mapping, Sequence

from rich.table import Column, Table

from ..utils.counts import counted
from .comparison import Comparison, ImageChange
from .results import Evaluation
from .scores import OTHER_SCORES, SCORES, HeadScores


def score_table(evaluation: Evaluation, classes: Sequence[str]) -> Table:
    """Return the IoU in percent of each class (rows) at each head (columns), and the means."""
    found, expected = evaluation.num_images, evaluation.expected_images
    images = counted(found, "image")
    if expected not in (None, found):
        images = f"{found} of {expected} images"
    title = f"{evaluation.dataset}, {images} of {evaluation.split}: IoU in %"
    heads = evaluation.heads
    table = Table(title=title, caption=score_definitions(heads[0]))
    table.add_column("class")
    for head in heads:
        table.add_column(head.name, justify="right")
    for index, name in enumerate(classes):
        table.add_row(name, *(_percent(head.iou[index]) for head in heads))
    for titles in (SCORES, OTHER_SCORES):
        table.add_section()
        for score, title in titles.items():
            values = [head.value(score) for head in heads]
            if score in SCORES or any(_has(head, score) for head in heads):
                style = "bold" if score == "miou" else None
                table.add_row(title, *map(_percent, values), style=style)
    return table


def score_definitions(head: HeadScores) -> str:
    """Return the definitions of TA, LA, BA and ECE, with the parameters of these scores.

    Empty for scores of an earlier version without them.
    """
    objects, calibration = head.objects, head.calibration
    if objects is None or calibration is None:
        return ""
    return (
        "TA, LA, BA: a class in an image is one object; LA: IoU of boxes; BA: F-measure of "
        f"boundaries within {objects.boundary_tolerance:.2%} of the diagonal, where that IoU is "
        f"{objects.box_threshold:g} or more; ECE: {len(calibration.pixels)} bins"
    )


def comparison_table(
    title: str, first: str, comparisons: Mapping[str, Comparison], confidence: float
) -> Table:
    """Return a row for each evaluation: its mIoU and the difference from the first."""
    table = Table(Column("evaluation", overflow="fold"), "mIoU, %", title=title)
    for column in ("difference", f"{100 * confidence:g}% interval", "win rate, %"):
        table.add_column(column, justify="right")
    table.add_row(first, f"{100 * next(iter(comparisons.values())).first:.1f}")
    for name, comparison in comparisons.items():
        low, high = (f"{100 * end:+.2f}" for end in comparison.interval)
        table.add_row(
            name,
            f"{100 * comparison.second:.1f}",
            f"{100 * comparison.difference:+.2f}",
            f"{low} … {high}",
            f"{100 * comparison.win_rate:.1f}",
        )
    return table


def change_table(title: str, images: Sequence[ImageChange], count: int) -> Table:
    """Return the images of largest gain, then those of largest loss, at most `count` of each."""
    table = Table("image", "mIoU before, %", "after, %", "change", title=title)
    gained = [image for image in images if image.second > image.first][:count]
    lost = [image for image in images if image.second < image.first][-count:]
    for image in (*gained, *lost):
        before, after = f"{100 * image.first:.1f}", f"{100 * image.second:.1f}"
        table.add_row(image.name, before, after, f"{100 * image.difference:+.1f}")
    return table


def _has(head: HeadScores, score: str) -> bool:
    return getattr(head, score.partition(".")[0]) is not None


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
