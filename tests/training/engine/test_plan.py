import dataclasses

import keras
import pytest

from training.cli.train import _with_given_epochs, with_length
from training.configs.networks import DPNTrainConfig
from training.configs.recipes import RECIPES
from training.configs.schema import Augmentation, DataConfig, StageConfig
from training.engine import plan
from training.engine.batches import Batches


class Split:
    """A dataset of which only the length of its splits matters."""

    name = "numbers"

    def __init__(self, count):
        self._examples = ("example",) * count

    def examples(self, split):
        return self._examples


def lengths(config):
    return [config.stage(stage.name).epochs for stage in config.stages]


def total_steps(config, dataset):
    batches = Batches(config, dataset)
    stages = [config.stage(stage.name) for stage in config.stages]
    return [batches.steps_per_epoch(stage) * stage.epochs for stage in stages]


def test_a_small_folder_gets_as_many_updates_as_camvid():
    """20 images, 5 steps a pass: passes make epochs of 50 steps, each of which is saved."""
    config = plan.resolve_steps(RECIPES["dpn/folder"], Split(20))
    assert config.data.passes_per_epoch == 10
    assert total_steps(config, Split(20)) == [2000, 100, 300, 400, 0]
    assert not any(config.stage(stage.name).steps for stage in config.stages)
    assert plan.resolve_steps(config, Split(20)) is config, "as a run resumed from its config.json"


def test_a_large_folder_is_passed_over_whole():
    config = plan.resolve_steps(RECIPES["dpn/folder"], Split(40_000))
    assert config.data.passes_per_epoch == 1
    assert lengths(config) == [4, 1, 1, 1, 0]


def test_epochs_count_passes_and_steps_count_updates():
    data = DataConfig(batch_size=1)
    unary = StageConfig(epochs=30, steps=3, accumulate=2)
    config = plan.resolve_steps(DPNTrainConfig(data=data, unary=unary), Split(11))
    assert config.data.passes_per_epoch == 5  # of 10 steps, which make 5 updates
    assert config.unary.epochs == 6  # 30 passes, 150 updates
    more = dataclasses.replace(unary, epochs=0, steps=200)
    config = plan.resolve_steps(DPNTrainConfig(data=data, unary=more), Split(11))
    assert config.unary.epochs == 8  # 400 steps


def test_lengths_on_the_command_line():
    recipe = RECIPES["dpn/folder"]
    assert with_length(recipe, None, None) is recipe
    epochs = with_length(recipe, 3, None)
    assert lengths(epochs) == [3, 3, 3, 3, 0] and not epochs.unary.steps
    steps = plan.resolve_steps(with_length(recipe, None, 60), Split(20))
    assert total_steps(steps, Split(20)) == [100, 100, 100, 100, 0]
    both = plan.resolve_steps(with_length(recipe, 7, 60), Split(20))
    assert total_steps(both, Split(20)) == [100, 100, 100, 100, 0]
    given = _with_given_epochs(recipe, ["--unary.epochs", "3", "--joint.epochs=0", "--seed", "1"])
    assert (given.unary.steps, given.joint.steps) == (0, 0)
    assert given.triple.steps == recipe.triple.steps
    thirty = dataclasses.replace(given, unary=dataclasses.replace(given.unary, epochs=30))
    resolved = plan.resolve_steps(thirty, Split(20))
    assert (resolved.data.passes_per_epoch, resolved.unary.epochs) == (10, 3), "30 passes"
    for wrong in ((0, None), (None, -1), (0, 0)):
        with pytest.raises(ValueError, match="--epochs or --steps from 1 up"):
            with_length(recipe, *wrong)


def test_the_length_of_a_stage_comes_before_that_of_all():
    """`--epochs 5 --joint.epochs 1 --triple.steps 200`."""
    recipe = RECIPES["dpn/folder"]
    joint = dataclasses.replace(recipe.joint, epochs=1, steps=0)
    config = with_length(dataclasses.replace(recipe, joint=joint), 5, None, {"joint", "triple"})
    assert (config.unary.epochs, config.joint.epochs) == (5, 1)
    assert config.triple == recipe.triple


