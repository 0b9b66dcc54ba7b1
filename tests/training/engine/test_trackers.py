import re
import sys
import types
from types import SimpleNamespace

import pytest

from training.configs.recipes import RECIPES
from training.engine.trackers import Trackers

CONFIG = RECIPES["dpn/scenes"]
HISTORY = [
    {"stage": "unary", "epoch": 1, "loss": 2.0},
    {"stage": "unary", "epoch": 2, "recovery": {"step": 3}},
    {"stage": "unary", "epoch": 2, "loss": 1.5, "val_miou": 0.25},
    {"stage": "joint", "epoch": 1, "loss": 1.0},
]
ROWS = [
    ({"unary/loss": 2.0, "unary/epoch": 1.0}, 0),
    ({"unary/loss": 1.5, "unary/val_miou": 0.25, "unary/epoch": 2.0}, 2),
    ({"joint/loss": 1.0, "joint/epoch": 1.0}, 3),
]


class StandIn(types.ModuleType):
    """What the trackers call of wandb and of mlflow, and what they were called with."""

    def __init__(self, name):
        super().__init__(name)
        self.begun, self.rows, self.ended, self.params, self.fails = [], [], 0, {}, False
        self.refuses = False

    def log(self, scores, step):
        if self.fails:
            raise ConnectionError("no server\nand more")
        self.rows.append((scores, step))

    log_metrics = log

    def end(self, status="FINISHED"):
        self.ended += 1

    finish = end_run = end

    def init(self, **options):
        self.begun.append(options)
        self.id = options["id"] or "new"
        return self

    def set_experiment(self, name):
        self.experiment = name

    def start_run(self, **options):
        if len(self.begun) > self.ended:
            raise Exception("Run with UUID new is already active.")  # as MLflow, whose it is
        self.begun.append(options)
        run_id = options.get("run_id", "new")
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def log_params(self, values):
        if self.refuses:
            raise ConnectionError("no server")
        for name, value in values.items():
            assert re.fullmatch(r"[/\w.\- :]*", name), f"MLflow refuses the name {name}"
            assert len(str(value)) <= 500
        self.params |= values


@pytest.fixture(params=["wandb", "mlflow"])
def module(request, monkeypatch):
    stand_in = StandIn(request.param)
    monkeypatch.setitem(sys.modules, request.param, stand_in)
    for variable in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    return stand_in


def test_each_row_once_across_resumed_runs(module, tmp_path):
    name = module.__name__
    with Trackers([name, name], tmp_path / "run", CONFIG) as trackers:
        assert not module.begun  # nothing is sent before there are scores
        trackers.send(HISTORY[:2])
        trackers.send(HISTORY[:2])
    assert module.ended == 1
    with Trackers([name], tmp_path / "run", CONFIG) as trackers:
        trackers.send(HISTORY)
    assert module.rows == ROWS
    first, second = module.begun
    if name == "wandb":
        assert (first["name"], first["project"], first["id"]) == ("run", "keras-dpn", None)
        assert first["config"]["unary"]["epochs"] == CONFIG.unary.epochs
        assert second["id"] == "new" and second["resume"] == "allow"
    else:
        assert module.experiment == "keras-dpn" and first == {"run_name": "run"}
        assert module.params["unary.epochs"] == CONFIG.unary.epochs
        assert second == {"run_id": "new"}


def test_a_tracker_that_fails_gets_its_rows_later(module, tmp_path, messages):
    trackers = Trackers([module.__name__], tmp_path, CONFIG)
    module.fails = True
    trackers.send(HISTORY[:1])
    trackers.send(HISTORY[:2])
    expected = f"{module.__name__}: ConnectionError: no server; training continues without it"
    assert messages() == expected
    module.fails = False
    trackers.send(HISTORY)
    assert module.rows == ROWS and len(module.begun) == 1


@pytest.mark.parametrize("module", ["mlflow"], indirect=True)
def test_a_run_whose_settings_were_not_taken_is_ended(module, tmp_path):
    trackers = Trackers(["mlflow"], tmp_path, CONFIG)
    module.refuses = True
    trackers.send(HISTORY[:1])
    assert (len(module.begun), module.ended) == (1, 1)
    module.refuses = False
    trackers.send(HISTORY)
    assert module.rows == ROWS


@pytest.mark.parametrize("module", ["mlflow"], indirect=True)
@pytest.mark.parametrize("recipe", ["dpn/camvid", "fcn/camvid"])
def test_mlflow_takes_rates_by_layer(module, tmp_path, recipe):
    """Their keys are regular expressions, whose characters names can't have."""
    Trackers(["mlflow"], tmp_path, RECIPES[recipe]).send(HISTORY[:1])
    assert module.rows == ROWS[:1]
    assert module.params["data.batch_size"] == RECIPES[recipe].data.batch_size


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_names_the_extra(monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, name, None)
    message = f"--callbacks {name} needs {name}, the extra '{name}': pip install '.\\[{name}\\]'"
    with pytest.raises(ValueError, match=message):
        Trackers([name], tmp_path, CONFIG)
    assert not list(tmp_path.iterdir())
