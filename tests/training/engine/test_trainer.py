import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dpn.inference import Predictor
from keras_dpn.layers import Dropout
from keras_dpn.models.staged import StagedModel
from training.configs.networks import NETWORKS, DPNTrainConfig, PiecewiseTrainConfig
from training.configs.schema import (
    Augmentation,
    DataConfig,
    LossConfig,
    Stage,
    StageConfig,
    TrainConfig,
)
from training.configs.serialization import to_json
from training.engine import stage_models, symptoms, trackers
from training.engine import trainer as module
from training.engine.batches import Batches
from training.engine.callbacks import TrainingDiverged
from training.engine.changes import find_changes
from training.engine.networks import ADAPTERS, Adapter, build_model
from training.engine.stage_models import StageModels
from training.engine.trainer import RETRIES, Trainer
from training.evaluation.evaluator import evaluate
from training.rundir import paths as workdir
from training.utils.files import write_json


@keras.saving.register_keras_serializable(package="tests")
class SmallNetwork(StagedModel):
    """What a run needs of a network, in three convolutions and dropout."""

    def __init__(self, num_classes, name="small_network"):
        config = {"num_classes": num_classes, "name": name}
        image = keras.Input((None, None, 3))
        x = keras.layers.Rescaling(1 / 255)(image)
        x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="b1")(x)
        x = Dropout(0.5, name="b1_dropout")(x)
        unary = keras.layers.Conv2D(num_classes, 1, name="b11")(x)
        final = keras.layers.Conv2D(num_classes, 3, padding="same", name="b13")(unary)
        super().__init__(image, {"unary": unary, "final": final}, config)


@dataclass(frozen=True)
class NoArguments:
    """The network has none to set."""

    def summary(self):
        return []


@dataclass(frozen=True)
class SmallConfig(TrainConfig):
    network: ClassVar = "SmallNetwork"
    stages: ClassVar = (
        Stage("unary", head="unary", trainable="b1|b1_dropout|b11"),
        Stage("contexts", head="final", trainable="b13"),
        Stage("joint", head="final", trainable=".*"),
    )

    model: NoArguments = field(default_factory=NoArguments)
    unary: StageConfig = field(default_factory=StageConfig)
    contexts: StageConfig = field(default_factory=StageConfig)
    joint: StageConfig = field(default_factory=StageConfig)


class SmallAdapter(Adapter):
    def build(self, config, num_classes):
        return SmallNetwork(num_classes)


CONFIG = SmallConfig(
    data=DataConfig(batch_size=1, augmentation=Augmentation(crop=(32, 48))),
    unary=StageConfig(epochs=3, learning_rate=3e-3, schedule="constant"),
)


@pytest.fixture
def start(small_scenes, tmp_path, monkeypatch):
    """Make a function that begins a run or goes on with one; three steps are an epoch."""
    monkeypatch.setitem(NETWORKS, "SmallNetwork", SmallConfig)
    monkeypatch.setitem(ADAPTERS, "SmallNetwork", SmallAdapter())
    tf.config.experimental.enable_op_determinism()

    def start(config=CONFIG, name="run"):
        work_dir, classes = tmp_path / name, small_scenes.classes.num_classes
        write_json(work_dir / workdir.CONFIG, to_json(config))
        keras.utils.set_random_seed(0)
        model, counts = build_model(config, classes), 2 * (np.ones(classes, "int64"),)
        strategy = tf.distribute.get_strategy()
        return Trainer(config, model, small_scenes, counts, work_dir, strategy)

    return start


