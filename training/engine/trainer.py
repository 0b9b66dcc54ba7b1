"""Training in stages: each from the best weights of the one before."""

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dpn.inference import Predictor
from keras_dpn.metrics import SegmentationScores

from ..configs.schema import Stage, StageConfig, TrainConfig
from ..data.dataset import Dataset
from ..data.pipeline.batches import eval_dataset, steps_per_epoch, train_dataset
from ..data.statistics import median_frequency_weights
from ..evaluation.evaluator import evaluate
from ..rundir import paths as workdir
from ..rundir.models import load_model
from ..utils.files import atomic_file, write_json
from .callbacks import Epochs, StopOnNaN, TrainingDiverged, ValidateAverages, first_not_finite
from .changes import Change
from .checkpoints import Checkpoints
from .optimizers import averaged_weights, build_optimizer, forget_steps

RETRIES = 4  # of a stage whose loss becomes NaN: at the same rate, then at 1/2, 1/4 and 1/8 of it


@dataclass
class Progress:
    """How far a run has come: what a checkpoint stores beside the weights."""

    stage: int = 0
    epoch: int = 0
    """Completed epochs of the stage."""
    best_miou: float | None = None
    """Of the stage's epochs; None before the stage begins."""
    retries: int = 0
    """Times that the stage went back to its last checkpoint since its learning rate was set."""
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rate_factor(self) -> float:
        """What the stage's learning rate is multiplied by."""
        return 0.5 ** max(0, self.retries - 1)

    def notes(self, kind: str) -> list[dict[str, Any]]:
        """The history's entries of a kind, "recovery" or "change", each with stage and epoch."""
        noted = [row for row in self.history if kind in row]
        return [{"stage": row["stage"], "epoch": row["epoch"], **row[kind]} for row in noted]