def test_epochs_of_a_resumed_run_are_those_of_its_log():
    recipe, data = RECIPES["dpn/folder"], Split(20)
    first = plan.resolve_steps(recipe, data)
    assert (first.data.passes_per_epoch, first.unary.epochs) == (10, 40)
    assert plan.resolve_steps(recipe, data, first) == first, "the same command"
    assert plan.resolve_steps(first, data, first) is first, "its config.json"
    given = dataclasses.replace(recipe, unary=dataclasses.replace(recipe.unary, epochs=30, steps=0))
    resumed = plan.resolve_steps(given, data, first)
    assert resumed.unary.epochs == 30
    assert resumed == dataclasses.replace(first, unary=resumed.unary)
    every = plan.resolve_steps(with_length(recipe, 50, None), data, first)
    assert every.data == first.data and lengths(every) == [50, 50, 50, 50, 0]
    more = plan.resolve_steps(recipe, Split(24), first)
    assert more.data == first.data, "also with more images"
    passes = plan.resolve_steps(given, data)
    assert passes.unary.epochs == 3
    assert plan.resolve_steps(given, data, passes) == passes, "the same command, of 30 passes"


def test_a_stage_that_is_left_out_stays_so():
    recipe = RECIPES["dpn/scenes"]
    without = dataclasses.replace(recipe, joint=dataclasses.replace(recipe.joint, epochs=0))
    assert with_length(without, 2, None).joint.epochs == 0


def network(**weights):
    """One layer after the other, with these numbers of weights."""
    layers = [
        keras.layers.Conv2D(1, (1, count), use_bias=False, padding="same", name=name)
        if count
        else keras.layers.ReLU(name=name)
        for name, count in weights.items()
    ]
    return keras.Sequential([keras.Input((None, None, 1)), *layers])


def test_the_plan_names_steps_and_time(monkeypatch):
    data = DataConfig(batch_size=2, augmentation=Augmentation(crop=(8, 12)))
    stages = {"unary": StageConfig(epochs=20), "triple": StageConfig(epochs=5)}
    config = DPNTrainConfig(data=data, **stages)
    batches = Batches(config, Split(8))
    model = None  # a short plan doesn't measure it
    short = plan.describe_plan(config, batches, model, 1, first=0, done=1)
    assert short == "plan: unary 19 epochs, 76 steps; triple 5 epochs, 20 steps"
    monkeypatch.setattr(plan, "_forward_seconds", lambda *_: 2.0)
    model = network(b1_conv1=20, b9=60, b12=0)
    text = plan.describe_plan(config, batches, model, 1, first=0, done=0)
    assert text.endswith("; about 9 min, without validation")  # 80 steps of 6 s, 20 of 2 s
    frozen = dataclasses.replace(config, unary=StageConfig(epochs=20, freeze="b1_.*"))
    text = plan.describe_plan(frozen, batches, model, 1, first=0, done=0)
    assert text.endswith("; about 7 min, without validation")  # 80 steps of 5 s, 20 of 2 s
    text = plan.describe_plan(config, batches, model, 1, first=1, done=5)
    assert text == "plan: nothing left"


def test_the_speed_is_that_of_training_images():
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            seen.append(tuple(x.shape))
            return x

    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, Spy()(inputs))
    seen.clear()
    crop = Augmentation(crop=(8, 12))
    config = DPNTrainConfig(data=DataConfig(augmentation=crop))
    assert plan._forward_seconds(model, config, 3) > 0
    assert seen == [(3, 8, 12, 3)] * 2


def test_durations():
    assert plan.duration(4) == "1 min" and plan.duration(4000) == "1 h 7 min"
