"""Sweeps whose runs are trained by an executor that only changes the weights."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_dpn.inference import Predictor
from training.configs.networks import BackboneConfig, ContextsConfig, LocalConvConfig
from training.configs.recipes import RECIPES
from training.configs.serialization import from_json, to_json
from training.data.generated.scenes import ScenesDataset
from training.data.generated.writers import write_dataset
from training.data.registry import load_dataset
from training.engine.checks import check_work_dir
from training.engine.networks import adapter, build_model
from training.engine.plan import resolve_steps
from training.engine.setup import with_absolute_paths
from training.evaluation.evaluator import evaluate
from training.evaluation.results import Evaluation
from training.rundir import paths as workdir
from training.rundir.dataset import run_dataset
from training.rundir.models import load_model
from training.sweeps import runner, scoring
from training.sweeps.definitions import Row, Sweep
from training.sweeps.plan import CheckpointRef, Job
from training.sweeps.runner import SubprocessExecutor, read_reused, run
from training.sweeps.table import Summary
from training.utils.files import atomic_file, write_json

TINY = {
    "width": 0.02,
    "backbone": BackboneConfig("large_fov", fc6_dilation=2, fc_width=8),
    "contexts": ContextsConfig(window=3, mixtures=2),
    "pairwise_stride": 4,
}


def dpn(window, learning_rate=1e-3):
    """Unary and triple stage of a network that begins alike, whatever the window."""
    recipe = RECIPES["dpn/scenes"]
    none = {name: replace(recipe.stage(name), epochs=0) for name in ("contexts", "joint")}
    triple = replace(recipe.triple, learning_rate=learning_rate)
    model = replace(recipe.model, **TINY, local_conv=LocalConvConfig(window=window))
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
def images(tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    write_dataset(ScenesDataset({"train": 2, "val": 3}, size=(48, 64)), directory)
    return directory


class Executor:
    """Leaves what a run leaves; those in `broken` fail.

    Attributes:
        calls: names of the runs that were to be trained.
    """

    def __init__(self, broken=()):
        self.broken, self.calls = broken, []

    def __call__(self, run):
        self.calls.append(run.name)
        if run.name in self.broken:
            return 3
        leave_run(run, from_json(workdir.load_config(run)))
        return 0


def no_training(run):
    raise AssertionError(f"{run} was trained")


def leave_run(run, config):
    """Write what a run leaves; each stage adds 1 to the layers that it trains."""
    names = ScenesDataset().classes
    model, results = build_model(config, names.num_classes), []
    if config.weights:
        adapter(config).load_weights(model, config.weights)
    for stage in config.stages:
        if config.stage(stage.name).epochs:
            for layer in model.layers:
                if stage.is_trainable(layer.name) and layer.weights:
                    layer.weights[0].assign(layer.weights[0] + 1)
            with atomic_file(workdir.model_file(run, stage.name)) as temporary:
                model.save(temporary)
            results.append({"name": stage.name})
    with atomic_file(workdir.model_file(run)) as temporary:
        model.save(temporary)
    write_json(run / "classes.json", names.to_json())
    write_json(run / "results.json", {"stages": results})


def run_sweep(images, work_dir, executor, sweep=SWEEP, **options):
    outcome = run(sweep, work_dir, executor, data_dir=images, **options)
    outcome.raise_failures()
    return outcome.summary


def test_rows_are_trained_scored_and_compared(images, tmp_path):
    executor = Executor(broken=("large_seed0",))
    with pytest.raises(ValueError, match="1 of 2 runs failed. .*large_seed0: exit code 3"):
        run_sweep(images, tmp_path, executor)
    assert "| large (0 of 1 seeds) |" in (tmp_path / "ablation.md").read_text()
    assert executor.calls == ["small_seed0", "large_seed0"]
    executor = Executor()
    summary = run_sweep(images, tmp_path, executor)
    assert executor.calls == ["large_seed0"], "it continues"
    assert Summary.load(tmp_path) == summary
    assert (summary.title, [row.name for row in summary.rows]) == (
        "windows",
        ["unary", "small", "large"],
    )
    assert all(row.against for row in summary.rows[1:])
    small, large = (tmp_path / "runs" / f"{name}_seed0" for name in ("small", "large"))
    first, second = load_model(small, "unary"), load_model(large)
    for a, b in zip(
        *(model.head_model("unary").get_weights() for model in (first, second)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert second.local_conv["window"] == 5
    config = workdir.load_config(large)
    assert config["unary"]["epochs"] == 0 and Path(config["weights"]) == large / "start.keras"
    other = Sweep("others", (SWEEP.rows[0], Row("small", dpn(3, 0.1))), "unary")
    with pytest.raises(ValueError, match="small_seed0.config.json: the run's configuration differ"):
        run_sweep(images, tmp_path, no_training, other)


def test_steps_are_epochs_before_anything_is_trained(images, tmp_path):
    """A run resumes from its config.json, which has epochs alone after the first start."""
    config = dpn(3)
    config = replace(
        config,
        data=replace(config.data, batch_size=1),
        unary=replace(config.unary, epochs=0, steps=60),
    )
    sweep = Sweep("steps", (Row("small", config, "triple"),), "small")
    found = []

    def executor(path):
        found.append(from_json(workdir.load_config(path)))
        prepared = resolve_steps(found[-1], load_dataset("folder", images))
        assert check_work_dir(path, prepared, resume=True) == []
        return 3

    for _ in range(2):
        run(sweep, tmp_path, executor, data_dir=images)
    first, second = found
    assert first == second
    assert (first.data.passes_per_epoch, first.unary.epochs, first.unary.steps) == (25, 2, 0)


def test_the_sha_of_the_recipes_weights_is_not_asked_of_a_rows(tmp_path):
    config = replace(dpn(3), weights="vgg16.h5", weights_sha256="0" * 64)
    job = Job(tmp_path / "second", config, start=CheckpointRef(tmp_path / "first"))
    write_json(tmp_path / "first/config.json", to_json(config))
    assert runner._train(job, {}, 11, lambda path: 0) is None
    found = from_json(workdir.load_config(job.run))
    assert (found.weights, found.weights_sha256) == (str(job.start.file), None)
    runner._check_run(job)  # it can be continued


def test_rows_of_runs_that_are_there_are_not_trained(images, tmp_path):
    config, run_dir = with_absolute_paths(dpn(3), images), tmp_path / "run"
    write_json(run_dir / "config.json", to_json(config))
    leave_run(run_dir, config)
    reuse = read_reused([f"unary={run_dir}:unary", f"small={run_dir}"], SWEEP, (0,))
    assert reuse["small", 0] == CheckpointRef(run_dir, "triple")
    sweep = replace(SWEEP, rows=SWEEP.rows[:2])
    summary = run_sweep(images, tmp_path / "work", no_training, sweep, reuse=reuse)
    assert summary.rows[0].mean and summary.rows[1].against


def test_a_network_is_scored_at_its_heads_and_with_a_crf(images, tmp_path, monkeypatch):
    passes = []

    def spy(predictor, dataset, split, *args, **options):
        passes.append((predictor.heads, predictor.crf))
        return evaluate(predictor, dataset, split, *args, **options)

    monkeypatch.setattr(scoring, "evaluate", spy)
    crf = {"num_iterations": 1, "bilateral": (2.0, 5.0, 30.0), "filter": "exact"}
    rows = (
        Row("triple", dpn(3)),
        Row("unary", dpn(3), output="unary"),
        Row("crf", dpn(3), crf=crf),
    )
    sweep, executor = Sweep("outputs", rows, "triple"), Executor()
    run_sweep(images, tmp_path, executor, sweep)
    assert executor.calls == ["crf_seed0"]
    assert passes == [
        (("final", "unary"), None),
        (("final", "final+crf"), json.loads(json.dumps(crf))),
    ]
    files = {row.name: tmp_path / f"evaluations/{row.name}_seed0_val.json" for row in rows}
    scored = {name: Evaluation.load(file) for name, file in files.items()}
    heads = {name: [head.name for head in one.heads] for name, one in scored.items()}
    assert heads == {"triple": ["final"], "unary": ["unary"], "crf": ["final", "final+crf"]}
    run_dir = tmp_path / "runs" / "crf_seed0"
    network = Predictor(load_model(run_dir), heads=("unary",))
    expected = evaluate(network, run_dataset(run_dir), "val")
    assert scored["unary"].heads == expected.heads
    counts = scored["unary"].head().confusions
    np.testing.assert_array_equal(counts, expected.head().confusions)
    before = modified(files)
    rows = (*rows[:2], Row("crf", dpn(3), crf={**crf, "num_iterations": 2}))
    run_sweep(images, tmp_path, no_training, replace(sweep, rows=rows))
    assert [name for name, time in modified(files).items() if time != before[name]] == ["crf"]


def modified(files):
    return {name: file.stat().st_mtime_ns for name, file in files.items()}


@pytest.mark.parametrize(("seconds", "is_scored"), [(-10, True), (0, True), (10, False)])
def test_evaluations_older_than_the_network_are_made_again(images, tmp_path, seconds, is_scored):
    sweep = replace(SWEEP, rows=SWEEP.rows[:1])
    run_sweep(images, tmp_path, Executor(), sweep)
    file = tmp_path / "evaluations" / "unary_seed0_val.json"
    network = workdir.model_file(tmp_path / "runs" / "unary_seed0", "unary").stat().st_mtime
    os.utime(file, (network + seconds,) * 2)
    before = file.stat().st_mtime_ns
    run_sweep(images, tmp_path, no_training, sweep)
    assert (file.stat().st_mtime_ns != before) == is_scored


def test_a_run_is_trained_by_the_command_in_a_process_of_its_own(tmp_path, monkeypatch):
    commands = []

    class Completed:
        returncode = 3

    def record(command, env):
        commands.append(command)
        assert env["PYTHONPATH"].split(os.pathsep) == [os.path.abspath(path) for path in sys.path]
        return Completed

    monkeypatch.setattr(runner.subprocess, "run", record)
    assert SubprocessExecutor("cpu:1")(tmp_path) == 3
    config = str(tmp_path / "config.json")
    assert commands == [
        # -P: a folder `training` in the current directory isn't this one.
        [sys.executable, "-P", "-m", "training", "train", config]
        + ["--work-dir", str(tmp_path), "--resume", "--devices", "cpu:1"]
    ]


def test_what_does_not_fit_is_refused_first(images, tmp_path):
    with pytest.raises(ValueError, match="folder val has 3 images, and --block-size is 3"):
        run_sweep(images, tmp_path / "a", no_training, block_size=3)
    with pytest.raises(ValueError, match="received 'test'"):
        run_sweep(images, tmp_path / "a", no_training, split="test")
    for seeds in ((), (0, 0), (-1,)):
        with pytest.raises(ValueError, match="--seeds: expected distinct numbers from 0 up"):
            run_sweep(images, tmp_path / "a", no_training, seeds=seeds)
    sweep = Sweep("outputs", (Row("a", dpn(3), output="unarry"), Row("b", dpn(3))), "b")
    with pytest.raises(ValueError, match=r"Row a: `output`: .*'unary', .* received 'unarry'"):
        run_sweep(images, tmp_path / "a", no_training, sweep)
    with pytest.raises(ValueError, match="--reuse: expected ROW=RUN .* received 'wide=x'"):
        read_reused(["wide=x"], SWEEP, (0,))
    config = {"network": "DPN", "seed": 4, "triple": {"epochs": 1}}
    write_json(tmp_path / "run" / "config.json", config)
    with pytest.raises(ValueError, match="triple.model.keras: no such file"):
        read_reused([f"small={tmp_path / 'run'}"], SWEEP, (0,))


def test_a_run_that_cannot_be_scored_does_not_end_the_sweep(images, tmp_path, monkeypatch):
    def fail(checkpoints, *args):
        if any(name == "small" for name, _ in checkpoints):
            raise ValueError("no scores")
        return {}

    monkeypatch.setattr(runner, "score", fail)
    executor = Executor()
    with pytest.raises(ValueError, match="1 of 2 runs .*small_seed0: trained, but not scored: no"):
        run_sweep(images, tmp_path, executor)
    assert executor.calls == ["small_seed0", "large_seed0"], "which starts from the first"


def test_a_run_of_an_earlier_version_is_continued(tmp_path):
    """Its configuration lacks the fields that were added since."""
    config = dpn(3)
    values = to_json(replace(config, weights="start.keras"))
    del values["unary"]["patience"]
    write_json(tmp_path / "config.json", values)
    runner._check_run(Job(tmp_path, config))
    rate = replace(config, triple=replace(config.triple, learning_rate=0.5))
    with pytest.raises(ValueError, match="differs from the sweep's in: triple.learning_rate; name"):
        runner._check_run(Job(tmp_path, rate))


def test_a_reused_run_is_scored_on_the_data_of_its_row(images, tmp_path, monkeypatch):
    """Its own directory may be of another machine."""
    config, run_dir = with_absolute_paths(dpn(3), images), tmp_path / "run"
    moved = replace(config, data=replace(config.data, data_dir="/gone"))
    write_json(run_dir / "config.json", to_json(moved))
    opened = []
    monkeypatch.setattr(scoring, "run_dataset", lambda *args: opened.append(args))
    monkeypatch.setattr(scoring, "evaluate", lambda *args, **options: Evaluation())
    monkeypatch.setattr(scoring, "Predictor", lambda *args, **options: None)
    monkeypatch.setattr(CheckpointRef, "load", lambda self: None)
    sweep = Sweep("one", (Row("a", config, output="final"),), "a")
    scoring.score({("a", 0): CheckpointRef(run_dir)}, sweep, tmp_path, "val")
    assert opened == [(run_dir, "folder", images)]


@pytest.mark.parametrize("name", ["ablation.md", "ablation.json"])
def test_files_of_others_are_not_replaced(images, tmp_path, name):
    (tmp_path / name).write_text("# precious")
    with pytest.raises(ValueError, match=f"{name}: would be replaced, and no sweep has written it"):
        run_sweep(images, tmp_path, no_training)
    assert (tmp_path / name).read_text() == "# precious"