class StagedTraining:
    """Train a network stage after stage, each from the best weights of the one before.

    Where the loss becomes NaN or infinite, the stage goes back to its last checkpoint, at most
    `RETRIES` times: first at the same learning rate, as the fault may not come again, then at half
    the rate each time. A retried epoch sees the same batches and the same random numbers.

    Args:
        config: the run's configuration.
        model: the config's network, its weights as they are to begin with.
        dataset: training and validation pictures.
        pixel_counts: of the training split, for class weights; see `pixel_counts`.
        work_dir: where everything is written.
        strategy: the devices; `model` was built in its scope.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: keras.Model,
        dataset: Dataset,
        pixel_counts: tuple[np.ndarray, np.ndarray],
        work_dir: Path,
        strategy: tf.distribute.Strategy,
    ):
        self.config = config
        self.model = model
        self.dataset = dataset
        self.pixel_counts = pixel_counts
        self.work_dir = work_dir
        self.strategy = strategy
        self.checkpoints = Checkpoints(work_dir / workdir.CHECKPOINTS)
        self.progress = Progress()

    def resume(self, changes: Sequence[Change] = ()) -> None:
        """Go back to the last finished epoch, if there is one.

        Args:
            changes: of the configuration, as `changes.find_changes` returns them. They are noted,
                and a stage whose learning rate changes begins to count its retries anew.
        """
        state = self.checkpoints.state()
        if state is None:
            return
        self.progress = Progress(**state)
        self.checkpoints.restore_model(self.model)
        if not changes:
            return
        trained = [s for s in self.config.stages if self._is_trained(s)]
        ahead = [s for s in trained if s in self.config.stages[self.progress.stage :]]
        stage = (ahead or trained[-1:])[0]
        if any(change.sets_rate_of(self.config.section(stage.name)) for change in changes):
            self.progress.retries = 0
        for change in changes:
            print(f"stage {stage.name}, epoch {self.progress.epoch}: {change}", flush=True)
            self._note(stage, self.progress.epoch, {"change": change.to_json()})
        self.checkpoints.replace_state(vars(self.progress))

    def run(self) -> list[dict[str, Any]]:
        """Train all stages that are still to do; return each stage's results."""
        for index, stage in enumerate(self.config.stages):
            if index < self.progress.stage or not self._is_trained(stage):
                continue
            if index > self.progress.stage or self.progress.best_miou is None:
                self._enter(index, stage)
            self._fit(stage)
            self._finish(index, stage)
        return self.progress.results

    def _is_trained(self, stage: Stage) -> bool:
        return self.config.stage(stage.name).epochs > 0

    def _enter(self, index: int, stage: Stage) -> None:
        """Begin a stage; weights that come from an earlier one are the first to beat."""
        if odd := first_not_finite(self.model.weights):
            raise ValueError(
                f"Stage {stage.name}: expected finite weights to begin with, received NaN or "
                f"infinite values in {odd}. Give another file than {self.config.weights} as "
                "--weights."
            )
        self.progress.stage, self.progress.epoch = index, 0
        self.progress.best_miou, self.progress.seconds = -1.0, 0.0
        self.progress.retries = 0
        if self._has_learnt(stage):
            before = self._evaluate(stage)
            self._note(stage, 0, {"val_miou": before["miou"]})
            self._keep_best(stage, before["miou"])
        self._save(optimizer=None)

    def _has_learnt(self, stage: Stage) -> bool:
        """Whether a stage goes on from weights that have learnt, elsewhere or in other stages."""
        done = {result["name"] for result in self.progress.results}
        earlier = {other.whole for other in self.config.stages if other.name in done}
        return bool(self.config.weights or earlier - {stage.whole})

    def _seed(self, stage: Stage) -> int:
        """The seed of the pictures: a stage's own, or the same for all parts of one."""
        return self.config.seed + [other.whole for other in self.config.stages].index(stage.whole)

    def _fit(self, stage: Stage) -> None:
        """Train the stage's epochs that are still to do, again where they diverge."""
        epochs = self.config.stage(stage.name).epochs
        while self.progress.epoch < epochs:
            try:
                self._train(stage)
            except TrainingDiverged as fault:
                self._recover(stage, fault)
        last = (stage.name, self.progress.epoch)
        rows = [row for row in self.progress.history if (row["stage"], row["epoch"]) == last]
        if not any("val_miou" in row for row in rows):  # a resumed run has ended the stage early
            self._validate(stage)

    def _train(self, stage: Stage) -> None:
        config, first = self.config.stage(stage.name), self.progress.epoch
        model = self._ready(stage)
        model.fit(
            self._train_batches(config, self._seed(stage), first),
            epochs=config.epochs,
            initial_epoch=first,
            steps_per_epoch=self._steps_per_epoch(config),
            validation_data=self._val_batches(config),
            validation_freq=[
                epoch
                for epoch in range(1, config.epochs + 1)
                if epoch % self.config.validation_epochs == 0 or epoch == config.epochs
            ],
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[
                StopOnNaN(stage.name),
                ValidateAverages(),
                keras.callbacks.LambdaCallback(
                    on_epoch_begin=lambda *_: forget_steps(model.optimizer)
                ),
                keras.callbacks.TensorBoard(self.work_dir / workdir.LOGS / stage.name),
                Epochs(stage.name, first, lambda *args: self._end_epoch(stage, model, *args)),
            ],
        )

    def _recover(self, stage: Stage, fault: TrainingDiverged) -> None:
        """Go back to the stage's last checkpoint; raise where that has been tried too often."""
        path = self.checkpoints.latest()
        if self.progress.retries == RETRIES:
            option = f"--{self.config.section(stage.name)}.learning-rate"
            raise TrainingDiverged(
                f"{fault}; the run went back to {path} {RETRIES} times, the last time at "
                f"{self.progress.rate_factor:g} of the learning rate. --resume with a lower "
                f"{option}.",
                fault.step,
                fault.loss,
            ) from fault
        self.progress.retries += 1
        self.checkpoints.restore_model(self.model)
        epoch, factor = self.progress.epoch, self.progress.rate_factor
        origin = f"the end of epoch {epoch}" if epoch else "the start of the stage"
        recovery = {
            "step": fault.step,
            "loss": fault.loss if math.isfinite(fault.loss) else str(fault.loss),
            "action": f"went back to {origin}",
            "learning_rate_factor": factor,
        }
        print(f"{fault}; back to {origin}, {path}, learning rate x {factor:g}", flush=True)
        self._note(stage, epoch + 1, {"recovery": recovery})
        self.checkpoints.replace_state(vars(self.progress))

    def _validate(self, stage: Stage) -> None:
        """Validate the weights of the stage's last epoch."""
        model = self._ready(stage)
        batches = self._val_batches(self.config.stage(stage.name))
        logs = model.evaluate(batches, verbose=0, callbacks=[ValidateAverages()], return_dict=True)
        self._note(
            stage, self.progress.epoch, {f"val_{key}": float(logs[key]) for key in sorted(logs)}
        )
        with averaged_weights(model.optimizer):
            self._keep_best(stage, float(logs["miou"]))

    def _ready(self, stage: Stage) -> keras.Model:
        """The stage's model and optimizer as they were at the end of the last epoch."""
        config = self.config.stage(stage.name)
        rate = config.learning_rate * self.progress.rate_factor
        with self.strategy.scope():
            model = self._compiled(
                stage, replace(config, learning_rate=rate), self._steps_per_epoch(config)
            )
            if self.progress.epoch:
                self.checkpoints.restore_optimizer(model.optimizer)
        return model

    def _steps_per_epoch(self, config: StageConfig) -> int:
        """The steps that make whole updates."""
        data = self.config.data
        batch_size = config.batch_size or data.batch_size
        steps = steps_per_epoch(self.dataset, data.train_split, batch_size)
        if steps < config.accumulate:
            raise ValueError(
                "Invalid value for argument `accumulate`: expected at most the steps of an epoch, "
                f"{steps} of {batch_size} pictures, received {config.accumulate}."
            )
        return steps // config.accumulate * config.accumulate

    def _train_batches(self, config: StageConfig, seed: int, first: int) -> tf.data.Dataset:
        """The batches of a stage's steps from an epoch on: parts of those of its updates."""
        data = self.config.data
        batch_size = config.batch_size or data.batch_size
        batches = train_dataset(
            self.dataset,
            data.train_split,
            batch_size=batch_size * config.accumulate,
            augmentation=data.augmentation,
            seed=seed,
            first_epoch=first,
            epochs=config.epochs,
            cache=data.cache,
            clips=self.config.clips,
        )
        if config.accumulate == 1:
            return batches
        return batches.rebatch(batch_size, drop_remainder=True)

    def _val_batches(self, config: StageConfig) -> tf.data.Dataset:
        data = self.config.data
        return eval_dataset(
            self.dataset,
            data.val_split,
            batch_size=config.batch_size or data.batch_size,
            pad_to_full_batch=True,
            cache=data.cache,
            clips=self.config.clips,
        )

    def _compiled(self, stage: Stage, config: StageConfig, steps: int) -> keras.Model:
        """The network up to the stage's output, with only the stage's layers to learn."""
        ignore = self.dataset.classes.ignore
        metric = SegmentationScores(self.model.num_classes, ignore)
        model = self._learning(stage)
        learner = self.config.learner(self.model, stage, ignore)
        model, loss = (learner, None) if learner else (model, self._loss(stage, config))
        if config.loss.unary:
            model = _with_unary(self.model, model.output)
            loss = _LossWithUnary(loss, config.loss.unary)
            metric = _ScoresWithoutUnary(self.model.num_classes, ignore)
        if not model.trainable_variables:
            raise ValueError(
                f"Stage {stage.name} has nothing to learn: expected "
                f"--{self.config.section(stage.name)}.freeze to leave it a layer, received "
                f"{config.freeze!r}."
            )
        optimizer = build_optimizer(config, steps, model.trainable_variables)
        model.compile(optimizer, loss, metrics=[metric], jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        return model

    def _learning(self, stage: Stage) -> keras.Model:
        """The network up to the stage's output; only the stage's layers are trainable."""
        frozen = self.config.stage(stage.name).freeze
        for layer in self.model.layers:
            layer.trainable = stage.teaches(layer.name) and not re.fullmatch(frozen, layer.name)
        return self.model.head_model(stage.output)

    def _loss(self, stage: Stage, config: StageConfig) -> keras.losses.Loss:
        weights, settings = None, config.loss
        if settings.class_weight_power:
            weights = median_frequency_weights(
                *self.pixel_counts,
                cap=settings.class_weight_cap,
                power=settings.class_weight_power,
            )
        loss = settings.build(self.dataset.classes.ignore, weights)
        if settings.coarse:
            return _CoarseLoss(loss, self.config.coarse_stride(stage.output))
        return loss

    def _end_epoch(self, stage, model, epoch: int, logs: dict[str, float], seconds: float) -> None:
        self.progress.epoch = epoch + 1
        self.progress.seconds += seconds
        self._note(stage, epoch + 1, logs)
        if "val_miou" in logs:
            with averaged_weights(model.optimizer):
                self._keep_best(stage, logs["val_miou"])
        self._save(model.optimizer)

    def _note(self, stage: Stage, epoch: int, values: dict[str, Any]) -> None:
        self.progress.history.append({"stage": stage.name, "epoch": epoch, **values})
        write_json(self.work_dir / workdir.HISTORY, self.progress.history)

    def _keep_best(self, stage: Stage, miou: float) -> None:
        if miou > self.progress.best_miou:
            self.progress.best_miou = miou
            path = workdir.model_file(self.work_dir, stage.name)
            with atomic_file(path) as temporary:
                self.model.save(temporary)

    def _finish(self, index: int, stage: Stage) -> None:
        """Go back to the stage's best weights, score them, and begin the next stage from them."""
        best = load_model(self.work_dir, stage.name)
        self.model.set_weights(best.get_weights())
        config = self.config.stage(stage.name)
        trained = self._learning(stage).trainable_variables
        self.progress.results.append(
            {
                **self._evaluate(stage),
                "name": stage.name,
                "seconds": self.progress.seconds,
                "steps": self._steps_per_epoch(config) * config.epochs,
                "epochs": config.epochs,
                "parameters_trained": int(sum(np.prod(v.shape) for v in trained)),
            }
        )
        self.progress.stage, self.progress.epoch = index + 1, 0
        self.progress.best_miou = None
        self._save(optimizer=None)

    def _evaluate(self, stage: Stage) -> dict[str, Any]:
        split = self.config.data.val_split
        predictor = Predictor(self.model, heads=(stage.output,))
        return evaluate(predictor, self.dataset, split).head().to_json()

    def _save(self, optimizer) -> None:
        self.checkpoints.save(self.model, optimizer, vars(self.progress))


class _CoarseLoss(keras.losses.Loss):
    """A loss on the map that the logits were enlarged from: theirs at every `stride`-th pixel."""

    def __init__(self, loss: keras.losses.Loss, stride: int):
        super().__init__(name="coarse_loss")
        self._loss, self._stride = loss, stride

    def call(self, y_true, y_pred):
        s = self._stride
        return self._loss(y_true[:, ::s, ::s], y_pred[:, ::s, ::s])


def _with_unary(model: keras.Model, output) -> keras.Model:
    """A model whose channels are the logits and behind them the unary term's."""
    unary = model.head_model("unary").output
    both = keras.layers.Concatenate(dtype="float32", name="with_unary")((output, unary))
    return keras.Model(model.input, both)


class _LossWithUnary(keras.losses.Loss):
    def __init__(self, loss: keras.losses.Loss, weight: float):
        super().__init__(name="loss_with_unary")
        self._loss, self._weight = loss, weight

    def call(self, y_true, y_pred):
        final, unary = keras.ops.split(y_pred, 2, axis=-1)
        return self._loss(y_true, final) + self._weight * self._loss(y_true, unary)


class _ScoresWithoutUnary(SegmentationScores):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred[..., : self.num_classes])