class Faults:
    """NaN in the pictures of some steps: {n: i} for step i of the n-th time that a stage begins.

    It is the only thing that goes wrong then, and it does not come again by itself.
    """

    def __init__(self, monkeypatch, steps):
        self.rates = []  # of each time
        train, build = Batches.train, stage_models.build_optimizer

        def faulty(batches, *args):
            return train(batches, *args).enumerate().map(self._spoil(steps.get(len(self.rates))))

        def build_optimizer(config, *args):
            self.rates.append(config.learning_rate)
            return build(config, *args)

        monkeypatch.setattr(Batches, "train", faulty)
        monkeypatch.setattr(stage_models, "build_optimizer", build_optimizer)

    @staticmethod
    def _spoil(step):
        def spoil(index, batch):
            images, labels = batch
            return (images if step is None else tf.where(index == step, np.nan, images)), labels

        return spoil


def assert_same_weights(ours, theirs):
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


def interrupt(monkeypatch, method, number):
    """Let a method of `Trainer` be interrupted after its n-th call, and never again."""
    original, calls = getattr(Trainer, method), []

    def interrupted(self, *args):
        found = original(self, *args)
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Trainer, method, interrupted)


@pytest.mark.parametrize("config", [DPNTrainConfig(seed=4), PiecewiseTrainConfig(seed=4)])
def test_parts_of_a_stage_begin_as_the_whole_would(small_scenes, tmp_path, config):
    strategy = tf.distribute.get_strategy()
    training = Trainer(config, None, small_scenes, None, tmp_path, strategy)
    stages = {stage.name: stage for stage in config.stages}
    parts = [stage for stage in stages.values() if stage.group_name == "pieces"]
    assert len({training._seed(stage) for stage in parts}) <= 1
    assert len({training._seed(stage) for stage in stages.values()}) == len(stages) - len(parts[1:])
    assert training._seed(stages["unary"]) == 4
    assert not training._starts_trained(stages["joint"])
    training.progress.results = [{"name": "unary"}]
    assert training._starts_trained(stages["joint"])
    assert not any(training._starts_trained(stage) for stage in parts)


@pytest.mark.parametrize(
    ("scores", "best", "message"),
    [
        ([0.7351, 0.6, 0.7204], 0, "from before the stage, val_miou 0.7351; after the last epoch"),
        ([0.5, 0.7351, 0.7204], 1, "from epoch 1, val_miou 0.7351; after the last epoch 0.7204"),
        ([0.5, 0.6, 0.7204], 2, ""),
    ],
)
def test_a_stage_says_whose_weights_it_keeps(
    small_scenes, tmp_path, messages, scores, best, message
):
    strategy = tf.distribute.get_strategy()
    training = Trainer(DPNTrainConfig(), None, small_scenes, None, tmp_path, strategy)
    (stage,) = (stage for stage in training.config.stages if stage.name == "triple")
    training.progress.epoch = 2
    training.progress.history = [{"stage": "unary", "epoch": 3, "val_miou": 0.9}] + [
        {"stage": "triple", "epoch": epoch, "val_miou": score} for epoch, score in enumerate(scores)
    ]
    assert training._best_epoch(stage) == best
    assert messages().startswith(f"stage triple: kept the weights {message}" if message else "")
    assert bool(messages()) == bool(message)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("step", [1, 4], ids=["at_the_start", "after_an_epoch"])
def test_a_fault_that_does_not_come_again_costs_nothing(start, monkeypatch, messages, step):
    undisturbed = start(name="undisturbed")
    expected = undisturbed.fit()
    faults = Faults(monkeypatch, {1: step})
    training = start()
    found = training.fit()
    assert_same_weights(training.model, undisturbed.model)
    assert faults.rates == [3e-3, 3e-3]
    assert [r["confusion"] for r in found] == [r["confusion"] for r in expected]
    history = [row for row in training.progress.history if "recovery" not in row]
    assert history == undisturbed.progress.history
    (recovery,) = training.progress.notes("recovery")
    epoch = step // 3
    origin = "the end of epoch 1" if epoch else "the start of the stage"
    assert recovery == {
        "stage": "unary",
        "epoch": epoch + 1,
        "step": step + 1,
        "loss": "nan",
        "action": f"went back to {origin}",
        "learning_rate_factor": 1.0,
    }
    assert json.loads((training.work_dir / "history.json").read_text()) == training.progress.history
    output = messages()
    assert f"unary: the loss is nan at step {step + 1} with learning rate 0.003; back to" in output
    assert f"back to {origin}, {training.work_dir}/checkpoints/" in output


