import ast
import dataclasses
import inspect
import itertools
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from keras_dpn import models
from keras_dpn.layers import MeanFieldCRF
from keras_dpn.models.staged import argument_names
from keras_dpn.ops.range_boxes import RELATIONS
from tests.keras_dpn.support import without_values
from training.cli import main
from training.configs import schema
from training.configs.crf import CRFConfig
from training.configs.networks import (
    NETWORKS,
    ContextsConfig,
    DeepLabConfig,
    DeepLabTrainConfig,
    DPNTrainConfig,
    PiecewiseTrainConfig,
    SpatialTemporalDPNTrainConfig,
)
from training.configs.recipes import RECIPES
from training.configs.schema import DataConfig, LossConfig, StageConfig
from training.configs.serialization import from_json, renamed_fields, to_json
from training.engine.checks import check_config
from training.engine.networks import ADAPTERS, adapter, build_model

CONFIGS = Path(schema.__file__).parent
FILES = [CONFIGS / "schema.py", CONFIGS / "crf.py", *sorted((CONFIGS / "networks").glob("*.py"))]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name):
    stored = json.loads(json.dumps(to_json(RECIPES[name])))
    assert from_json(stored) == RECIPES[name]


def test_a_field_that_a_file_lacks_has_its_default():
    """Fields of the losses came later than files of this version."""
    names = [field.name for field in dataclasses.fields(LossConfig)]
    added = set(names[names.index("dice") : names.index("subsampled")])
    assert {"dice", "jaccard", "tversky", "focal", "lovasz"} <= added
    values = to_json(RECIPES["dpn/scenes"])
    for stage in RECIPES["dpn/scenes"].stages:
        loss = values[stage.name]["loss"]
        values[stage.name]["loss"] = {k: v for k, v in loss.items() if k not in added}
    assert from_json(values) == RECIPES["dpn/scenes"]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_fit_the_network(name):
    recipe = RECIPES[name]
    recipe.check()
    small = dataclasses.replace(recipe.model, width=0.02)
    config = dataclasses.replace(recipe, model=small)
    model = without_values(lambda: build_model(config, num_classes=3))
    assert type(model).__name__ == recipe.network and model.num_classes == 3
    layers = [layer.name for layer in model.layers if layer.weights]
    for stage in recipe.stages:
        if recipe.stage(stage.name).epochs:
            assert stage.head in model.head_names
            assert any(stage.is_trainable(layer) for layer in layers)


def test_stages_tell_the_layers_that_learn():
    unary, multiscale, joint = DeepLabTrainConfig.stages
    learning = {"b1_conv1", "b9_dropout", "b11", "b12", "msc_image_conv", "crf"}
    found = [
        {layer for layer in learning if s.is_trainable(layer)} for s in (unary, multiscale, joint)
    ]
    assert found == [{"b1_conv1", "b9_dropout", "b11"}, {"msc_image_conv"}, learning]


@pytest.mark.parametrize("config", [DPNTrainConfig, DeepLabTrainConfig])
def test_the_unary_stage_teaches_the_global_context(config):
    model = dataclasses.replace(config().model, global_context=True, width=0.02)
    unary = build_model(config(model=model), num_classes=3).head_model("unary")
    layers = [layer.name for layer in unary.layers if layer.weights]
    assert {"b10_norm", "pool6_norm", "b11", "b11_context"} <= set(layers)
    assert all(config.stages[0].is_trainable(layer) for layer in layers)


def test_voc_recipes_are_the_rows_of_parsenets_table_6():
    rows = {(fusion, norm) for fusion in (None, "early", "late") for norm in (False, True)}
    voc = [recipe for name, recipe in RECIPES.items() if name.startswith("parsenet/voc")]
    assert {(r.model.fusion, r.model.normalize) for r in voc} == rows and len(voc) == len(rows)
    assert len({(repr(r.data), repr(r.final)) for r in voc}) == 1


def test_parsenets_learning_rate_is_its_own_for_a_mean():
    final = RECIPES["parsenet/voc/late-norm"].final
    assert final.learning_rate == pytest.approx(1e-9 * 500 * 500)  # its sum is over 500x500 pixels
    assert (final.schedule, final.power, final.momentum) == ("poly", 0.9, 0.9)


