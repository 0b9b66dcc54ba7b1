import numpy as np

from training.evaluation.results import write_evaluation
from training.reporting import comparison
from training.reporting.runs import Run


def evaluated(work_dir, right, pixels=10):
    """A run whose pictures have so many pixels of the first class, so many of them right."""
    confusions = np.zeros((4, 2, 2), int)
    confusions[:, 0] = [(right + i, pixels - right - i) for i in range(4)]
    confusions[:, 1, 1] = pixels
    found = {"split": "test", "stages": [{"name": "final"}]}
    found["per_image"] = {"names": list("abcd"), "confusions": {"final": confusions}}
    write_evaluation(work_dir / "evaluation_test.json", found)
    return Run(work_dir, work_dir.name, {})


def test_each_run_is_judged_against_the_first(tmp_path):
    runs = [
        evaluated(tmp_path / "first", 5),
        evaluated(tmp_path / "<more>", 7),
        evaluated(tmp_path / "less", 2),
        evaluated(tmp_path / "same", 5),
        evaluated(tmp_path / "unlike", 5, pixels=20),
    ]
    text = comparison.verdicts(runs, "test", block=2)
    verdicts = [text.index(f">{verdict}<") for verdict in ("better", "worse", "may be chance")]
    assert verdicts == sorted(verdicts) and text.count("<tr") == 1 + 3
    assert "&lt;more&gt;" in text and "blocks of 2 successive pictures" in text
    assert "Not known: first and unlike were scored with other true labels" in text
    assert "share no split" in comparison.verdicts(runs, None, block=1)


def test_scores_are_shown_of_splits_that_all_share(tmp_path):
    scores = dict.fromkeys(("miou", "accuracy", "mean_accuracy", "frequency_weighted_iou"), 0.5)
    results = {"config": {"data": {"val_split": "val"}}}
    results["stages"] = [{"name": "final", "iou": [0.5, None], **scores}]
    runs = [evaluated(tmp_path / name, 5)._replace(results=results) for name in ("a", "b")]
    (runs[1].work_dir / "evaluation_test.json").unlink()
    text = comparison.score_tables(runs, ("road", "tree"))
    assert text.count("<h2>") == 1 and "Scores on val" in text
    assert "<th>a</th><th>b</th>" in text and "±0.0" in text