@pytest.mark.usefixtures("eager")
def test_the_rate_is_halved_from_the_second_time_on(start, monkeypatch):
    faults = Faults(monkeypatch, {1: 4, 2: 1, 3: 4})  # in the epochs 2, 2, 3
    config = replace(CONFIG, contexts=StageConfig(epochs=1, learning_rate=1e-2))
    training = start(config)
    training.fit()
    assert faults.rates == [3e-3, 3e-3, 1.5e-3, 0.75e-3, 1e-2]
    recoveries = training.progress.notes("recovery")
    assert [(r["epoch"], r["learning_rate_factor"]) for r in recoveries] == [
        (2, 1.0),
        (2, 0.5),
        (3, 0.25),
    ]
    rows = [row for row in training.progress.history if "loss" in row]
    trained = [(row["stage"], row["epoch"]) for row in rows]
    assert trained == [("unary", 1), ("unary", 2), ("unary", 3), ("contexts", 1)]
    assert np.isfinite([[row["loss"], row["val_loss"]] for row in rows]).all()
    assert all(np.isfinite(np.asarray(weight)).all() for weight in training.model.weights)


@pytest.mark.usefixtures("eager")
def test_a_run_that_diverges_again_and_again_ends(start, monkeypatch):
    faults = Faults(monkeypatch, {1: 5, **dict.fromkeys(range(2, 9), 0)})
    training = start()
    with pytest.raises(
        TrainingDiverged,
        match=r"stage unary: the loss is nan at step 4 with .* rate 0.000375; the run went back to "
        r"\S*run/checkpoints/000002 4 times, the last time at 0.125 of the learning rate. --resume "
        r"with a lower --unary.learning-rate.",
    ):
        training.fit()
    assert faults.rates == [3e-3, 3e-3, 1.5e-3, 0.75e-3, 0.375e-3]
    factors = [r["learning_rate_factor"] for r in training.progress.notes("recovery")]
    assert factors == [1.0, 0.5, 0.25, 0.125] and len(factors) == RETRIES
    # What is left is the first epoch, and a lower rate begins to count anew.
    checkpoint = training.checkpoints.latest()
    with np.load(checkpoint / "optimizer.npz") as variables:
        assert all(np.isfinite(values).all() for values in variables.values())
    config = replace(CONFIG, unary=replace(CONFIG.unary, learning_rate=1e-4))
    resumed = resume(start, config, CONFIG)
    assert resumed.progress.epoch == 1 and resumed.progress.retries == 0
    assert all(np.isfinite(np.asarray(weight)).all() for weight in resumed.model.weights)
    faults.rates.clear()
    with pytest.raises(TrainingDiverged):
        resumed.fit()
    assert faults.rates == [1e-4, 1e-4, 0.5e-4, 0.25e-4, 0.125e-4]


def resume(start, config, earlier=None):
    """Go on with a run, with a configuration that may have changed."""
    training = start(config)
    state = training.checkpoints.state()
    changes = find_changes(
        earlier or config, config, stage=state["stage"], epoch=state["epoch"], source=Path("w")
    )
    training.resume(changes)
    return training