# What training doesn't set: the data decide, or it is always the default.
NOT_CONFIGURED = {"num_classes", "input_shape", "guide_channels", "name", "output_frames"}


@pytest.mark.parametrize("config", NETWORKS.values())
def test_the_models_fields_are_the_networks_arguments(config):
    """All arguments, and their defaults as far down as the groups go."""
    network = getattr(models, config.network)
    fields = dataclasses.asdict(config().model)
    arguments = set(argument_names(network)) - NOT_CONFIGURED
    # Backbones other than VGG16 are Keras models, which no file of settings has.
    assert fields.keys() | {"backbone"} == arguments | {"backbone"}
    model = without_values(lambda: network(num_classes=3, width=0.02))
    defaults = json.loads(json.dumps(model.get_config())) | {"width": 1.0}
    defaults |= {"grid": [defaults["grid"]]} if "grid" in defaults else {}  # one of several
    if isinstance(defaults.get("backbone"), dict):
        del defaults["backbone"]["model"], defaults["backbone"]["preprocessing"]
    assert json.loads(json.dumps(fields)) == {name: defaults[name] for name in fields}


def test_the_crfs_fields_are_the_layers_arguments():
    defaults = {k: p.default for k, p in inspect.signature(MeanFieldCRF).parameters.items()}
    assert {**dataclasses.asdict(CRFConfig()), "kwargs": inspect.Parameter.empty} == defaults


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "expected a configuration of version 5, received version 99"),
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
    values = to_json(RECIPES["dpn/scenes"]) | change
    with pytest.raises(ValueError, match=f"run.json: {message}"):
        from_json(values, "run.json")


