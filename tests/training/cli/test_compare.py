import json
from dataclasses import replace

import numpy as np
import pytest

from training.cli import main
from training.evaluation.results import Evaluation
from training.evaluation.scores import HeadScores


def confusions(right, images=6):
    hits = np.minimum(right + np.arange(images), 10)
    return np.stack([np.diag([h, h]) + np.diag([10 - h, 10 - h])[::-1] for h in hits])


@pytest.fixture
def runs(tmp_path):
    """Two runs' directories."""
    for run, heads in {"a": {"unary": 2, "final": 3}, "b": {"final": 5}}.items():
        scores = [HeadScores(name=n, confusions=confusions(right)) for n, right in heads.items()]
        names = tuple(f"image{i}" for i in range(6))
        evaluation = Evaluation(split="val", num_images=6, heads=tuple(scores), image_names=names)
        evaluation.save(tmp_path / run / "evaluation_val.json")
    return tmp_path


def test_each_evaluation_is_compared_with_the_first(runs, capsys):
    out = runs / "compared.json"
    a, b = str(runs / "a"), str(runs / "b")
    options = ["--resamples", "100", "--num-images"]
    assert main(["compare", f"{a}:unary", a, b, *options, "1", "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["first"] == f"{a}:unary" and list(written["compared"]) == [a, b]
    assert (written["samples"], written["block"]) == (100, 1)
    assert written["compared"][b]["difference"] > written["compared"][a]["difference"] > 0
    assert len(written["compared"][b]["images"]) == 6
    printed = capsys.readouterr().out
    assert "6 images of val" in printed and "95% interval" in printed
    difference = 100 * written["compared"][b]["difference"]
    assert f"{difference:+.2f}" in printed and "mIoU before" in printed
    assert main(["compare", a, b, *options, "0"]) == 0
    assert "mIoU before" not in capsys.readouterr().out


def test_the_split_is_that_of_the_files(runs, capsys):
    for name in "ab":
        evaluation = Evaluation.load(runs / name / "evaluation_val.json")
        replace(evaluation, split="test").save(runs / f"{name}.json")
    out, files = runs / "compared.json", [str(runs / "a.json"), str(runs / "b.json")]
    assert main(["compare", *files, "--resamples", "10", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["split"] == "test"
    assert "6 images of test" in capsys.readouterr().out
    assert main(["compare", files[0], str(runs / "b")]) == 2
    assert "are of the splits test and val" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("option", "least"), [("--num-images", 0), ("--resamples", 1), ("--block-size", 1)]
)
def test_numbers_are_named_as_the_options(runs, capsys, option, least):
    options = [str(runs / "a"), str(runs / "b"), option, str(least - 1)]
    assert main(["compare", *options]) == 2
    assert f"{option}: expected a number from {least} up" in capsys.readouterr().err


def test_a_single_evaluation_is_refused(runs, capsys):
    assert main(["compare", str(runs / "a")]) == 2
    assert "two evaluations or more to compare, received 1" in capsys.readouterr().err


def test_only_an_own_file_is_replaced(runs, capsys):
    out = runs / "out.json"
    options = [str(runs / "a"), str(runs / "b"), "--resamples", "10", "--out", str(out)]
    assert main(["compare", *options]) == main(["compare", *options]) == 0
    out.write_text('{"precious": 1}')
    assert main(["compare", *options]) == 2
    assert f"{out}: would be replaced" in capsys.readouterr().err
    assert json.loads(out.read_text()) == {"precious": 1}
    assert main(["compare", *options, "--force"]) == 0
    assert "compared" in json.loads(out.read_text())