@pytest.mark.usefixtures("eager")
def test_weights_that_are_not_finite_are_never_kept(start, monkeypatch):
    """The gradient of an epoch's last step alone is NaN: of the loss nobody would know."""
    undisturbed = start(name="undisturbed")
    undisturbed.fit()
    loss, bad = StageModels.loss, []

    @tf.custom_gradient
    def spoil(x):
        return tf.identity(x), lambda gradient: gradient * (np.nan if bad else 1.0)

    class Spoilt(keras.losses.Loss):
        def __init__(self, loss):
            super().__init__()
            self._loss = loss

        def call(self, y_true, y_pred):
            return self._loss(y_true, spoil(y_pred))

    def begin_step(_, batch, logs=None):
        bad[:] = [1] * (batch == 2 and not done)
        done.extend(bad)

    done = []
    monkeypatch.setattr(StageModels, "loss", lambda *args: Spoilt(loss(*args)))
    monkeypatch.setattr(module.StopOnNaN, "on_train_batch_begin", begin_step)
    training = start()
    training.fit()
    (recovery,) = training.progress.notes("recovery")
    assert recovery["step"] == 3 and np.isfinite(recovery["loss"])
    assert recovery["action"] == "went back to the start of the stage"
    assert_same_weights(training.model, undisturbed.model)
    trained = [row for row in training.progress.history if "recovery" not in row]
    assert trained == undisturbed.progress.history


def test_a_stage_does_not_begin_with_weights_that_are_not_finite(start):
    training = start(replace(CONFIG, weights="bad.keras"))
    training.model.get_layer("b11").bias.assign(np.full(11, np.nan))
    with pytest.raises(ValueError, match="values in b11/bias. Give another file than bad.keras"):
        training.fit()
    assert [path.name for path in training.work_dir.iterdir()] == ["config.json"]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("method", "number"), [("_recover", 2), ("_end_epoch", 2)], ids=["at_once", "an_epoch_later"]
)
def test_a_recovered_run_resumes(start, monkeypatch, method, number):
    """At half the rate, and to the same weights as if it had not been stopped."""
    steps = {1: 4, 2: 1}
    with monkeypatch.context() as patch:
        faults = Faults(patch, steps)
        undisturbed = start(name="undisturbed")
        undisturbed.fit()
        assert faults.rates == [3e-3, 3e-3, 1.5e-3]
    faults = Faults(monkeypatch, steps)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, method, number)
        start().fit()
    training = resume(start, CONFIG)
    assert training.progress.retries == 2
    training.fit()
    assert faults.rates[-1] == 1.5e-3
    assert_same_weights(training.model, undisturbed.model)
    assert training.progress.history == undisturbed.progress.history


class Rows:
    """A tracker that keeps what it is sent."""

    sent: ClassVar = []

    def __init__(self, *_):
        self.sent.append([])

    def start(self, run):
        return run or "1"

    def log(self, scores, step):
        self.sent[-1].append((scores, step))


@pytest.mark.usefixtures("eager")
def test_augmentation_smoothing_warnings_and_trackers_resume(start, monkeypatch, messages):
    monkeypatch.setattr(Rows, "sent", [])
    monkeypatch.setitem(trackers.TRACKERS, "rows", Rows)
    monkeypatch.setattr(symptoms, "FLAT_EPOCHS", 2)
    monkeypatch.setattr(symptoms, "FLAT_CHANGE", 0.5)  # with other random numbers in each epoch
    augmentation = Augmentation(crop=(32, 48), rotation=30, blur=1, cutout=0.5)
    stage = replace(CONFIG.unary, learning_rate=1e-9, loss=LossConfig(label_smoothing=0.1))
    config = replace(CONFIG, data=replace(CONFIG.data, augmentation=augmentation), unary=stage)

    def tracked(name="run"):
        training = start(config, name)
        training.trackers = trackers.Trackers(["rows"], training.work_dir, config)
        return training

    undisturbed = tracked("undisturbed")
    undisturbed.fit()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_end_epoch", 2)
        tracked().fit()
    training = tracked()
    training.resume()
    training.fit()
    assert_same_weights(training.model, undisturbed.model)
    assert training.progress.history == undisturbed.progress.history
    [warning] = training.progress.notes("warning")
    assert (warning["stage"], warning["epoch"], warning["symptom"]) == ("unary", 2, "flat")
    assert messages().count("learning rate of 1e-09 may be far too low") == 2  # one in each run
    whole, before, after = Rows.sent
    assert before + after == whole and len(whole) == 3


