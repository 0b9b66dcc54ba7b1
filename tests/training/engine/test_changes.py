from dataclasses import replace
from pathlib import Path

import pytest

from training.configs.recipes import RECIPES
from training.configs.schema import LossConfig, StageConfig
from training.engine.changes import Change, find_changes

CONFIG = replace(
    RECIPES["dpn/scenes"],
    unary=StageConfig(epochs=4, learning_rate=1e-3),
    triple=StageConfig(epochs=0),
    contexts=StageConfig(epochs=2),
    joint=StageConfig(epochs=6, schedule="constant"),
)
CONTEXTS = replace(CONFIG.model.contexts, mixtures=2)
PIECEWISE = replace(  # its stages 1, 2: surrounding, above; both have the settings "pairwise"
    RECIPES["piecewise/camvid"], pairwise=StageConfig(epochs=2), joint=StageConfig()
)


def changes(config, stage=0, epoch=0, earlier=CONFIG):
    source = Path("w") / "config.json"
    return find_changes(earlier, config, stage=stage, epoch=epoch, source=source)


def test_nothing_changes():
    assert changes(replace(CONFIG), stage=2, epoch=1) == []


def test_rates_schedules_and_epochs_may_change():
    joint = StageConfig(
        epochs=9,
        learning_rate=1e-5,
        layer_rates={"b12|b13": 2.0},
        schedule="step",
        power=1.0,
        step_epochs=3,
        decay=0.9,
        warmup_steps=10,
    )
    config = replace(CONFIG, joint=joint, validation_epochs=3)
    found = {change.field: change for change in changes(config, stage=3, epoch=1)}
    names = [
        f"joint.{name}" for name in vars(joint) if vars(joint)[name] != vars(CONFIG.joint)[name]
    ]
    assert list(found) == ["validation_epochs", *names]
    change = found["joint.learning_rate"]
    assert change.to_json() == {"field": "joint.learning_rate", "from": 1e-4, "to": 1e-5}
    assert str(change) == "joint.learning_rate changes from 0.0001 to 1e-05"
    setters = [field for field, change in found.items() if change.sets_rate_of("joint")]
    assert setters == [name for name in names if name != "joint.epochs"]
    assert not any(change.sets_rate_of("unary") for change in found.values())


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"seed": 3}, "seed"),
        ({"precision": "mixed_bfloat16"}, "precision"),
        ({"weights": "other.h5"}, "weights"),
        (
            {"model": replace(CONFIG.model, width=0.25, contexts=CONTEXTS)},
            "model.width, model.contexts.mixtures",
        ),
        (
            {
                "data": replace(
                    CONFIG.data,
                    batch_size=3,
                    augmentation=replace(CONFIG.data.augmentation, horizontal_flip=False),
                )
            },
            "data.batch_size, data.augmentation.horizontal_flip",
        ),
        (
            {"joint": replace(CONFIG.joint, batch_size=3, accumulate=2, learning_rate=1.0)},
            "joint.batch_size, joint.accumulate",
        ),
        (
            {
                "joint": replace(
                    CONFIG.joint,
                    optimizer="sgd",
                    momentum=0.5,
                    weight_decay=0.0,
                    clip_norm=1.0,
                    ema_momentum=0.9,
                    freeze="b1_.*",
                )
            },
            "joint.optimizer, joint.momentum, joint.weight_decay, joint.clip_norm, "
            "joint.ema_momentum, joint.freeze",
        ),
        (
            {"joint": replace(CONFIG.joint, loss=LossConfig(ohem_fraction=0.5))},
            "joint.loss.ohem_fraction",
        ),
    ],
)
def test_network_data_and_loss_may_not(change, fields):
    with pytest.raises(ValueError, match=f"w/config.json: .* configured otherwise in: {fields}. G"):
        changes(replace(CONFIG, **change))


def test_another_network_may_not():
    with pytest.raises(ValueError, match="otherwise in: network, DPN, not DeepLab"):
        changes(RECIPES["deeplab/camvid"])


def test_a_finished_stage_may_not_change():
    longer = replace(CONFIG, unary=replace(CONFIG.unary, epochs=8))
    assert [c.field for c in changes(longer, stage=0, epoch=4)] == ["unary.epochs"]
    with pytest.raises(
        ValueError, match="past stage unary; expected --unary.epochs unchanged, 4, received 8"
    ):
        changes(longer, stage=1)
    with pytest.raises(
        ValueError, match="past stage triple; expected --triple.epochs unchanged, 0"
    ):
        changes(replace(CONFIG, triple=StageConfig(epochs=1)), stage=2, epoch=1)
    with pytest.raises(ValueError, match="past stage joint; .* --validation-epochs unchanged, 1"):
        changes(replace(CONFIG, validation_epochs=2), stage=4)


def test_a_stage_can_follow_a_finished_run():
    config = replace(CONFIG, finish=StageConfig(epochs=2))
    assert changes(config, stage=4) == [Change("finish.epochs", 0, 2)]


def test_a_stage_that_is_left_out_has_no_changes():
    config = replace(CONFIG, triple=replace(CONFIG.triple, learning_rate=1.0))
    assert changes(config, stage=2) == []


def test_completed_epochs_cannot_be_taken_back():
    def joint(epochs):
        return replace(CONFIG, joint=replace(CONFIG.joint, epochs=epochs))

    assert changes(joint(3), stage=3, epoch=3) == [Change("joint.epochs", 6, 3)]
    assert changes(joint(0), stage=3) == [Change("joint.epochs", 6, 0)]
    with pytest.raises(
        ValueError,
        match="joint has completed 3 epochs; expected --joint.epochs from 3 up.*, received 2",
    ):
        changes(joint(2), stage=3, epoch=3)


def test_stages_with_common_settings_change_while_one_is_to_be_trained():
    config = replace(PIECEWISE, pairwise=replace(PIECEWISE.pairwise, learning_rate=1.0))
    (change,) = changes(config, stage=2, epoch=1, earlier=PIECEWISE)
    assert change.field == "pairwise.learning_rate" and change.sets_rate_of("pairwise")
    with pytest.raises(ValueError, match="past stage above; expected --pairwise.learning-rate"):
        changes(config, stage=3, earlier=PIECEWISE)
