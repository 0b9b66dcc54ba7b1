import json

import numpy as np
import pytest
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.inference import Predictor, predictor
from keras_dpn.presets.files import write_preset
from training.data.generated.writers import write_dataset
from training.evaluation import results as script
from training.evaluation.evaluator import evaluate
from training.evaluation.results import run_dataset, score_table
from training.rundir.paths import load_model


@pytest.fixture
def evaluation(finished_run):
    """Of two stages of a network, one of which saw films."""
    unary, final = json.loads((finished_run / "results.json").read_text())["stages"]
    final["consistency"] = {"miou": 0.625, "pixels": 9}
    final["iou"][2] = None
    facts = {"dataset": "scenes", "split": "val", "images": 3, "official": None}
    return {**facts, "stages": [unary, final]}


def test_table_has_a_row_a_class_and_a_column_a_stage(evaluation, small_scenes):
    names = small_scenes.classes.names
    table = score_table(evaluation, names)
    assert [column.header for column in table.columns] == ["class", "unary", "joint"]
    titles, _, joint = (list(column.cells) for column in table.columns)
    assert titles[: len(names) + 1] == [*names, "mean IoU"]
    cells, final = dict(zip(titles, joint, strict=True)), evaluation["stages"][1]
    assert cells[names[0]] == f"{100 * final['iou'][0]:.1f}" and cells[names[2]] == "–"
    assert cells["mean IoU"] == f"{100 * final['miou']:.1f}"
    assert cells["calibration error (ECE)"] == f"{100 * final['calibration']['ece']:.1f}"
    assert cells["temporal consistency"] == "62.5"
    assert "within 0.75% of the diagonal, where that IoU is 0.5 or more; ECE: 15" in table.caption
    assert "3 images of val" in table.title
    evaluation["official"] = 5
    assert "3 of 5 images of val" in score_table(evaluation, names).title


def test_run_dataset_is_that_of_the_run_with_its_seed(finished_run, tmp_path):
    assert run_dataset(finished_run).name == "scenes"
    config = json.loads((finished_run / "config.json").read_text()) | {"seed": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "classes.json").write_text((finished_run / "classes.json").read_text())
    assert run_dataset(tmp_path).seed == 3


def test_run_dataset_finds_the_runs_own_files(finished_run, small_scenes, tmp_path):
    write_dataset(small_scenes, tmp_path / "pictures")
    config = json.loads((finished_run / "config.json").read_text())
    config["data"] |= {"dataset": "folder", "data_dir": str(tmp_path / "pictures")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "classes.json").write_text((finished_run / "classes.json").read_text())
    assert run_dataset(tmp_path).name == run_dataset(tmp_path, "folder").name == "folder"
    assert run_dataset(tmp_path, "scenes").name == "scenes"


def test_run_dataset_refuses_other_classes(finished_run, tmp_path):
    (tmp_path / "config.json").write_text((finished_run / "config.json").read_text())
    (tmp_path / "classes.json").write_text(
        json.dumps(Classes(("dark",), ((0, 0, 0),), ignore=7).to_json())
    )
    with pytest.raises(ValueError, match="knows the classes dark; scenes has sky"):
        run_dataset(tmp_path)


