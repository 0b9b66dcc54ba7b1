import json

import numpy as np
import pytest

from training.configs.schema import CONFIG_VERSION
from training.evaluation.results import Counts, Evaluation
from training.evaluation.scores import HeadScores
from training.reporting import runs
from training.reporting.runs import ScoreColumn

RESULTS = {"config": {"version": CONFIG_VERSION}, "versions": {}, "seed": 3, "stages": []}


def make_run(path):
    path.mkdir(parents=True)
    (path / "results.json").write_text(json.dumps(RESULTS))
    return path


def evaluate(work_dir, split, heads):
    scores = tuple(HeadScores(name=name, confusions=np.ones((2, 2, 2), int)) for name in heads)
    evaluation = Evaluation(split=split, heads=scores, image_names=("a", "b"))
    evaluation.save(work_dir / f"evaluation_{split}.json")


def test_runs_have_titles_of_their_own(tmp_path):
    paths = [make_run(tmp_path / name) for name in ("x/one", "x/two", "y/one")]
    assert [run.title for run in runs.read_runs(paths[:2])] == ["one", "two"]
    assert [run.title for run in runs.read_runs(paths)] == list(map(str, paths))
    with pytest.raises(ValueError, match="one: expected different runs"):
        runs.read_runs([paths[0], paths[0]])
    with pytest.raises(ValueError, match="results.json: no such file"):
        runs.read_runs([paths[0], tmp_path])


def test_the_split_is_one_that_all_runs_share(tmp_path):
    a, b = (runs.Run.load(make_run(tmp_path / name)) for name in "ab")
    evaluate(a.work_dir, "val", ["final"])
    evaluate(a.work_dir, "test", ["unary", "final", "final+crf"])
    assert runs.evaluated_split([a]) == "val" and runs.evaluated_split([a, b]) is None
    evaluate(b.work_dir, "test", ["final"])
    assert runs.evaluated_split([a, b]) == "test"
    titles = [counts.title for counts in runs.head_counts(a, "test")]
    assert titles == [f"{a.work_dir}:unary", f"{a.work_dir}:final"]
    assert runs.choose([a, b], None, 6)[0] == "test"
    assert runs.choose([a, b], None, 0) == ("test", None)
    assert runs.choose([a, b], "train", 6) == ("train", None)


def test_a_validation_split_of_another_name_is_found(tmp_path):
    run = runs.Run.load(make_run(tmp_path / "a"))
    run.config["data"] = {"val_split": "held-out"}
    assert runs.choose([run], None, 0) == ("held-out", None)
    evaluate(run.work_dir, "held-out", ["final"])
    assert runs.evaluated_split([run]) == "held-out"
    evaluate(run.work_dir, "train", ["final"])
    assert runs.evaluated_split([run]) == "train"


def test_few_images_are_chosen_once():
    confusions = np.stack([np.diag([n, 10 - n]) + 1 for n in range(5)])
    counts = Counts("x", list("abcde"), confusions)
    void = counts._replace(confusions=np.zeros_like(confusions))
    assert len(runs.choose_images(counts, counts, 3)) == 2  # nothing changed
    assert len(runs.choose_images(counts, counts, 99)) == 5
    assert runs.choose_images(counts, void, 6) == {}  # none has labels


def test_means_are_unknown_where_one_seed_is():
    a = ScoreColumn("a", {"miou": 0.25, "accuracy": None}, [0.5, None], definitions="d")
    b = ScoreColumn("b", {"miou": 0.75, "accuracy": 0.5}, [1.0, 0.5])
    mean = ScoreColumn.mean("both", [a, b])
    assert (mean.title, mean.values) == ("both", {"miou": 0.5, "accuracy": None})
    assert (mean.iou, mean.definitions) == ([0.75, None], "d")
