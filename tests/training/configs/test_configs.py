import dataclasses
import inspect
import json

import pytest

from keras_dpn.layers import MeanFieldCRF
from keras_dpn.ops.range_boxes import RELATIONS
from tests.keras_dpn.support import without_values
from training.configs.networks import (
    NETWORKS,
    DeepLabTrainConfig,
    DPNTrainConfig,
    PiecewiseTrainConfig,
)
from training.configs.networks.deeplab import CRFConfig, DeepLabConfig
from training.configs.recipes import RECIPES
from training.configs.schema import LossConfig, StageConfig
from training.configs.serialization import from_json, to_json
from training.engine.setup import build_model


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name):
    stored = json.loads(json.dumps(to_json(RECIPES[name])))
    assert from_json(stored) == RECIPES[name]


def test_a_field_that_a_file_lacks_has_its_default():
    """Fields of the losses came later than files of this version."""
    names = [field.name for field in dataclasses.fields(LossConfig)]
    added = set(names[names.index("dice") : names.index("coarse")])
    assert {"dice", "jaccard", "tversky", "focal", "lovasz"} <= added
    values = to_json(RECIPES["scenes"])
    for stage in RECIPES["scenes"].stages:
        loss = values[stage.name]["loss"]
        values[stage.name]["loss"] = {k: v for k, v in loss.items() if k not in added}
    assert from_json(values) == RECIPES["scenes"]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_fit_the_network(name):
    recipe = RECIPES[name]
    recipe.check()
    small = dataclasses.replace(recipe.model, width=0.02)
    config = dataclasses.replace(recipe, model=small)
    model = without_values(lambda: build_model(config, num_classes=3))
    assert type(model) is recipe.network and model.num_classes == 3
    layers = [layer.name for layer in model.layers if layer.weights]
    for stage in recipe.stages:
        if recipe.stage(stage.name).epochs:
            assert stage.output in model.head_names
            assert any(stage.teaches(layer) for layer in layers)


def test_stages_tell_the_layers_that_learn():
    unary, multiscale, joint = DeepLabTrainConfig.stages
    learning = {"b1_conv1", "b9_dropout", "b11", "b12", "msc_image_conv", "crf"}
    found = [{layer for layer in learning if s.teaches(layer)} for s in (unary, multiscale, joint)]
    assert found == [{"b1_conv1", "b9_dropout", "b11"}, {"msc_image_conv"}, learning]


@pytest.mark.parametrize("config", [DPNTrainConfig, DeepLabTrainConfig])
def test_the_unary_stage_teaches_the_global_context(config):
    model = dataclasses.replace(config().model, global_context=True, width=0.02)
    unary = build_model(config(model=model), num_classes=3).head_model("unary")
    layers = [layer.name for layer in unary.layers if layer.weights]
    assert {"b10_norm", "pool6_norm", "b11", "b11_context"} <= set(layers)
    assert all(config.stages[0].teaches(layer) for layer in layers)


def test_voc_recipes_are_the_rows_of_parsenets_table_6():
    rows = {(fusion, norm) for fusion in (None, "early", "late") for norm in (False, True)}
    voc = [recipe for name, recipe in RECIPES.items() if name.startswith("parsenet_")]
    assert {(r.model.fusion, r.model.normalize) for r in voc} == rows and len(voc) == len(rows)
    assert len({(repr(r.data), repr(r.final)) for r in voc}) == 1


def test_parsenets_learning_rate_is_its_own_for_a_mean():
    final = RECIPES["parsenet_late_norm_voc"].final
    assert final.learning_rate == pytest.approx(1e-9 * 500 * 500)  # its sum is over 500x500 pixels
    assert (final.schedule, final.power, final.momentum) == ("poly", 0.9, 0.9)


@pytest.mark.parametrize("config", NETWORKS.values())
def test_the_models_defaults_are_the_networks(config):
    defaults = {k: p.default for k, p in inspect.signature(config.network).parameters.items()}
    for field in dataclasses.fields(config().model):
        if config.network.__name__.endswith("DPN") and field.name == "trunk":
            continue  # CPUs train it
        expected = (1,) if field.name == "grid" else defaults[field.name]  # one of several
        assert field.default == expected, field.name


def test_the_crfs_defaults_are_the_layers():
    defaults = {k: p.default for k, p in inspect.signature(MeanFieldCRF).parameters.items()}
    assert {**dataclasses.asdict(CRFConfig()), "kwargs": inspect.Parameter.empty} == defaults


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "expected a configuration of version 4, found version 99"),
        (
            {"network": "LeNet"},
            "network: expected one of .*'SpatialTemporalDPN'.*, received 'LeNet'",
        ),
        ({"seeds": 3}, "unknown or missing fields: seeds"),
        ({"data": {"augmentation": {}}}, "unknown or missing fields: data.augmentation.crop"),
        ({"seed": "three"}, "seed: expected <class 'int'>, received 'three'"),
        ({"seed": True}, "seed: expected <class 'int'>, received True"),
        ({"precision": "float8"}, "precision: expected .* received 'float8'"),
    ],
)
def test_faulty_files_are_refused(change, message):
    values = to_json(RECIPES["scenes"]) | change
    with pytest.raises(ValueError, match=f"run.json: {message}"):
        from_json(values, "run.json")


