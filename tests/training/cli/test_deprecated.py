import importlib
import inspect
import logging

import pytest

from training.cli.deprecated import POSITIONAL, RENAMED, replace_deprecated, replace_fields


@pytest.fixture
def notices(monkeypatch):
    """What is logged as a warning."""
    seen = []
    logger = logging.getLogger("keras_dpn")
    monkeypatch.setattr(logger, "warning", lambda text, *args: seen.append(text % args))
    return seen


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        ("evaluate", ["--mirror", "--split", "val"], ["--horizontal-flip", "--split", "val"]),
        ("evaluate", ["--no-mirror"], ["--no-horizontal-flip"]),
        ("evaluate", ["--each_stage"], ["--per-stage"]),
        ("preset", ["--seed", "1", "--work-dir", "a", "--work-dir=b"], ["a", "b", "--seed", "1"]),
        ("predict", ["x.png", "--work-dir", "a"], ["x.png", "--model", "a"]),
        ("predict", ["--memory=2"], ["--memory-gib=2"]),
        ("export", ["--check", "a.png"], ["--verify-with", "a.png"]),
    ],
)  # fmt: skip
def test_old_options_become_new_ones_with_a_notice(command, old, new, notices):
    assert replace_deprecated(command, old) == new
    assert notices and all("is deprecated: use" in notice for notice in notices)


def test_todays_options_stay(notices):
    args = ["a", "--heads", "unary", "--memory-gib", "2", "--out=x--mirror"]
    assert replace_deprecated("evaluate", args) == args
    assert not notices


@pytest.mark.parametrize("command", RENAMED)
def test_new_options_exist_and_old_ones_do_not(command):
    module = importlib.import_module(f"training.cli.{command.replace('-', '_')}")
    names = set(inspect.signature(module.main).parameters)
    groups = {"data": ("dataset", "data_dir", "split")}
    groups["inference"] = ("scales", "horizontal_flip", "tile", "memory_gib", "precision", "crf")
    for group, fields in groups.items():
        if group in names:
            names |= set(fields)
    for old, new in RENAMED[command].items():
        assert old[2:].replace("-", "_") not in names
        if new != POSITIONAL:
            assert new[2:].replace("-", "_") in names


def test_old_fields_of_a_configuration_become_new_ones(notices):
    fields = {
        "model.triple_window": "model.local_conv.window",
        "model.gate": "model.local_conv.gate",
    }
    old = [
        "--model.triple-window",
        "9",
        "--model.triple_window=3",
        "--model.no-gate",
        "--seed",
        "1",
    ]
    new = ["--model.local-conv.window", "9", "--model.local-conv.window=3"]
    assert replace_fields(old, fields) == [*new, "--model.local-conv.no-gate", "--seed", "1"]
    assert len(notices) == 3 and notices[0].endswith("use --model.local-conv.window")
