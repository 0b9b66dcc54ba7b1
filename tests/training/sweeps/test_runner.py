"""Sweeps whose runs are trained by a stand-in, which only changes the weights."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from keras_dpn.inference import Predictor
from training.configs.recipes import RECIPES
from training.configs.serialization import from_json, to_json
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_dataset
from training.engine.setup import build_model, load_weights, with_absolute_paths
from training.rundir import paths as workdir
from training.sweeps import runner as script
from training.sweeps.definitions import Row, Sweep
from training.sweeps.plan import Place
from training.sweeps.runner import ablate, read_trained

TINY = {"width": 0.02, "fc_width": 8, "mixtures": 2, "pairwise_stride": 4, "context_window": 3}


def dpn(window, learning_rate=1e-3):
    """Unary and triple stage of a network that begins alike, whatever the window."""
    recipe = RECIPES["scenes"]
    none = {name: replace(recipe.stage(name), epochs=0) for name in ("contexts", "joint")}
    triple = replace(recipe.triple, learning_rate=learning_rate)
    model = replace(recipe.model, **TINY, triple_window=window)
    data = replace(recipe.data, dataset="folder")
    return replace(recipe, model=model, data=data, triple=triple, **none)


SWEEP = Sweep(
    "windows",
    (
        Row("unary", dpn(3), "unary"),
        Row("small", dpn(3), "triple"),
        Row("large", dpn(5), "triple"),
    ),
    reference="unary",
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pictures")
    write_dataset(ScenesDataset({"train": 2, "val": 3}, size=(48, 64)), directory)
    return directory


@pytest.fixture
def calls(monkeypatch):
    """Run directories, as their training was asked for; those in `broken` fail."""

    class Calls(list):
        broken = ()

    found = Calls()

    def train(command):
        assert command[1:3] == ["-m", "training.train"] and command[4] == "--work-dir"
        assert command[6:] == ["--resume", "--devices", "cpu:1"]
        run = Path(command[5])
        found.append(run.name)
        if run.name in found.broken:
            return subprocess.CompletedProcess(command, 3)
        leave_run(run, from_json(workdir.read_json(Path(command[3]))))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(script.subprocess, "run", train)
    return found


def leave_run(run, config):
    """What a run leaves behind; each stage adds 1 to what it teaches."""
    names = ScenesDataset().classes
    model, results = build_model(config, names.num_classes), []
    if config.weights:
        load_weights(model, config.weights)
    for stage in config.stages:
        if config.stage(stage.name).epochs:
            for layer in model.layers:
                if stage.teaches(layer.name) and layer.weights:
                    layer.weights[0].assign(layer.weights[0] + 1)
            workdir.write_atomically(workdir.stage_dir(run, stage.name) / "model.keras", model.save)
            results.append({"name": stage.name})
    workdir.write_atomically(run / "model.keras", model.save)
    workdir.write_json(run / "classes.json", names.to_json())
    workdir.write_json(run / "results.json", {"stages": results})


def run_sweep(pictures, work_dir, sweep=SWEEP, **options):
    console = Console(quiet=True)
    return ablate(sweep, work_dir, data_dir=pictures, devices="cpu:1", console=console, **options)


def test_rows_are_trained_scored_and_compared(pictures, tmp_path, calls):
    calls.broken = ("large_seed0",)
    with pytest.raises(ValueError, match="1 of 2 runs failed. .*large_seed0: exit code 3"):
        run_sweep(pictures, tmp_path)
    assert "| large (0 of 1 seeds) |" in (tmp_path / "ablation.md").read_text()
    assert calls == ["small_seed0", "large_seed0"]
    calls.broken = ()
    summary = run_sweep(pictures, tmp_path)  # carries on
    assert calls == ["small_seed0", "large_seed0", "large_seed0"]
    assert json.loads((tmp_path / "ablation.json").read_text())["title"] == "windows"
    assert [row["name"] for row in summary["rows"]] == ["unary", "small", "large"]
    assert all(row["against"] for row in summary["rows"][1:])
    small, large = (tmp_path / "runs" / f"{name}_seed0" for name in ("small", "large"))
    first, second = workdir.load_model(small, "unary"), workdir.load_model(large)
    for a, b in zip(
        *(model.head_model("unary").get_weights() for model in (first, second)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert second.triple_window == 5
    config = workdir.load_config(large)
    assert config["unary"]["epochs"] == 0 and Path(config["weights"]) == large / "start.keras"
    other = Sweep("others", (SWEEP.rows[0], Row("small", dpn(3, 0.1))), "unary")
    with pytest.raises(ValueError, match="small_seed0.config.json: the run was configured otherwi"):
        run_sweep(pictures, tmp_path, other)


def test_a_run_that_is_there_is_not_trained(pictures, tmp_path, calls):
    config, run = with_absolute_paths(dpn(3), pictures), tmp_path / "run"
    workdir.write_json(run / "config.json", to_json(config))
    leave_run(run, config)
    entries = [f"unary={run}:unary", f"small={run}"]
    trained = read_trained(entries, SWEEP, (0,))
    assert trained["small", 0] == Place(run, "triple")
    sweep = replace(SWEEP, rows=SWEEP.rows[:2])
    summary = run_sweep(pictures, tmp_path / "work", sweep, trained=trained)
    assert calls == []
    assert summary["rows"][0]["mean"] and summary["rows"][1]["against"]


def test_a_network_is_scored_at_its_stages_and_with_a_crf(pictures, tmp_path, calls, monkeypatch):
    evaluate, passes = script.evaluate, []

    def spy(predictor, dataset, split, **options):
        passes.append((predictor.heads, predictor.crf))
        return evaluate(predictor, dataset, split, **options)

    monkeypatch.setattr(script, "evaluate", spy)
    crf = {"num_iterations": 1, "bilateral": (2.0, 5.0, 30.0), "filter": "exact"}
    rows = (
        Row("triple", dpn(3)),
        Row("unary", dpn(3), output="unary"),
        Row("crf", dpn(3), crf=crf),
    )
    sweep = Sweep("outputs", rows, "triple")
    run_sweep(pictures, tmp_path, sweep)
    assert calls == ["crf_seed0"]
    assert passes == [
        (("final", "unary"), None),
        (("final", "final+crf"), json.loads(json.dumps(crf))),
    ]
    files = {row.name: tmp_path / f"evaluations/{row.name}_seed0_val.json" for row in rows}
    found = {name: json.loads(file.read_text()) for name, file in files.items()}
    stages = {name: [stage["name"] for stage in one["stages"]] for name, one in found.items()}
    assert stages == {"triple": ["final"], "unary": ["unary"], "crf": ["final", "final+crf"]}
    run = workdir.load_model(tmp_path / "runs" / "crf_seed0")
    data = script.run_dataset(tmp_path / "runs" / "crf_seed0")
    expected = evaluate(Predictor(run, heads=("unary",)), data, "val")
    assert found["unary"]["stages"] == json.loads(json.dumps(expected["stages"]))
    with np.load(files["unary"].with_suffix(".npz")) as arrays:
        assert arrays.files == ["names", "unary"]
        np.testing.assert_array_equal(arrays["unary"], expected["per_image"]["confusions"]["unary"])
    before = {name: file.stat().st_mtime_ns for name, file in files.items()}
    rows = (*rows[:2], Row("crf", dpn(3), crf={**crf, "num_iterations": 2}))
    run_sweep(pictures, tmp_path, replace(sweep, rows=rows))
    after = {name: file.stat().st_mtime_ns for name, file in files.items()}
    assert [name for name in files if after[name] != before[name]] == ["crf"]


def test_what_does_not_fit_is_refused_first(pictures, tmp_path, calls):
    with pytest.raises(ValueError, match="folder val has 3 images, and --block is 3"):
        run_sweep(pictures, tmp_path / "a", block=3)
    with pytest.raises(ValueError, match="received 'test'"):
        run_sweep(pictures, tmp_path / "a", split="test")
    with pytest.raises(ValueError, match="--trained: expected ROW=RUN .* received 'wide=x'"):
        read_trained(["wide=x"], SWEEP, (0,))
    workdir.write_json(tmp_path / "run" / "config.json", {"seed": 4, "triple": {"epochs": 1}})
    with pytest.raises(ValueError, match="triple.model.keras: no such file"):
        read_trained([f"small={tmp_path / 'run'}"], SWEEP, (0,))
    assert calls == []
