import json

import numpy as np
import pytest
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor, predictor
from keras_dpn.presets.files import write_preset
from training.cli import main
from training.data.generated.writers import write_dataset
from training.evaluation.evaluator import evaluate
from training.evaluation.results import Evaluation, is_evaluation_file
from training.rundir import dataset
from training.rundir.models import load_model
from training.rundir.paths import RESULTS
from training.utils.files import read_json


@pytest.fixture
def run(finished_run, small_scenes, monkeypatch):
    """A run whose dataset is small."""
    monkeypatch.setattr(dataset, "run_dataset", lambda *args: small_scenes)
    return finished_run


def call(*args):
    assert main(["evaluate", *map(str, args)]) == 0


def confusion_of(heads):
    return [head.confusion for head in heads]


def test_writes_json_and_prints_the_table(run, tmp_path, capsys):
    out = tmp_path / "new" / "scores.json"
    call(run, "--split", "test", "--out", out, "--heads")
    evaluation = Evaluation.load(out)
    assert [head.name for head in evaluation.heads] == ["unary", "triple", "contexts", "final"]
    assert (evaluation.num_images, evaluation.precision) == (3, "float32")
    assert sum(map(sum, evaluation.heads[0].confusion)) == 3 * 48 * 64
    printed = capsys.readouterr().out
    assert "mean IoU" in printed
    assert "scores.json" in printed
    assert sorted(out.parent.iterdir()) == [out, out.with_suffix(".npz")]
    call(run, "--split", "test", "--out", out, "--heads", "triple")
    assert Evaluation.load(out).heads == evaluation.heads[1:2]


def test_writes_into_the_run_by_default(run, small_scenes):
    call(run, "--split", "train")
    path = run / "evaluation_train.json"
    (head,) = json.loads(path.read_text())["heads"]
    assert head["name"] == "final"
    counts = path.with_suffix(".npz")
    with np.load(counts) as arrays:
        assert list(arrays["names"]) == [e.name for e in small_scenes.examples("train")]
        assert arrays["final"].sum(axis=0).tolist() == head["confusion"]
    path.unlink(), counts.unlink()


def test_the_model_of_each_stage_is_scored_at_its_head(run, tmp_path):
    out = tmp_path / "scores.json"
    call(run, "--per-stage", "--out", out)
    results = read_json(run / RESULTS)["stages"]
    heads = Evaluation.load(out).heads
    assert [head.name for head in heads] == ["unary", "joint"]
    assert confusion_of(heads) == [stage["confusion"] for stage in results]
    counts = (head.confusions.sum(axis=0).tolist() for head in heads)
    assert list(counts) == confusion_of(heads)


def test_adds_the_crf_and_draws_trimap_curves(run, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "refine", lambda image, p, **crf: np.roll(p, 1, axis=-1))
    (tmp_path / "crf.json").write_text('{"bilateral": [4, 50, 5]}')
    out = tmp_path / "scores.json"
    options = ["--crf", tmp_path / "crf.json", "--trimap", "--trimap-boundary", "boundary"]
    call(run, "--per-stage", "--out", out, *options)
    evaluation = Evaluation.load(out)
    assert evaluation.crf == {"bilateral": [4, 50, 5]}
    assert [head.name for head in evaluation.heads] == ["unary", "unary+crf", "joint", "joint+crf"]
    assert [len(head.trimap.miou) for head in evaluation.heads] == 4 * [40]
    assert Image.open(tmp_path / "scores_trimap.png").width > 500


