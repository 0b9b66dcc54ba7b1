import json

import pytest
from PIL import Image

from keras_dpn.inference import Predictor
from training.cli import main
from training.configs.crf import read_crf
from training.evaluation.evaluator import evaluate
from training.rundir import dataset
from training.rundir.models import load_model


@pytest.fixture
def work_dir(finished_run, small_scenes, tmp_path, monkeypatch):
    """A directory to write to, with the files of a run whose dataset is small."""
    monkeypatch.setattr(dataset, "run_dataset", lambda *args: small_scenes)
    directory = tmp_path / "run"
    directory.mkdir()
    for name in ("config.json", "classes.json", "stages", "model.keras"):
        (directory / name).symlink_to(finished_run / name)
    return directory


def search(work_dir, *options):
    assert main(["crf-search", str(work_dir), *map(str, options)]) == 0
    return json.loads((work_dir / "crf_search.json").read_text())


def test_writes_settings_scores_and_a_plot(work_dir, small_scenes, capsys):
    options = ["--w1", 3, 6, "--sigma-alpha", 30, "--sigma-beta", 5, "--rounds", 1]
    options += ["--num-iterations", 2, "--num-images"]
    record = search(work_dir, *options, 2)
    settings = read_crf(work_dir / "crf.json")
    assert settings == {**record["fixed"], "bilateral": record["best"]["bilateral"]}
    assert settings["num_iterations"] == 2
    assert len(record["settings"]) == 4
    assert Image.open(work_dir / "crf_search.png").width > 500
    printed = capsys.readouterr().out
    assert f"{100 * record['best']['miou']:.2f}% at w1" in printed
    assert "crf.json" in printed
    record = search(work_dir, *options, 3)
    predictor = Predictor(load_model(work_dir), crf=read_crf(work_dir / "crf.json"))
    final, refined = evaluate(predictor, small_scenes, "val").heads
    assert record["baseline"]["confusion"] == final.confusion
    assert record["best"]["confusion"] == refined.confusion


def test_can_search_for_a_stage_of_training(work_dir, finished_run):
    options = ["--w1", 3, "--sigma-alpha", 30, "--sigma-beta", 5, "--rounds", 0]
    options += ["--num-images", 3, "--num-iterations", 1, "--stage", "unary"]
    record = search(work_dir, *options)
    unary = json.loads((finished_run / "results.json").read_text())["stages"][0]
    assert record["stage"] == "unary"
    assert record["baseline"]["confusion"] == unary["confusion"]


@pytest.mark.parametrize(
    "wrong", [["--rounds", "-1"], ["--sigma-gamma", "-1"], ["--w1", "0"], ["--split", "test"]]
)
def test_mistakes_are_found_before_the_network_predicts(finished_run, wrong, capsys):
    assert main(["crf-search", str(finished_run), *wrong]) == 2
    assert "error: " in capsys.readouterr().err
    assert not (finished_run / "crf_search").exists()


def test_settings_written_by_hand_are_kept(work_dir, capsys):
    options = ["--w1", 3, "--sigma-alpha", 30, "--sigma-beta", 5, "--rounds", 0]
    options += ["--num-images", 2, "--num-iterations", 1]
    search(work_dir, *options)
    search(work_dir, *options, "--w1", 6)  # over its own results
    (work_dir / "crf.json").write_text('{"num_iterations": 3}')
    assert main(["crf-search", str(work_dir), *map(str, options)]) == 2
    assert "crf.json: would be replaced" in capsys.readouterr().err
    assert (work_dir / "crf.json").read_text() == '{"num_iterations": 3}'
    search(work_dir, *options, "--force")
    assert "bilateral" in json.loads((work_dir / "crf.json").read_text())
