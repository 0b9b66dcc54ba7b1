"""A run of version 0.1 (config version 4) is of use: it loads, resumes, evaluates and reports.

`tests/data/run_v4` has a finished run of two epochs of its last stage, the same run as it was when
its process was interrupted after the first of them, and the images of both.
"""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from training.cli import main
from training.configs.recipes import RECIPES
from training.configs.serialization import from_json, to_json
from training.rundir.models import load_model

FIXTURE = Path(__file__).parents[1] / "data" / "run_v4"


@pytest.fixture(autouse=True)
def default_policy():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def runs(tmp_path):
    """The directory with both runs, whose configurations name the images next to them."""
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    finished, interrupted = tmp_path / "finished", tmp_path / "interrupted"
    for name in ("config.json", "results.json"):
        text = (finished / name).read_text().replace("/data/images", str(tmp_path / "images"))
        (finished / name).write_text(text)
    for name in ("config.json", "classes.json", "stages"):
        copy = shutil.copytree if name == "stages" else shutil.copy
        copy(finished / name, interrupted / name)
    joint = finished / "stages" / "4_joint"
    joint.mkdir()
    shutil.copy(finished / "model.keras", joint)
    return tmp_path


def assert_same_weights(model, other):
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        assert ours.path == theirs.path
        # The order of sums, and with it the last digits, differs between processors.
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=ours.path)


def test_configurations_of_version_4_are_read():
    values = json.loads((FIXTURE / "finished" / "config.json").read_text())
    config = from_json(values)
    assert (values["version"], config.version) == (4, 5)
    recipe = RECIPES["dpn/folder"]
    assert config.model.local_conv.window == values["model"]["triple_window"] == 5
    assert config.model.backbone.name == values["model"]["trunk"] == "large_fov"
    assert config.data.augmentation.horizontal_flip is values["data"]["augmentation"]["mirror"]
    assert config.joint.loss.ohem_fraction == values["joint"]["loss"]["hard_ratio"] == 0.75
    assert config.unary.layer_rates == recipe.unary.layer_rates
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


def test_an_interrupted_run_resumes_to_the_same_weights(runs):
    interrupted = runs / "interrupted"
    command = ["train", str(interrupted / "config.json"), "--work-dir", str(interrupted)]
    assert main([*command, "--resume"]) == 0
    assert_same_weights(load_model(interrupted), load_model(runs / "finished"))
    ours, theirs = (
        json.loads((run / "results.json").read_text()) for run in (interrupted, runs / "finished")
    )
    assert [stage["name"] for stage in ours["stages"]] == ["unary", "joint"]
    assert ours["config"]["version"] == 5
    for stage, expected in zip(ours["stages"], theirs["stages"], strict=True):
        assert stage["miou"] == pytest.approx(expected["miou"], abs=1e-3)
        assert stage["parameters_trained"] == expected["parameters_trained"]
    history = json.loads((interrupted / "history.json").read_text())
    assert [(row["stage"], row["epoch"]) for row in history if "loss" in row] == [
        ("unary", 1),
        ("joint", 1),
        ("joint", 2),
    ]


def test_a_finished_run_is_evaluated_and_reported(runs, tmp_path, capsys):
    finished, page = runs / "finished", tmp_path / "report.html"
    stages = json.loads((finished / "results.json").read_text())["stages"]
    assert main(["evaluate", str(finished), "--split", "val", "--per-stage"]) == 0
    evaluation = json.loads((finished / "evaluation_val.json").read_text())
    for head, stage in zip(evaluation["heads"], stages, strict=True):
        assert head["name"] == stage["name"]
        assert head["miou"] == pytest.approx(stage["miou"], abs=1e-3)
    assert main(["report", str(finished), "--out", str(page), "--num-images", "1"]) == 0
    assert (
        "large_fov backbone, width 0.02; triple penalty 5×5; label contexts 3×3" in page.read_text()
    )
