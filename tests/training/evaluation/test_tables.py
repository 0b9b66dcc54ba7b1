from dataclasses import replace

import pytest

from training.evaluation.comparison import Comparison, ImageChange
from training.evaluation.results import Evaluation
from training.evaluation.scores import ConsistencyScores, HeadScores
from training.evaluation.tables import (
    change_table,
    comparison_table,
    score_definitions,
    score_table,
)
from training.rundir.paths import RESULTS
from training.utils.files import read_json


@pytest.fixture
def evaluation(finished_run):
    """Of two stages of a network, one of which saw videos."""
    unary, final = map(HeadScores.from_json, read_json(finished_run / RESULTS)["stages"])
    iou = [None if index == 2 else value for index, value in enumerate(final.iou)]
    final = replace(final, consistency=ConsistencyScores(0.625, 9), iou=iou)
    return Evaluation(dataset="scenes", split="val", num_images=3, heads=(unary, final))


def test_score_table_has_a_row_per_class_and_a_column_per_head(evaluation, small_scenes):
    names = small_scenes.classes.names
    table = score_table(evaluation, names)
    assert [column.header for column in table.columns] == ["class", "unary", "joint"]
    titles, _, joint = (list(column.cells) for column in table.columns)
    assert titles[: len(names) + 1] == [*names, "mean IoU"]
    cells, final = dict(zip(titles, joint, strict=True)), evaluation.head()
    assert cells[names[0]] == f"{100 * final.iou[0]:.1f}" and cells[names[2]] == "–"
    assert cells["mean IoU"] == f"{100 * final.miou:.1f}"
    assert cells["calibration error (ECE)"] == f"{100 * final.calibration.ece:.1f}"
    assert cells["temporal consistency"] == "62.5"
    assert "within 0.75% of the diagonal, where that IoU is 0.5 or more; ECE: 15" in table.caption
    assert "3 images of val" in table.title
    assert "3 of 5 images of val" in score_table(replace(evaluation, expected_images=5), []).title


def test_what_is_not_known_has_no_row_and_no_definition(evaluation):
    head = HeadScores(name="final", miou=0.5)
    assert score_definitions(head) == ""
    titles = list(score_table(replace(evaluation, heads=(head,)), []).columns[0].cells)
    assert "mean IoU" in titles and "temporal consistency" not in titles


def test_comparison_and_change_tables():
    images = tuple(ImageChange(name, 0.5, after) for name, after in (("a", 0.75), ("b", 0.25)))
    comparison = Comparison(0.5, 0.625, 0.125, (-0.01, 0.25), 0.9, images)
    assert not comparison.is_significant
    table = comparison_table("a title", "first", {"second": comparison}, 0.95)
    assert [list(column.cells) for column in table.columns] == [
        ["first", "second"],
        ["50.0", "62.5"],
        ["", "+12.50"],
        ["", "-1.00 … +25.00"],
        ["", "90.0"],
    ]
    changes = change_table("a title", images, 1)
    assert [list(column.cells) for column in changes.columns] == [
        ["a", "b"],
        ["50.0", "50.0"],
        ["75.0", "25.0"],
        ["+25.0", "-25.0"],
    ]
