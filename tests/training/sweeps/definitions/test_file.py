import json

import pytest

from training.configs.recipes import RECIPES
from training.sweeps.definitions import SWEEPS, override, read_sweep

SWEEP = {
    "recipe": "dpn/scenes",
    "set": {"joint.epochs": 0, "contexts.steps": 0, "contexts.epochs": 0},
    "rows": [
        {"name": "small", "stage": "triple", "set": {"model.local_conv.window": 3}},
        {
            "name": "crf",
            "recipe": "dpn/moving-scenes",
            "output": "unary",
            "crf": {"num_iterations": 3},
            "title": "with a CRF",
            "paper": 63.4,
        },
    ],
}


def write(tmp_path, **changes):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**SWEEP, **changes}))
    return path


def test_reads_rows(tmp_path):
    sweep = read_sweep(write(tmp_path))
    assert (sweep.title, sweep.reference, sweep.consistency) == ("mine", "small", False)
    small, crf = sweep.rows
    assert small.config.model.local_conv.window == 3 and small.stage == "triple"
    assert "joint" not in small.stages and "contexts" not in small.stages
    assert small.config.unary == RECIPES["dpn/scenes"].unary
    assert crf.config.data == RECIPES["dpn/moving-scenes"].data and "joint" not in crf.stages
    assert (crf.output, crf.crf, crf.title) == ("unary", {"num_iterations": 3}, "with a CRF")
    titled = read_sweep(write(tmp_path, title="Mine", reference="crf", consistency=True))
    assert (titled.title, titled.reference, titled.consistency) == ("Mine", "crf", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": []}, "mine.json: unknown fields: row; expected some of title, rows, ref"),
        ({"rows": []}, "mine.json: expected a list `rows` with at least one row"),
        ({"rows": ["a"]}, "row 1: expected a JSON object, received str"),
        ({"rows": [{"name": "a", "window": 3}]}, "row 1: unknown fields: window; expected some"),
        ({"rows": [{"stage": "unary"}]}, "row 1: expected `name`, and `recipe`"),
        ({"recipe": None}, "row 1: expected `name`, and `recipe`"),
        ({"recipe": "dpn/scene"}, "expected a recipe .* did you mean dpn/scenes"),
        ({"set": {"model.windw": 3}}, "row 1: expected a field .*, received 'model.windw'"),
        ({"set": {"unary": 3}}, "row 1.*unary"),
        ({"set": {"seed": "x"}}, "row 1.*seed"),
        (
            {"rows": [{"name": "a", "paper": "66"}]},
            "row 1: paper: expected .*float.*, received '66'",
        ),
        ({"rows": [{"name": "a", "title": 5}]}, "row 1: title: expected .*str.*, received 5"),
        ({"rows": [{"name": "a", "crf": [3]}]}, "row 1: crf: expected .*, received .3."),
        ({"consistency": "no"}, "mine.json: consistency: expected .*bool.*, received 'no'"),
        ({"set": {"triple.epochs": 0, "triple.steps": 0}}, "Row small: `stage`: expected one"),
        ({"reference": "large"}, "mine.json: `reference`: expected one of .* received 'large'"),
    ],
)
def test_refuses(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_sweep(write(tmp_path, **changes))


def test_epochs_come_instead_of_the_recipes_steps(tmp_path):
    """As in `keras-dpn train`."""
    rows = [{"name": "a"}, {"name": "b", "set": {"unary.epochs": 2}}]
    common = {"joint.epochs": 0, "triple.epochs": 1, "triple.steps": 9, "unary.steps": 7}
    first, second = read_sweep(write(tmp_path, recipe="dpn/folder", set=common, rows=rows)).rows
    assert "joint" not in first.stages
    assert (first.config.triple.epochs, first.config.triple.steps) == (1, 9)
    assert (first.config.unary.steps, second.config.unary.steps) == (7, 0)
    changed = override(read_sweep(tmp_path / "mine.json"), ["unary.epochs=3", "joint.steps=5"])
    assert (changed.rows[0].config.unary.epochs, changed.rows[0].config.unary.steps) == (3, 0)
    assert changed.rows[0].config.joint.steps == 5


def test_override():
    sweep = SWEEPS["dpn_windows_scenes"]
    assert override(sweep, ()) is sweep
    changed = override(sweep, ["data.batch-size=3", "weights=a b", "unary.epochs=2"])
    assert [row.name for row in changed.rows] == [row.name for row in sweep.rows]
    for before, row in zip(sweep.rows, changed.rows, strict=True):
        assert (row.config.data.batch_size, row.config.weights) == (3, "a b")
        assert row.config.unary.epochs == 2 and row.config.model == before.config.model
    for setting, message in (
        ("seed", "--override seed: expected FIELD=VALUE"),
        ("sed=1", "--override: expected a field of the configuration, received 'sed'"),
        ("network=FCN", "received 'network'"),
        ("seed=x", "--override.*seed"),
    ):
        with pytest.raises(ValueError, match=message):
            override(sweep, [setting])