def test_bands_around_void_that_nothing_has_are_refused_but_the_scores_are_kept(
    run, tmp_path, capsys
):
    out = tmp_path / "scores.json"
    assert main(["evaluate", str(run), "--trimap", "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "near the void" in message and "boundary" in message
    trimap = Evaluation.load(out).head().trimap
    assert trimap.miou == trimap.accuracy == 40 * [None]


def test_a_preset_is_scored_on_the_dataset_that_is_named(
    finished_run, small_scenes, tmp_path, capsys
):
    preset, out = tmp_path / "preset", tmp_path / "scores.json"
    model = load_model(finished_run)
    write_preset(model, preset, classes=small_scenes.classes)
    write_dataset(small_scenes, tmp_path / "images")
    data = ["--dataset", "folder", "--data-dir", tmp_path / "images"]
    call(preset, "--out", out, *data)
    evaluation = Evaluation.load(out)
    expected = evaluate(Predictor(model), small_scenes, "val")
    assert evaluation.dataset == "folder"
    assert confusion_of(evaluation.heads) == confusion_of(expected.heads)
    other = Classes(("dark",), ((0, 0, 0),)).to_json()
    for options, message in (
        (["--out", out], "a preset names no dataset; give --dataset"),
        (data, "name the file to write with --out"),
        (["--per-stage", "--out", out, *data], "--per-stage: expected one training run, received"),
        (["--out", out, *data], "preset knows the classes dark; folder has sky"),
    ):
        if "dark" in message:
            (preset / "classes.json").write_text(json.dumps(other))
        assert main(["evaluate", str(preset), *map(str, options)]) == 2
        assert message in capsys.readouterr().err


def test_averages_runs_in_a_budget_of_memory(run, tmp_path, capsys):
    out = tmp_path / "both.json"
    call(run, run, "--memory-gib", 0.5, "--out", out)
    evaluation = Evaluation.load(out)
    assert (evaluation.num_models, evaluation.precision) == (2, "float32")
    assert evaluation.settings.tile >= 512 and evaluation.settings.tile % 32 == 0
    final = read_json(run / RESULTS)["stages"][-1]
    assert evaluation.head().confusion == final["confusion"]
    for options, message in (
        ([run], "several runs: name the file to write with --out"),
        ([run, "--per-stage", "--out", out], "--per-stage: expected one training run"),
        (
            ["--tile", 512, "--memory-gib", 1, "--out", out],
            "`tile` and `memory_gib`: expected at most one of them",
        ),
    ):
        assert main(["evaluate", str(run), *map(str, options)]) == 2
        assert message in capsys.readouterr().err


def test_a_missing_run_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "none")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {tmp_path / 'none'}: no such directory, and no preset of")
    assert err.count("\n") == 1


def test_only_evaluations_are_replaced(run, tmp_path, capsys):
    out = tmp_path / "scores.json"
    for name in ("scores.json", "scores.npz", "scores_trimap.png"):
        (tmp_path / name).write_text("[1]")
        options = ["--out", str(out), "--trimap", "--trimap-boundary", "boundary"]
        assert main(["evaluate", str(run), *options]) == 2
        assert f"{name}: would be replaced" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "[1]"
        (tmp_path / name).unlink()


def test_evaluations_are_known_by_their_content(tmp_path):
    Evaluation(heads=()).save(tmp_path / "a.json")
    for name in ("a.json", "a.npz", "a_trimap.png", "a_iterations.png"):
        assert is_evaluation_file(tmp_path / name)
    for content in ("{}", "[]", "3", '{"heads": 3}', '{"version": 99, "heads": []}', "x"):
        (tmp_path / "b.json").write_text(content)
        assert not is_evaluation_file(tmp_path / "b.json")
        assert not is_evaluation_file(tmp_path / "b_trimap.png")


@pytest.mark.parametrize("name", ["plain", "run.v2", "scores.npz"])
def test_an_evaluation_is_a_json_file(run, tmp_path, capsys, name):
    """`compare` finds the counts by its suffix."""
    assert main(["evaluate", str(run), "--out", str(tmp_path / name)]) == 2
    assert "--out: expected a name that ends in .json" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_numbers_of_mean_field_iterations(run, small_scenes, tmp_path, capsys):
    out = tmp_path / "scores.json"
    call(run, "--num-iterations", 1, 3, "--out", out)
    once, thrice = Evaluation.load(out).heads
    assert (once.name, thrice.name) == ("1 iteration", "3 iterations")
    trained = load_model(run)
    assert once.confusion == evaluate(Predictor(trained), small_scenes, "val").head().confusion
    assert thrice.confusion != once.confusion
    assert Image.open(tmp_path / "scores_iterations.png").width > 500
    for wrong in (["0"], ["1", "--per-stage"], ["1", "--heads"]):
        assert main(["evaluate", str(run), "--num-iterations", *wrong]) == 2
        assert "--num-iterations: expected numbers from 1" in capsys.readouterr().err
