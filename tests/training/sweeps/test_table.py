import json

import numpy as np
import pytest
from rich.console import Console

from keras_dpn import metrics
from training.configs.recipes import RECIPES
from training.evaluation.results import Evaluation
from training.evaluation.scores import CalibrationScores, HeadScores, ObjectScores
from training.sweeps.definitions import Row, Sweep
from training.sweeps.table import Summary, markdown, summarize, table

SWEEP = Sweep(
    "two rows",
    (
        Row("first", RECIPES["dpn/scenes"], title="the first", paper=62.4),
        Row("second", RECIPES["dpn/scenes"]),
        Row("third", RECIPES["dpn/scenes"]),
    ),
    reference="first",
)


@pytest.fixture
def evaluations(tmp_path):
    """Two seeds of the first row and the second, one of the third; ten images of two classes."""
    rights = {("first", 0): 4, ("first", 7): 5, ("second", 0): 6, ("second", 7): 9, ("third", 7): 5}
    files = {}
    for (name, seed), right in rights.items():
        confusions = np.tile([[right, 10 - right], [10 - right, right]], (10, 1, 1))
        head = HeadScores(
            name="final",
            **metrics.scores(confusions.sum(axis=0)),
            confusions=confusions,
            objects=ObjectScores(0.5 if name == "second" else None, None, 0.25, {}, 0.5, 0.0075),
            calibration=CalibrationScores(None, [1, 2, 3], [], []),
        )
        names = tuple(f"image{i}" for i in range(10))[:: 1 if seed else -1]
        files[name, seed] = tmp_path / f"{name}{seed}.json"
        Evaluation(heads=(head,), image_names=names).save(files[name, seed])
    return files


def test_means_deviations_and_differences(evaluations):
    summary = summarize(SWEEP, evaluations, (0, 7), "val", block_size=1)
    first, second, third = summary.rows
    ious = [np.array([right / (20 - right) for right in rights]) for rights in ((4, 5), (6, 9))]
    for row, iou in zip((first, second), ious, strict=True):
        assert row.mean["mIoU"] == pytest.approx(iou.mean())
        assert row.deviation["mIoU"] == pytest.approx(iou.std(ddof=1))
    assert first.against is None
    added = 15 / 25 - 9 / 31  # the counts of both seeds
    assert second.against.difference == pytest.approx(added)
    assert second.against.interval == pytest.approx((added, added))  # images are alike
    assert third.against.seeds == (7,) and third.against.difference == 0
    assert (second.mean["TA"], "LA" in second.mean, "TA" in first.mean) == (
        0.5,
        False,
        False,
    )


def test_the_table_says_what_is_known(evaluations):
    summary = summarize(SWEEP, evaluations, (0, 7), "val", block_size=1)
    lines = markdown(summary).splitlines()
    assert lines[0] == "# two rows"
    head, first, second, third = (
        [c.strip() for c in lines[i].split("|")[1:-1]] for i in (2, 4, 5, 6)
    )
    assert head == [
        *("network", "paper", "mIoU", "difference", "interval"),
        *("accuracy", "mean accuracy", "f.w. IoU", "TA", "BA"),
    ]
    assert first[:5] == ["the first", "62.4", "29.2 ± 5.9", "", ""]
    assert second[3:5] == ["+30.97", "+30.97 … +30.97"]
    assert second[-2:] == ["50.0", "25.0"]
    assert third[:3] == ["third (1 of 2 seeds)", "", "33.3"]
    assert "means of the seeds 0, 7, mIoU ± " in lines[-1] and "from “the first”" in lines[-1]
    assert lines[-1].endswith("where that IoU is 0.5 or more; ECE: 3 bins.")
    console = Console(width=200, record=True)
    console.print(table(summary))
    printed = console.export_text()
    assert "29.2 ± 5.9" in printed and "f.w. IoU" not in printed


def test_nothing_is_known_yet():
    summary = summarize(SWEEP, {}, (0,), "val", block_size=1)
    assert "| the first (0 of 1 seeds) | 62.4 |" in markdown(summary)


def test_a_saved_table_is_the_same_when_loaded(evaluations, tmp_path):
    summary = summarize(SWEEP, evaluations, (0, 7), "val", block_size=1)
    summary.save(tmp_path)
    assert Summary.load(tmp_path) == summary
    written = json.loads((tmp_path / "ablation.json").read_text())
    assert written["rows"][0]["evaluations"]["7"].endswith("first7.json")
    assert written["block"] == 1 and written["rows"][1]["against"]["win_rate"] == 1
    against = written["rows"][1]["against"]
    against["wins"] = against.pop("win_rate")  # as version 0.1 wrote it
    (tmp_path / "ablation.json").write_text(json.dumps(written))
    assert Summary.load(tmp_path) == summary
