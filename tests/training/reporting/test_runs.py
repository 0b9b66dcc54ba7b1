import json

import numpy as np
import pytest

from training.evaluation.comparison import Counts
from training.evaluation.results import write_evaluation
from training.reporting import runs


def evaluate(work_dir, split, stages):
    confusions = {name: np.ones((2, 2, 2), int) for name in stages}
    found = {"split": split, "stages": [{"name": name} for name in stages]}
    found["per_image"] = {"names": ["a", "b"], "confusions": confusions}
    write_evaluation(work_dir / f"evaluation_{split}.json", found)


def test_runs_have_titles_of_their_own(tmp_path):
    places = [tmp_path / name for name in ("x/one", "x/two", "y/one")]
    for place in places:
        place.mkdir(parents=True)
        (place / "results.json").write_text(json.dumps({"seed": 3}))
    assert [run.title for run in runs.read_runs(places[:2])] == ["one", "two"]
    assert [run.title for run in runs.read_runs(places)] == list(map(str, places))
    with pytest.raises(ValueError, match="one: expected different runs"):
        runs.read_runs([places[0], places[0]])
    with pytest.raises(ValueError, match="results.json: no such file"):
        runs.read_runs([places[0], tmp_path])


def test_the_split_is_one_that_all_runs_share(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    evaluate(a, "val", ["final"])
    evaluate(a, "test", ["unary", "final", "final+crf"])
    assert runs.evaluated_split([a]) == "val" and runs.evaluated_split([a, b]) is None
    evaluate(b, "test", ["final"])
    assert runs.evaluated_split([a, b]) == "test"
    titles = [counts.title for counts in runs.stage_counts(a, "test")]
    assert titles == [f"{a}:unary", f"{a}:final"]


def test_few_pictures_are_chosen_once():
    confusions = np.stack([np.diag([n, 10 - n]) + 1 for n in range(5)])
    counts = Counts("x", list("abcde"), confusions)
    void = counts._replace(confusions=np.zeros_like(confusions))
    assert len(runs.choose_pictures(counts, counts, 3)) == 2  # nothing changed
    assert len(runs.choose_pictures(counts, counts, 99)) == 5
    assert runs.choose_pictures(counts, void, 6) == {}  # none has labels