@pytest.mark.parametrize(
    ("recipe", "path", "value"),
    [
        ("scenes", "unary.loss.hard_ratio", "half"),
        ("deeplab_camvid_crf", "model.crf.bilateral", [4.0, 121.0]),
        ("deeplab_camvid_crf", "model.crf.trainable_weights_of", ["colours"]),
        ("deeplab_camvid_crf", "model.crf.trainable_weights_of", "weights"),
        ("houses_above", "model.relations", {"above": [-0.5, 0.0, 0.5]}),
        ("houses_above", "model.relations", {"beside": [-0.5, 0.0, 0.5, 0.0]}),
        ("houses_above", "model.relations", ["beside"]),
    ],
)
def test_faulty_nested_fields_are_named(recipe, path, value):
    values = inner = to_json(RECIPES[recipe])
    *groups, field = path.split(".")
    for group in groups:
        inner = inner[group]
    inner[field] = value
    with pytest.raises(ValueError, match=path):
        from_json(values)


COARSE = StageConfig(epochs=1, loss=LossConfig(coarse=True))


def with_loss(**settings):
    return StageConfig(epochs=1, loss=LossConfig(**settings))


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        ("scenes", {"unary": COARSE}, "Stage unary has no coarse map to compare"),
        ("deeplab_camvid_crf", {"joint": COARSE}, "Stage joint has no coarse map to compare"),
        ("deeplab_camvid", {"multiscale": COARSE}, "Stage multiscale needs --model.multiscale"),
        ("deeplab_camvid", {"unary": StageConfig()}, "at least one stage with epochs"),
        ("scenes", {"unary": StageConfig(epochs=1, accumulate=0)}, "--unary.accumulate from 1 up"),
        (
            "scenes",
            {"unary": StageConfig(epochs=1, decay=1.5)},
            r"--unary.decay in \(0, 1\], .* 1.5",
        ),
        (
            "scenes",
            {"joint": with_loss(dice=-0.5)},
            r"Stage joint, --joint.loss: .*`weights`: .* received \[1.0, -0.5\]",
        ),
        (
            "scenes",
            {"unary": with_loss(hard_ratio=2.0)},
            "Stage unary, --unary.loss: .*`hard_ratio`: .* received 2.0",
        ),
        (
            "scenes",
            {"unary": with_loss(tversky=1.0, tversky_alpha=-1.0)},
            "--unary.loss: .*`alpha` and `beta`: .* received -1.0 and 0.7",
        ),
        (
            "scenes",
            {"unary": with_loss(lovasz=1.0, lovasz_stride=0)},
            "--unary.loss: .*`stride`: .* received 0",
        ),
        (
            "scenes",
            {"unary": with_loss(focal=1.0, reduction="sum")},
            "--unary.loss: A sum over the pixels outweighs the means beside it; leave out `reduct",
        ),
        ("houses_above", {"objective": "mean_field"}, "mean_field needs .*: --order together"),
        (
            "houses_above",
            {"pairwise": StageConfig(epochs=1, loss=LossConfig(hard_ratio=0.5))},
            "Stage above has an objective of its own; leave out --pairwise.loss",
        ),
    ],
)
def test_stages_that_cannot_be_trained_are_refused(recipe, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RECIPES[recipe], **change).check()


def test_order_and_potentials_decide_on_the_stages():
    config = RECIPES["piecewise_both_voc"]
    alone = dataclasses.replace(config.model, unary=False, relations=("above",))

    def stages(**change):
        found = dataclasses.replace(config, **change)
        return [s.name for s in found.stages if found.stage(s.name).epochs]

    assert stages() == ["unary", "surrounding", "above"]
    assert stages(order="together", joint=StageConfig(epochs=1)) == ["pieces", "joint"]
    assert stages(model=alone) == ["above"]
    assert config.stage("above") is config.pairwise
    potentials = {s.name for s in PiecewiseTrainConfig.stages if s.whole == "pieces"}
    assert potentials == {"unary", *RELATIONS, "pieces"}


def test_stages_have_their_objectives():
    config = RECIPES["houses_above"]
    model = without_values(lambda: build_model(config, num_classes=3))
    together = dataclasses.replace(config, order="together", objective="pseudo_likelihood")
    found = {}
    for name, settings in {"above": config, "pieces": together, "joint": together}.items():
        (stage,) = (stage for stage in settings.stages if stage.name == name)
        learner = settings.learner(model, stage, ignore_label=7)
        found[name] = (learner.pieces, learner.objective, learner.ignore_label)
    assert found == {
        "above": (("above",), "piecewise", 7),
        "pieces": (("unary", "above"), "pseudo_likelihood", 7),
        "joint": (("unary", "above"), "mean_field", 7),
    }


def test_voc_recipes_are_the_rows_of_the_piecewise_papers_table_1():
    voc = {k: r for k, r in RECIPES.items() if k.startswith("piecewise_")}
    rows = [(r.model.unary, r.model.relations, len(r.model.scales)) for r in voc.values()]
    both = ("surrounding", "above")
    assert rows == [
        (True, (), 1),
        (True, (), 3),
        (False, ("surrounding",), 3),
        (False, ("above",), 3),
        (True, both, 3),
        (True, both, 3),
    ]
    assert [name for name, r in voc.items() if r.model.crf] == ["piecewise_voc"]
    assert len({repr(dataclasses.replace(r, model=None)) for r in voc.values()}) == 1


def test_deeplab_has_coarse_maps_up_to_the_crf():
    model = DeepLabConfig(multiscale=True)
    with_crf = dataclasses.replace(model, crf=CRFConfig())
    outputs = ("unary", "multiscale", "final")
    assert [DeepLabTrainConfig(model=model).coarse_stride(name) for name in outputs] == [8, 8, 8]
    found = [DeepLabTrainConfig(model=with_crf).coarse_stride(name) for name in outputs]
    assert found == [8, 8, None]