@pytest.mark.parametrize(
    ("recipe", "path", "value"),
    [
        ("dpn/scenes", "unary.loss.ohem_fraction", "half"),
        ("deeplab/camvid/crf", "model.crf.bilateral", [4.0, 121.0]),
        ("deeplab/camvid/crf", "model.crf.trainable_weights_of", ["colours"]),
        ("deeplab/camvid/crf", "model.crf.trainable_weights_of", "weights"),
        ("piecewise/houses/above", "model.relations", {"above": [-0.5, 0.0, 0.5]}),
        ("piecewise/houses/above", "model.relations", {"beside": [-0.5, 0.0, 0.5, 0.0]}),
        ("piecewise/houses/above", "model.relations", ["beside"]),
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


SUBSAMPLED = StageConfig(epochs=1, loss=LossConfig(subsampled=True))


def with_loss(**settings):
    return StageConfig(epochs=1, loss=LossConfig(**settings))


def with_kernel(kernel):
    model = RECIPES["dpn/scenes"].model
    return dataclasses.replace(
        model, local_conv=dataclasses.replace(model.local_conv, kernel=kernel)
    )


def resized(size, crop):
    return schema.DataConfig(resize=size, augmentation=schema.Augmentation(crop=crop))


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        ("dpn/scenes", {"unary": SUBSAMPLED}, "Stage unary has no coarser grid to compare"),
        (
            "deeplab/camvid/crf",
            {"joint": SUBSAMPLED},
            "Stage joint has no coarser grid to compare",
        ),
        ("deeplab/camvid", {"multiscale": SUBSAMPLED}, "Stage multiscale needs --model.multiscale"),
        ("deeplab/camvid", {"unary": StageConfig()}, "at least one stage with epochs"),
        (
            "dpn/scenes",
            {"unary": StageConfig(epochs=1, accumulate=0)},
            "--unary.accumulate from 1 up",
        ),
        (
            "dpn/scenes",
            {"unary": StageConfig(epochs=1, decay=1.5)},
            r"--unary.decay in \(0, 1\], .* 1.5",
        ),
        *(
            ("dpn/scenes", {"unary": StageConfig(**{"epochs": 1} | settings)}, f"--unary.{message}")
            for settings, message in (
                ({"epochs": -1}, "epochs from 0 up, received -1"),
                ({"batch_size": 0}, "batch-size from 1 up, received 0"),
                ({"step_epochs": 0}, "step-epochs from 1 up, received 0"),
                ({"learning_rate": float("nan")}, "learning-rate from 0 up, received nan"),
                ({"weight_decay": -0.1}, "weight-decay from 0 up, received -0.1"),
                ({"momentum": float("inf")}, "momentum from 0 up, received inf"),
                ({"clip_norm": 0.0}, "clip-norm above 0, received 0.0"),
                ({"layer_rates": {"a(": 1.0}}, "layer-rates with regular expressions"),
                ({"layer_rates": {"a": -1.0}}, "layer-rates with factors from 0 up"),
                ({"freeze": "*"}, "freeze with regular expressions, received '.'"),
            )
        ),
        *(
            ("dpn/scenes", {"data": DataConfig(batch_size=size)}, "--data.batch-size from 1 up")
            for size in (0, -4)
        ),
        ("dpn/scenes", {"seed": -1}, "Expected --seed from 0 up, received -1"),
        ("dpn/scenes", {"validation_epochs": 0}, "--validation-epochs from 1 up, received 0"),
        (
            "dpn/scenes",
            {"joint": with_loss(dice=-0.5)},
            r"Stage joint, --joint.loss: .*`weights`: .* received \[1.0, -0.5\]",
        ),
        (
            "dpn/scenes",
            {"unary": with_loss(ohem_fraction=2.0)},
            "Stage unary, --unary.loss: .*`ohem_fraction`: .* received 2.0",
        ),
        (
            "dpn/scenes",
            {"unary": with_loss(tversky=1.0, tversky_alpha=-1.0)},
            "--unary.loss: .*`alpha` and `beta`: .* received -1.0 and 0.7",
        ),
        (
            "dpn/scenes",
            {"unary": with_loss(lovasz=1.0, lovasz_stride=0)},
            "--unary.loss: .*`stride`: .* received 0",
        ),
        (
            "dpn/scenes",
            {"unary": with_loss(focal=1.0, reduction="sum")},
            "--unary.loss: A sum over the pixels outweighs the other losses, which are means;",
        ),
        (
            "piecewise/houses/above",
            {"objective": "mean_field"},
            "mean_field needs .*: --order together",
        ),
        ("piecewise/houses/above", {"warm_start": True, "order": "together"}, "--order apart"),
        (
            "dpn/scenes",
            {"model": with_kernel("learned")},
            "needs images of one size: --data.resize",
        ),
        ("dpn/scenes", {"data": resized((8, 9), (8, 8))}, "--data.resize 8 9: .* received 8 8"),
        ("dpn-video/moving-scenes", {"data": resized((8, 8), (8, 8))}, "frames of any size only"),
        ("piecewise/houses/above", {"warm_start": True, "unary": StageConfig()}, "trained first"),
        (
            "piecewise/houses/above",
            {"pairwise": StageConfig(epochs=1, loss=LossConfig(ohem_fraction=0.5))},
            "Stage above has its own objective; leave out --pairwise.loss",
        ),
    ],
)
def test_stages_that_cannot_be_trained_are_refused(recipe, change, message):
    with pytest.raises(ValueError, match=message):
        check_config(dataclasses.replace(RECIPES[recipe], **change))


def test_order_and_potentials_decide_on_the_stages():
    config = RECIPES["piecewise/voc/both"]
    alone = dataclasses.replace(config.model, unary=False, relations=("above",))

    def stages(**change):
        found = dataclasses.replace(config, **change)
        return [s.name for s in found.stages if found.stage(s.name).epochs]

    assert stages() == ["unary", "surrounding", "above"]
    assert stages(order="together", joint=StageConfig(epochs=1)) == ["pieces", "joint"]
    assert stages(model=alone) == ["above"]
    assert config.stage("above") is config.pairwise
    potentials = {s.name for s in PiecewiseTrainConfig.stages if s.group_name == "pieces"}
    assert potentials == {"unary", *RELATIONS, "pieces"}


def test_stages_have_their_objectives():
    config = RECIPES["piecewise/houses/above"]
    model = without_values(lambda: build_model(config, num_classes=3))
    together = dataclasses.replace(config, order="together", objective="pseudo_likelihood")
    found = {}
    for name, settings in {"above": config, "pieces": together, "joint": together}.items():
        (stage,) = (stage for stage in settings.stages if stage.name == name)
        learner = adapter(settings).learner(settings, model, stage, ignore_label=7)
        found[name] = (learner.potentials, learner.objective, learner.ignore_label)
    assert found == {
        "above": (("above",), "piecewise", 7),
        "pieces": (("unary", "above"), "pseudo_likelihood", 7),
        "joint": (("unary", "above"), "mean_field", 7),
    }