@pytest.mark.usefixtures("eager")
def test_more_epochs_at_another_rate(start, monkeypatch):
    """A constant rate knows of no end: the first epochs are the same."""
    straight = start(replace(CONFIG, unary=replace(CONFIG.unary, epochs=4)), name="straight")
    straight.fit()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_end_epoch", 2)
        start().fit()
    longer = replace(CONFIG, unary=replace(CONFIG.unary, epochs=4))
    training = resume(start, longer, CONFIG)
    training.fit()
    assert_same_weights(training.model, straight.model)
    trained = [row for row in training.progress.history if "change" not in row]
    assert trained == straight.progress.history
    assert training.progress.notes("change") == [
        {"stage": "unary", "epoch": 2, "field": "unary.epochs", "from": 3, "to": 4}
    ]
    assert training.progress.results[0]["epochs"] == 4
    assert training.progress.results[0]["steps"] == 12


@pytest.mark.usefixtures("eager")
def test_another_rate_and_schedule_go_on_from_the_same_step(start, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_end_epoch", 1)
        start().fit()
    unary = replace(CONFIG.unary, learning_rate=1e-3, schedule="cosine")
    config = replace(CONFIG, unary=unary, contexts=StageConfig(epochs=1, learning_rate=1e-2))
    training = resume(start, config, CONFIG)
    rates = []

    def on_train_batch_end(callback, batch, logs=None):
        rates.append(float(callback.model.optimizer.learning_rate))

    monkeypatch.setattr(module.StopOnNaN, "on_train_batch_end", on_train_batch_end)
    training.fit()
    expected = [1e-3 * (1 + np.cos(np.pi * step / 9)) / 2 for step in range(4, 10)]
    np.testing.assert_allclose(rates[:6], expected, rtol=1e-5, atol=1e-9)
    changed = [(c["stage"], c["epoch"], c["field"]) for c in training.progress.notes("change")]
    fields = ["unary.learning_rate", "unary.schedule", "contexts.epochs", "contexts.learning_rate"]
    assert sorted(changed) == sorted(("unary", 1, field) for field in fields)


@pytest.mark.usefixtures("eager")
def test_a_stage_can_be_ended_where_it_is(start, monkeypatch):
    """Its last epoch is validated then, by its averages, as if it had been planned so."""
    unary = replace(CONFIG.unary, epochs=6, ema_momentum=0.5)
    config = replace(CONFIG, unary=unary, validation_epochs=4)
    short = replace(config, unary=replace(unary, epochs=2))
    planned = start(short, name="planned")
    planned.fit()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_end_epoch", 2)
        start(config).fit()
    training = resume(start, short, config)
    training.fit()
    assert_same_weights(training.model, planned.model)
    (result,) = training.progress.results
    assert (result["epochs"], result["steps"]) == (2, 6)
    rows = [row for row in training.progress.history if "val_miou" in row]
    assert [row["epoch"] for row in rows] == [2]
    assert rows[0].items() <= planned.progress.history[-1].items()


@pytest.mark.usefixtures("eager")
def test_a_stage_that_has_not_begun_can_be_left_out(start, monkeypatch):
    config = replace(CONFIG, contexts=StageConfig(epochs=1))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_finish", 1)
        start(config).fit()
    training = resume(start, CONFIG, config)
    assert [result["name"] for result in training.fit()] == ["unary"]
    assert {row["stage"] for row in training.progress.history} == {"unary"}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_averages_are_what_is_validated_and_kept(start, monkeypatch, accumulate):
    """The weights themselves go on as they would without averages."""
    unary = replace(CONFIG.unary, accumulate=accumulate)
    without = start(replace(CONFIG, unary=unary), name="without")
    raw, kept = [], []
    end_epoch = Trainer._end_epoch

    def keep_raw(training, *args):
        raw.append(training.model.get_weights())
        end_epoch(training, *args)
        for before, after in zip(raw[-1], training.model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_end_epoch", keep_raw)
        without.fit()
        expected, raw = raw, []
        patch.setattr(
            Trainer,
            "_keep_best",
            lambda training, stage, miou: kept.append((miou, training.model.get_weights())),
        )
        patch.setattr(Trainer, "_finish", lambda *_: None)
        training = start(replace(CONFIG, unary=replace(unary, ema_momentum=0.5)))
        training.fit()
    for ours, theirs in zip(raw, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    if accumulate == 3:  # an update an epoch: w1; w1 / 2 + w2 / 2; ...
        average = raw[0]
        for weights, (_, averages) in zip(raw, kept, strict=True):
            average = [(a + w) / 2 for a, w in zip(average, weights, strict=True)]
            for a, b in zip(average, averages, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    for miou, averages in kept:
        training.model.set_weights(averages)
        predictor = Predictor(training.model, heads=("unary",))
        scores = evaluate(predictor, training.dataset, "val").head()
        assert miou == pytest.approx(scores.miou, abs=1e-6)


@pytest.mark.usefixtures("eager")
def test_averages_resume(start, monkeypatch):
    config = replace(CONFIG, unary=replace(CONFIG.unary, ema_momentum=0.9, warmup_steps=5))
    undisturbed = start(config, name="undisturbed")
    undisturbed.fit()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_end_epoch", 1)
        start(config).fit()
    training = resume(start, config)
    training.fit()
    assert_same_weights(training.model, undisturbed.model)
    assert training.progress.history == undisturbed.progress.history


@pytest.mark.usefixtures("eager")
def test_frozen_layers_stay_as_they_are(start):
    joint = StageConfig(epochs=1, learning_rate=1e-3, freeze="b1|b11", ema_momentum=0.5)
    training = start(replace(CONFIG, unary=StageConfig(), joint=joint))
    before = {weight.path: np.array(weight) for weight in training.model.weights}
    training.fit()
    changed = [w.path for w in training.model.weights if not np.array_equal(w, before[w.path])]
    assert changed == ["b13/kernel", "b13/bias"]
    b13 = training.model.get_layer("b13")
    assert training.progress.results[0]["parameters_trained"] == b13.count_params() == 11 * 100


def test_a_stage_needs_something_to_learn(start):
    training = start(replace(CONFIG, unary=replace(CONFIG.unary, freeze=".*")))
    with pytest.raises(ValueError, match=r"unary has nothing to train: .*--unary.freeze .* '\.\*'"):
        training.fit()


@pytest.mark.usefixtures("eager")
def test_a_stage_ends_when_its_patience_does(start, monkeypatch, messages):
    """Also if it is stopped in between; at a rate of 0 no validation is better than the first."""
    monkeypatch.setattr(symptoms, "UNPREDICTED_VALIDATIONS", 2)
    still = StageConfig(
        epochs=9, learning_rate=1e-40, optimizer="sgd", schedule="constant", patience=2
    )
    config = replace(CONFIG, unary=still)
    undisturbed = start(config, name="undisturbed")
    undisturbed.fit()
    assert messages().count("left in this stage") == 2
    assert undisturbed.progress.results[0]["epochs"] == 3
    assert undisturbed.progress.results[0]["steps"] == 9
    assert undisturbed.progress.results[0]["best_epoch"] == 1
    warnings = {w["symptom"]: w["epoch"] for w in undisturbed.progress.notes("warning")}
    assert warnings["unpredicted"] == 3  # not before the end: a rare class may take its time
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, "_end_epoch", 3)
        start(config).fit()
    training = resume(start, config)
    training.fit()
    assert training.progress.history == undisturbed.progress.history
    assert training.progress.results[0]["epochs"] == 3