def test_script_writes_json_and_prints_the_table(
    finished_run, small_scenes, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    out = tmp_path / "new" / "scores.json"
    script.main(work_dir=(finished_run,), split="test", stages=(), out=out)
    found = json.loads(out.read_text())
    assert [s["name"] for s in found["stages"]] == ["unary", "triple", "contexts", "final"]
    assert found["images"] == 3
    assert sum(map(sum, found["stages"][0]["confusion"])) == 3 * 48 * 64
    printed = capsys.readouterr().out
    assert "mean IoU" in printed
    assert "scores.json" in printed
    assert sorted(out.parent.iterdir()) == [out, out.with_suffix(".npz")]
    script.main(work_dir=(finished_run,), split="test", stages=("triple",), out=out)
    assert json.loads(out.read_text())["stages"] == found["stages"][1:2]


def test_script_writes_into_the_run_by_default(finished_run, small_scenes, monkeypatch):
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    script.main(work_dir=(finished_run,), split="train")
    path = finished_run / "evaluation_train.json"
    written = json.loads(path.read_text())
    assert [s["name"] for s in written["stages"]] == ["final"]
    counts = path.with_suffix(".npz")
    with np.load(counts) as arrays:
        assert list(arrays["names"]) == [e.name for e in small_scenes.examples("train")]
        assert arrays["final"].sum(axis=0).tolist() == written["stages"][0]["confusion"]
    path.unlink(), counts.unlink()


def test_the_model_of_each_stage_is_scored_at_its_output(
    finished_run, small_scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    out = tmp_path / "scores.json"
    script.main(work_dir=(finished_run,), split="val", each_stage=True, out=out)
    results = json.loads((finished_run / "results.json").read_text())["stages"]
    found = json.loads(out.read_text())["stages"]
    assert [s["name"] for s in found] == ["unary", "joint"]
    assert [s["confusion"] for s in found] == [s["confusion"] for s in results]


def test_script_adds_the_crf_and_draws_trimap_curves(
    finished_run, small_scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    monkeypatch.setattr(predictor, "refine", lambda image, p, **crf: np.roll(p, 1, axis=-1))
    (tmp_path / "crf.json").write_text('{"bilateral": [4, 50, 5]}')
    out = tmp_path / "scores.json"
    options = {"crf": tmp_path / "crf.json", "trimap": True, "trimap_around": "boundary"}
    script.main(work_dir=(finished_run,), each_stage=True, out=out, **options)
    found = json.loads(out.read_text())
    assert found["crf"] == {"bilateral": [4, 50, 5]}
    assert [s["name"] for s in found["stages"]] == ["unary", "unary+crf", "joint", "joint+crf"]
    assert [len(s["trimap"]["miou"]) for s in found["stages"]] == 4 * [40]
    assert Image.open(tmp_path / "scores_trimap.png").width > 500


def test_bands_around_void_that_nothing_has_are_refused_but_the_scores_are_kept(
    finished_run, small_scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    out = tmp_path / "scores.json"
    with pytest.raises(ValueError, match="near the void.*boundary"):
        script.main(work_dir=(finished_run,), trimap=True, out=out)
    trimap = json.loads(out.read_text())["stages"][0]["trimap"]
    assert trimap["miou"] == trimap["accuracy"] == 40 * [None]


def test_a_preset_is_scored_on_the_dataset_that_is_named(finished_run, small_scenes, tmp_path):
    preset, out = tmp_path / "preset", tmp_path / "scores.json"
    model = load_model(finished_run)
    write_preset(model, preset, classes=small_scenes.classes)
    write_dataset(small_scenes, tmp_path / "pictures")
    options = {"dataset": "folder", "data_dir": tmp_path / "pictures"}
    script.main(work_dir=(str(preset),), out=out, **options)
    found = json.loads(out.read_text())
    expected = evaluate(Predictor(model), small_scenes, "val")["stages"][0]
    assert found["dataset"] == "folder"
    assert found["stages"][0]["confusion"] == expected["confusion"]
    with pytest.raises(ValueError, match="a preset names no dataset; give --dataset"):
        script.main(work_dir=(str(preset),), out=out)
    with pytest.raises(ValueError, match="A preset or .*: name the file to write with --out"):
        script.main(work_dir=(str(preset),), **options)
    with pytest.raises(ValueError, match="--each-stage: expected one training run, received a pre"):
        script.main(work_dir=(str(preset),), each_stage=True, out=out, **options)
    (preset / "classes.json").write_text(json.dumps(Classes(("dark",), ((0, 0, 0),)).to_json()))
    with pytest.raises(ValueError, match="preset knows the classes dark; folder has sky"):
        script.main(work_dir=(str(preset),), out=out, **options)


def test_script_averages_runs_in_a_budget_of_memory(
    finished_run, small_scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(script, "run_dataset", lambda *args: small_scenes)
    pair, out = (finished_run, finished_run), tmp_path / "both.json"
    script.main(work_dir=pair, memory=0.5, out=out)
    found = json.loads(out.read_text())
    assert (found["models"], found["precision"]) == (2, "float32")
    assert found["tile"] >= 512 and found["tile"] % 32 == 0
    final = json.loads((finished_run / "results.json").read_text())["stages"][-1]
    assert found["stages"][0]["confusion"] == final["confusion"]
    with pytest.raises(ValueError, match="several runs: name the file to write with --out"):
        script.main(work_dir=pair)
    with pytest.raises(ValueError, match="--each-stage: expected one training run"):
        script.main(work_dir=pair, each_stage=True, out=out)
    with pytest.raises(ValueError, match="`tile` and `memory_gib`: expected at most one of them"):
        script.main(work_dir=(finished_run,), tile=512, memory=1.0, out=out)


def test_a_missing_run_is_one_line_and_exit_code_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.run(script.main, ["--work-dir", str(tmp_path / "none")])
    assert stopped.value.code == 2
    assert f"a directory, or hf://org/name, received '{tmp_path / 'none'}'" in (
        capsys.readouterr().err
    )
    with pytest.raises(ValueError, match="give --work-dir, once or more"):
        script.main(work_dir=())