def test_learned_filters_have_images_of_one_size():
    data = resized((24, 32), (24, 32))
    config = dataclasses.replace(RECIPES["dpn/scenes"], model=with_kernel("learned"), data=data)
    check_config(config)
    model = without_values(lambda: build_model(config, num_classes=11))
    stride, window = config.model.pairwise_stride, config.model.local_conv.window
    expected = (24 // stride, 32 // stride, window**2)
    assert model.input_shape == (None, 24, 32, 3)
    assert tuple(model.get_layer("b12").filters.shape) == expected


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_relation_can_start_from_the_unary_features(warm_start):
    config = dataclasses.replace(RECIPES["piecewise/houses/above"], warm_start=warm_start)
    started = []
    model = types.SimpleNamespace(relations=("above",), start_relations_from_unary=started.append)
    for stage in config.stages:
        adapter(config).enter(config, model, stage)
    assert started == [("above",)] * warm_start


def test_voc_recipes_are_the_rows_of_the_piecewise_papers_table_1():
    voc = {k: r for k, r in RECIPES.items() if k.startswith("piecewise/voc")}
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
    assert [name for name, r in voc.items() if r.model.crf] == ["piecewise/voc"]
    assert len({repr(dataclasses.replace(r, model=None)) for r in voc.values()}) == 1


def test_deeplab_has_grids_of_its_own_up_to_the_crf():
    model = DeepLabConfig(multiscale=True)
    with_crf = dataclasses.replace(model, crf=CRFConfig())

    def strides(model):
        config = DeepLabTrainConfig(model=model)
        heads = ("unary", "multiscale", "final")
        return [adapter(config).loss_stride(config, head) for head in heads]

    assert strides(model) == [8, 8, 8] and strides(with_crf) == [8, 8, None]


def test_each_network_has_an_adapter():
    assert ADAPTERS.keys() == NETWORKS.keys()


# === Version 4 ===


def test_groups_that_a_file_lacks_have_the_networks_defaults():
    values = to_json(SpatialTemporalDPNTrainConfig())
    values["model"]["contexts"] = {"mixtures": 3}
    assert from_json(values).model.contexts == ContextsConfig(window=7, mixtures=3)


def flat(values):
    """A configuration of version 4: the fields under their old names."""
    values = json.loads(json.dumps(values)) | {"version": 4}
    old = {new: old for old, new in renamed_fields(NETWORKS[values["network"]]).items()}
    return unflattened({old.get(name, name): value for name, value in flattened(values)})


def flattened(values, path=""):
    for key, value in values.items():
        if isinstance(value, dict) and key not in ("layer_rates", "relations", "crf"):
            yield from flattened(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def unflattened(values):
    nested = {}
    for name, value in values.items():
        *groups, key = name.split(".")
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[key] = value
    return nested


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_version_4_are_upgraded(name):
    values = flat(to_json(RECIPES[name]))
    before = json.dumps(values)
    assert "horizontal_flip" not in before and "ohem_fraction" not in before
    assert from_json(values) == RECIPES[name]
    assert json.dumps(values) == before


def test_defaults_of_version_4_stay():
    """What files of that version might lack had defaults that are others today."""
    values = flat(to_json(SpatialTemporalDPNTrainConfig()))
    for name in ("trunk", "context_window"):
        del values["model"][name]
    config = from_json(values)
    assert (config.model.backbone.name, config.model.contexts.window) == ("large_fov", 7)


def test_earlier_versions_are_refused():
    with pytest.raises(ValueError, match="of version 5, received version 3; write it again with"):
        from_json(to_json(RECIPES["dpn/scenes"]) | {"version": 3})


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": ["DPN"]}, r"network: expected one of .* received \['DPN'\]"),
        ({"network": {}}, "network: expected one of .* received {}"),
        ({"network": None}, "network: expected one of .* received None"),
        ({"data": []}, "unknown or missing fields"),
        ({"data": nested(900)}, ""),
        ({"data": nested(5000)}, ""),
        ({"model": 3}, "unknown or missing fields"),
        ({"model": [1]}, "unknown or missing fields"),
        ({"unary": {"learning_rate": float("nan")}}, "unary.learning_rate: expected .*float"),
        ({"unary": {"learning_rate": float("inf")}}, "unary.learning_rate: expected .*float"),
        ({"unary": {"learning_rate": 10**400}}, "unary.learning_rate: expected .*float"),
        ({"unary": {"epochs": 1.5}}, "unary.epochs: expected .*int"),
        ({"unary": {"epochs": True}}, "unary.epochs: expected .*int"),
        ({"unary": {"layer_rates": [1]}}, "unary.layer_rates: expected"),
        ({"unary": {"freeze": "x" * 10**6, "seed": 1}}, "unknown or missing fields: unary.seed"),
        ({"seed": "x" * 10**6}, "seed: expected .*int"),
    ],
)
def test_values_of_any_type_are_one_line(change, message, version):
    values = to_json(RECIPES["dpn/scenes"])
    values = (flat(values) if version == 4 else values) | change
    with pytest.raises(ValueError, match=f"^config.json: .*{message}") as error:
        from_json(values)
    assert len(str(error.value)) < 1000 and "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["[" * 200_000, "{", "\ufeff{}", "[1]", "3", "null", ""])
def test_a_file_that_is_no_configuration_is_a_mistake(content, tmp_path, capsys):
    (path := tmp_path / "config.json").write_text(content, encoding="utf-8")
    assert main(["train", str(path), "--work-dir", str(tmp_path / "run")]) == 2
    assert re.fullmatch(rf"error: {re.escape(str(path))}: expected .*\n", capsys.readouterr().err)


# === Summaries ===


@pytest.mark.parametrize(
    ("recipe", "change", "parts"),
    [
        (
            "dpn/voc",
            {},
            ["vgg16 backbone, width 1.0", "triple penalty 50×50", "label contexts 9×9, 5 mixtures"],
        ),
        ("dpn/voc", {"pairwise": None}, ["vgg16 backbone, width 1.0"]),
        (
            "dpn-video/camvid",
            {"global_context": True, "pairwise": "triple"},
            [
                "large_fov backbone, width 1.0",
                "3 frames, linked along the optical flow",
                "global context",
                "triple penalty 3×13×13",
            ],
        ),
        (
            "deeplab/camvid/crf",
            {"multiscale": True},
            ["largefov, width 1.0", "multi-scale branches", "CRF, 5 iterations"],
        ),
        (
            "parsenet/voc/early",
            {"grid": (1, 2), "combine": "conv"},
            [
                "width 1.0",
                "early fusion of context, 1×1 and 2×2",
                "fused by a 1×1 convolution",
                "not normalised",
            ],
        ),
        ("fcn/sift-flow", {}, ["pool6 + fc7 + conv5 + conv4, width 1.0", "normalised to 10"]),
        (
            "piecewise/voc",
            {},
            [
                "unary + “surrounding” + “above”, width 1.0",
                "scales 1.2, 0.8, 0.4",
                "mean field, 2 iterations",
                "CRF, 10 iterations",
            ],
        ),
    ],
)
def test_summaries(recipe, change, parts):
    config = RECIPES[recipe]
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, **change))
    assert config.summary() == [*parts, config.precision]


# === Light modules ===

HEAVY = {"tensorflow", "keras", "cv2", "matplotlib", "numpy", "keras_dpn"}


@pytest.mark.parametrize(
    "module", ["configs.recipes", "configs.serialization", "configs.crf", "sweeps.definitions"]
)
def test_configurations_are_light(module):
    code = f"import sys, training.{module}; print(*{HEAVY} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


# === Help ===


def undocumented(path):
    """The fields of a file's configurations that no docstring follows: `train --help` shows it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.ClassDef) and re.search("Config$|^Augmentation$", node.name)):
            continue
        for item, after in itertools.pairwise([*node.body, ast.Pass()]):
            is_field = isinstance(item, ast.AnnAssign)
            has_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if is_field and not has_text and "ClassVar" not in ast.unparse(item.annotation):
                yield f"{node.name}.{item.target.id}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_field_has_its_help(path):
    assert list(undocumented(path)) == []
