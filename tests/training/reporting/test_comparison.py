import dataclasses

import numpy as np

from training.evaluation.results import Evaluation
from training.evaluation.scores import SCORES, HeadScores
from training.reporting import comparison
from training.reporting.runs import Run, StageResult


def evaluated(work_dir, right, pixels=10):
    """A run whose images have so many pixels of the first class, so many of them right."""
    confusions = np.zeros((4, 2, 2), int)
    confusions[:, 0] = [(right + i, pixels - right - i) for i in range(4)]
    confusions[:, 1, 1] = pixels
    scores = {"iou": [0.5, None], **dict.fromkeys(SCORES, 0.5)}
    head = HeadScores(name="final", confusions=confusions, **scores)
    evaluation = Evaluation(split="test", heads=(head,), image_names=tuple("abcd"))
    evaluation.save(work_dir / "evaluation_test.json")
    stage = StageResult("joint", head, {"epochs": 1234})
    config = {"data": {"val_split": "val"}}
    return Run(work_dir, work_dir.name, config, {}, 0, (stage,))


def test_each_run_is_compared_with_the_first(tmp_path):
    runs = [
        evaluated(tmp_path / "first", 5),
        evaluated(tmp_path / "<more>", 7),
        evaluated(tmp_path / "less", 2),
        evaluated(tmp_path / "same", 5),
        evaluated(tmp_path / "unlike<", 5, pixels=20),
    ]
    text = comparison.significance(runs, "test", block_size=2)
    verdicts = [text.index(f">{verdict}<") for verdict in ("better", "worse", "not significant")]
    assert verdicts == sorted(verdicts) and text.count("<tr") == 1 + 3
    assert "&lt;more&gt;" in text and "blocks of 2 successive images" in text
    assert "Unknown: first and unlike&lt; were scored with other true labels" in text
    assert "share no split" in comparison.significance(runs, None, block_size=1)


def test_scores_are_shown_of_splits_that_all_share(tmp_path):
    runs = [evaluated(tmp_path / name, 5) for name in ("a", "b")]
    both = comparison.score_tables(runs, ("road", "tree"))
    assert both.count("<h2>") == 2 and "Scores on test" in both
    (runs[1].work_dir / "evaluation_test.json").unlink()
    runs[1] = dataclasses.replace(runs[1])  # reads its evaluations again
    text = comparison.score_tables(runs, ("road", "tree"))
    assert text.count("<h2>") == 1 and "Scores on val" in text
    assert "<th>a</th><th>b</th>" in text and "±0.0" in text
    assert "<th>epochs</th><td>1,234</td><td>1,234</td>" in text
    assert both.count("epochs") == 1  # of the split that training has scored
