import re
from pathlib import Path

from training.evaluation.scores import HeadScores
from training.reporting.rendering import render
from training.reporting.runs import Run, StageResult
from training.reporting.sections import scores

NAMES = ("road", "tree<")


def stage(name, miou, iou, training=(), **groups):
    keys = ("accuracy", "mean_accuracy", "frequency_weighted_iou")
    found = {"name": name, "miou": miou, "iou": iou, **dict.fromkeys(keys, 0.5), **groups}
    return StageResult(name, HeadScores.from_json(found), dict(training))


STAGES = [
    stage("unary", 0.40, [0.6, None], {"epochs": 3, "best_epoch": 0}),
    stage("triple", 0.45, [0.6, 0.1], {"epochs": None}),
    stage("joint", 0.30, [0.5996, None], {"epochs": 2000, "seconds": 90}),
]


def table_of(stages, **options):
    return scores.score_table([one.column for one in stages], NAMES, **options)


def table(stages, **options):
    """Scores as HTML."""
    return render("score_tables", title="", text="", tables=[table_of(stages, **options)])


def facts(stages):
    return scores.facts(Run(Path("x"), "x", {}, {}, 0, tuple(stages)))


def cells(text, name):
    row = re.search(rf"<th>{name}</th>(.*?)</tr>", text).group(1)
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td>(.*?)</td>", row)]


def test_table_shows_values_and_the_change_from_the_previous_stage():
    text = table(STAGES)
    assert cells(text, "mean IoU") == ["40.0", "45.0 +5.0", "30.0 −15.0"]
    assert cells(text, "road") == ["60.0", "60.0 ±0.0", "60.0 ±0.0"]
    assert cells(text, "tree&lt;") == ["–", "10.0", "–"]
    assert cells(text, "epochs") == ["3", "–", "2,000"]
    assert cells(text, r"best epoch \(0: before\)") == ["0", "–", "–"]
    assert cells(text, "time") == ["–", "–", "2 min"]
    assert "parameters trained" not in text
    assert "triple penalty" in text and "joint training" in text
    assert 'class="up">+5.0' in text
    assert 'class="down">−15.0' in text


def test_columns_may_be_compared_with_the_first():
    assert cells(table(STAGES, from_first=True), "mean IoU") == ["40.0", "45.0 +5.0", "30.0 −10.0"]


def test_temporal_consistency_is_shown_where_it_is_known():
    known = stage("triple", 0.45, [0.6, 0.1], consistency={"miou": 0.625, "pixels": 9})
    assert cells(table([STAGES[0], known]), "temporal consistency") == ["–", "62.5"]
    assert facts([STAGES[0], known])["temporal consistency on val"] == "62.5 %"
    assert "consistency" not in table(STAGES)
    unknown = stage("triple", 0.45, [0.6, 0.1], consistency={"miou": None, "pixels": 0})
    assert "temporal consistency on val" not in facts([unknown])


def test_facts_compare_the_last_stage_with_the_first():
    found = facts(STAGES)
    assert list(found.values()) == ["30.0 %", "−10.0", "50.0 %", "2 min"]
    assert [*found] == [
        "mean IoU on val",
        "percentage points over the first stage",
        "pixel accuracy on val",
        "of training",
    ]
    assert list(facts(STAGES[:1]).values()) == ["40.0 %", "50.0 %", "0 s"]


def scored(name, ta, ece):
    objects = {"ta": ta, "la": 0.5, "ba": None, "box_threshold": 0.5, "boundary_tolerance": 0.0075}
    objects["per_class"] = {"ta": [ta, None], "la": [0.5, 0.25], "ba": [None, None]}
    calibration = {"ece": ece, "pixels": [3] * 15, "accuracy": [0.5] * 15, "confidence": [1] * 15}
    return stage(name, 0.4, [0.6, None], objects=objects, calibration=calibration)


def test_objects_and_calibration_are_shown_where_they_are_known():
    stages = [STAGES[0], scored("contexts", 0.9, 0.125), scored("joint", 0.8, 0.1)]
    text = table(stages)
    assert cells(text, r"tagging accuracy \(TA\)") == ["–", "90.0", "80.0 −10.0"]
    assert cells(text, r"calibration error \(ECE\)") == ["–", "12.5", "10.0 −2.5"]
    assert 'class="down">−10.0' in text and 'class="up">−2.5' in text  # a smaller error is better
    assert "boundary accuracy" not in text  # no stage has it
    assert "ECE: 15 bins." in text and "ECE" not in table(STAGES)


def test_scores_of_objects_by_class_are_folded_away():
    objects = scores.object_table(scored("joint", 0.8, 0.1).scores, NAMES)
    text = render("scores", title="<t>", text="", table=table_of(STAGES), objects=objects)
    assert "<h2>&lt;t&gt;</h2>" in text
    assert cells(text[text.index("<details>") :], "road") == ["80.0", "50.0", "–"]
    assert "<summary>TA, LA and BA of each class: joint training</summary>" in text
    assert scores.object_table(STAGES[0].scores, NAMES) is None
