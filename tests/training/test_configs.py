import dataclasses

import pytest

from training.configs import RECIPES, from_json, to_json
from training.configs.base import STAGES, ModelConfig
from training.train import build_model


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name):
    assert from_json(to_json(RECIPES[name])) == RECIPES[name]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_fit_the_network(name):
    small = dataclasses.replace(RECIPES[name].model, width=0.02)
    model = build_model(dataclasses.replace(RECIPES[name], model=small), num_classes=3)
    assert model.stage_names[0] == "unary"
    assert any(RECIPES[name].stage(stage).epochs for stage in STAGES)


def test_model_config_has_the_defaults_of_the_network():
    import inspect

    from keras_dpn.models import DPN

    defaults = {k: p.default for k, p in inspect.signature(DPN.__init__).parameters.items()}
    for field in dataclasses.fields(ModelConfig):
        if field.name != "trunk":  # the recipes' trunk is the one that a CPU can train
            assert field.default == defaults[field.name], field.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "expected a configuration of version 1, found version 99"),
        ({"seeds": 3}, "unknown or missing fields: seeds"),
        ({"seed": "three"}, "seed: expected <class 'int'>, received 'three'"),
        ({"seed": True}, "seed: expected <class 'int'>, received True"),
        ({"precision": "float8"}, "precision: expected .* received 'float8'"),
    ],
)
def test_faulty_files_are_refused(change, message):
    values = to_json(RECIPES["scenes"]) | change
    with pytest.raises(ValueError, match=f"run.json: {message}"):
        from_json(values, "run.json")


def test_faulty_nested_fields_are_named():
    values = to_json(RECIPES["scenes"])
    values["unary"]["loss"]["hard_ratio"] = "half"
    with pytest.raises(ValueError, match="unary.loss.hard_ratio"):
        from_json(values)
