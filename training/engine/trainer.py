"""Training in stages: each from the best weights of the one before."""

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dpn.inference import Predictor

from ..configs.schema import Stage, TrainConfig
from ..data.dataset import Dataset
from ..evaluation.evaluator import evaluate
from ..rundir import paths as workdir
from ..rundir.models import load_model
from ..utils.counts import counted
from ..utils.files import atomic_file, write_json
from ..utils.progress import progress_bar
from . import hosts
from .batches import Batches
from .callbacks import (
    Epochs,
    Steps,
    StopOnNaN,
    TrainingDiverged,
    ValidateAverages,
    first_not_finite,
)
from .changes import Change
from .checkpoints import Checkpoints
from .devices import Strategy
from .networks import adapter
from .optimizers import averaged_weights, forget_steps
from .plan import describe_plan
from .progress import Progress
from .stage_models import StageModels
from .symptoms import Symptom, symptoms, symptoms_at_the_end
from .trackers import Trackers

_LOGGER = logging.getLogger("keras_dpn")
RETRIES = 4  # of a stage whose loss becomes NaN: at the same rate, then at 1/2, 1/4 and 1/8


class Trainer:
    """Train a network stage after stage, each from the best weights of the one before.

    If the loss becomes NaN or infinite, the stage goes back to its last checkpoint, at most
    `RETRIES` times: first at the same learning rate, as the cause may not recur, then at half the
    rate each time. A retried epoch has the same batches and the same random numbers.

    Args:
        config: the run's configuration.
        model: the config's network, with its initial weights.
        dataset: training and validation images.
        pixel_counts: of the training split, for class weights; see `checks.check_data`.
        work_dir: receives all files.
        strategy: the devices; `model` was built in its scope.
        val_sizes: height and width of each validation image, needed by several processes.
        trackers: receive the scores of each epoch.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: keras.Model,
        dataset: Dataset,
        pixel_counts: tuple[np.ndarray, np.ndarray],
        work_dir: Path,
        strategy: Strategy,
        val_sizes: Sequence[tuple[int, int]] = (),
        trackers: Trackers | None = None,
    ) -> None:
        self.config = config
        self.model = model
        self.dataset = dataset
        self.pixel_counts = pixel_counts
        self.batches = Batches(config, dataset, val_sizes)
        self.stage_models = StageModels(config, model, dataset.classes.ignore, pixel_counts)
        self.work_dir = work_dir
        self.strategy = strategy
        self.trackers = trackers or Trackers((), work_dir, config)
        self.checkpoints = Checkpoints(work_dir / workdir.CHECKPOINTS)
        splits = (config.data.train_split, config.data.val_split)
        self._examples = {split: len(dataset.examples(split)) for split in splits}
        self.progress = Progress(examples=self._examples)

    def resume(self, changes: Sequence[Change] = ()) -> None:
        """Go back to the last finished epoch, if there is one.

        Args:
            changes: of the configuration, as `changes.find_changes` returns them. They are
                recorded, and a stage whose learning rate changes counts its retries from 0 again.
        """
        state = hosts.from_chief(self.checkpoints.state)
        if state is None:
            return
        self.progress = Progress(**state)
        self._compare_examples()
        self.checkpoints.restore_model(self.model)
        if not changes:
            return
        trained = [s for s in self.config.stages if self._is_trained(s)]
        ahead = [s for s in trained if s in self.config.stages[self.progress.stage :]]
        stage = (ahead or trained[-1:])[0]
        if any(change.sets_rate_of(self.config.section(stage.name)) for change in changes):
            self.progress.retries = 0
        for change in changes:
            _LOGGER.info("stage %s, epoch %d: %s", stage.name, self.progress.epoch, change)
            self._note(stage, self.progress.epoch, {"change": change.to_json()})
        self.checkpoints.replace_state(vars(self.progress))

    def _compare_examples(self) -> None:
        """Warn where a split has another length than before, and note what it has now."""
        for split, count in self._examples.items():
            before = self.progress.examples.get(split, count)
            if before != count:
                _LOGGER.warning(
                    "%s %s: %s now, %d before the run was resumed; from here on, epochs and scores "
                    "don't compare with the earlier ones",
                    *(self.dataset.name, split, counted(count, "example"), before),
                )
        self.progress.examples = self._examples

    def fit(self) -> list[dict[str, Any]]:
        """Train the remaining stages; return each stage's results."""
        local = hosts.local_copy(self.model)
        devices = self.strategy.num_replicas_in_sync
        hosts.on_chief(lambda: _LOGGER.info(self._plan(local, devices)))
        for index, stage in enumerate(self.config.stages):
            if index < self.progress.stage or not self._is_trained(stage):
                continue
            if index > self.progress.stage or self.progress.best_miou is None:
                self._enter(index, stage)
            self._fit(stage)
            self._finish(index, stage)
        return self.progress.results

    def _plan(self, model: keras.Model, devices: int) -> str:
        stage, epoch = self.progress.stage, self.progress.epoch
        return describe_plan(self.config, self.batches, model, devices, stage, epoch)

    def _is_trained(self, stage: Stage) -> bool:
        return self.config.stage(stage.name).epochs > 0

    def _enter(self, index: int, stage: Stage) -> None:
        """Begin a stage; weights of an earlier stage are the first best weights."""
        if path := first_not_finite(self.model.weights):
            raise ValueError(
                f"Stage {stage.name}: expected finite initial weights, received NaN or "
                f"infinite values in {path}. Give another file than {self.config.weights} as "
                "--weights."
            )
        adapter(self.config).enter(self.config, self.model, stage)
        self.progress.stage, self.progress.epoch = index, 0
        self.progress.best_miou, self.progress.seconds = -1.0, 0.0
        self.progress.retries = 0
        if self._starts_trained(stage):
            before = self._evaluate(stage)
            self._note(stage, 0, {"val_miou": before["miou"]})
            self._keep_best(stage, before["miou"])
        self._save(optimizer=None)

    def _starts_trained(self, stage: Stage) -> bool:
        """Return whether a stage starts from the trained weights of a file or another stage."""
        done = {result["name"] for result in self.progress.results}
        earlier = {other.group_name for other in self.config.stages if other.name in done}
        return bool(self.config.weights or earlier - {stage.group_name})

    def _seed(self, stage: Stage) -> int:
        """Return the seed of the images: the stage's own, or the same for all parts of one."""
        groups = [other.group_name for other in self.config.stages]
        return self.config.seed + groups.index(stage.group_name)

    def _fit(self, stage: Stage) -> None:
        """Train the stage's remaining epochs, and retry those that diverge."""
        epochs = self.config.stage(stage.name).epochs
        while self.progress.epoch < epochs and not self._is_exhausted(stage):
            try:
                self._train(stage)
            except TrainingDiverged as error:
                self._recover(stage, error)
        last = (stage.name, self.progress.epoch)
        rows = [row for row in self.progress.history if (row["stage"], row["epoch"]) == last]
        if not any("val_miou" in row for row in rows):  # a resumed run has ended the stage early
            self._validate(stage)

    def _is_exhausted(self, stage: Stage) -> bool:
        """Return whether as many validations as the stage's patience were no better."""
        patience = self.config.stage(stage.name).patience
        scores = list(self.progress.validations(stage.name).values())
        if not patience or not scores:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def _train(self, stage: Stage) -> None:
        config, first = self.config.stage(stage.name), self.progress.epoch
        model, steps = self.ready(stage), self.batches.steps_per_epoch(config)
        logs = self.work_dir / workdir.LOGS / stage.name
        boards = [keras.callbacks.TensorBoard(logs)] if hosts.is_chief() else []
        with progress_bar(f"stage {stage.name}", steps * (config.epochs - first), "steps") as bar:
            model.fit(
                self.batches.train(config, self._seed(stage), first),
                epochs=config.epochs,
                initial_epoch=first,
                steps_per_epoch=steps,
                validation_data=self.batches.validation(config),
                validation_freq=[
                    epoch
                    for epoch in range(1, config.epochs + 1)
                    if epoch % self.config.validation_epochs == 0 or epoch == config.epochs
                ],
                verbose=0,
                shuffle=False,
                callbacks=[
                    StopOnNaN(stage.name),
                    ValidateAverages(),
                    keras.callbacks.LambdaCallback(
                        on_epoch_begin=lambda *_: forget_steps(model.optimizer)
                    ),
                    *boards,
                    Steps(bar),
                    Epochs(stage.name, first, lambda *args: self._end_epoch(stage, model, *args)),
                ],
            )

    def _recover(self, stage: Stage, error: TrainingDiverged) -> None:
        """Go back to the stage's last checkpoint; raise after too many retries."""
        path = self.checkpoints.latest()
        if self.progress.retries == RETRIES:
            option = f"--{self.config.section(stage.name)}.learning-rate"
            raise TrainingDiverged(
                f"{error}; the run went back to {path} {RETRIES} times, the last time at "
                f"{self.progress.rate_factor:g} of the learning rate. --resume with a lower "
                f"{option}.",
                error.step,
                error.loss,
            ) from error
        self.progress.retries += 1
        self.checkpoints.restore_model(self.model)
        epoch, factor = self.progress.epoch, self.progress.rate_factor
        origin = f"the end of epoch {epoch}" if epoch else "the start of the stage"
        recovery = {
            "step": error.step,
            "loss": error.loss if math.isfinite(error.loss) else str(error.loss),
            "action": f"went back to {origin}",
            "learning_rate_factor": factor,
        }
        _LOGGER.warning("%s; back to %s, %s, learning rate x %g", error, origin, path, factor)
        self._note(stage, epoch + 1, {"recovery": recovery})
        self.checkpoints.replace_state(vars(self.progress))

    def _validate(self, stage: Stage) -> None:
        """Validate the weights of the stage's last epoch."""
        model = self.ready(stage)
        batches = self.batches.validation(self.config.stage(stage.name))
        logs = model.evaluate(batches, verbose=0, callbacks=[ValidateAverages()], return_dict=True)
        self._note(
            stage, self.progress.epoch, {f"val_{key}": float(logs[key]) for key in sorted(logs)}
        )
        with averaged_weights(model.optimizer):
            self._keep_best(stage, float(logs["miou"]))

    def ready(self, stage: Stage) -> keras.Model:
        """Return the stage's model with its optimizer as of the last completed epoch."""
        config = self.config.stage(stage.name)
        rate = config.learning_rate * self.progress.rate_factor
        with self.strategy.scope():
            model = self.stage_models.compiled(
                stage, replace(config, learning_rate=rate), self.batches.steps_per_epoch(config)
            )
            if self.progress.epoch:
                self.checkpoints.restore_optimizer(model.optimizer)
        return model

    def _end_epoch(
        self,
        stage: Stage,
        model: keras.Model,
        epoch: int,
        logs: dict[str, float],
        seconds: float,
    ) -> None:
        self.progress.epoch = epoch + 1
        self.progress.seconds += seconds
        self._note(stage, epoch + 1, logs)
        if "val_miou" in logs:
            with averaged_weights(model.optimizer):
                self._keep_best(stage, logs["val_miou"])
        self._warn(stage, self._early_symptoms(stage))
        self._save(model.optimizer)
        # After the checkpoint: a resumed run trains no epoch again that the trackers have.
        self.trackers.send(self.progress.history)
        if self._is_exhausted(stage):
            _LOGGER.info("stage %s: no better score for its patience, it ends", stage.name)
            model.stop_training = True

    def _early_symptoms(self, stage: Stage) -> Iterable[Symptom]:
        rows = [r for r in self.progress.history if r["stage"] == stage.name and "loss" in r]
        rate = self.config.stage(stage.name).learning_rate * self.progress.rate_factor
        section = self.config.section(stage.name)
        return symptoms(rows, self.dataset.classes.num_classes, section, rate)

    def _warn(self, stage: Stage, found: Iterable[Symptom]) -> None:
        """Warn about what should not happen in training, once per stage."""
        noted = self.progress.notes("warning")
        known = {note["symptom"] for note in noted if note["stage"] == stage.name}
        for symptom in found:
            if symptom.name not in known:
                _LOGGER.warning("stage %s: %s", stage.name, symptom.message)
                warning = {"symptom": symptom.name, "message": symptom.message}
                self._note(stage, self.progress.epoch, {"warning": warning})

    def _note(self, stage: Stage, epoch: int, values: dict[str, Any]) -> None:
        self.progress.history.append({"stage": stage.name, "epoch": epoch, **values})
        hosts.on_chief(lambda: write_json(self.work_dir / workdir.HISTORY, self.progress.history))

    def _keep_best(self, stage: Stage, miou: float) -> None:
        if self.progress.best_miou is None or miou > self.progress.best_miou:
            self.progress.best_miou = miou
            hosts.on_chief(lambda: self.write_model(stage.name))

    def write_model(self, stage: str | None = None) -> None:
        """Write the network as the run's model, or as the best one of a stage."""
        with atomic_file(workdir.model_file(self.work_dir, stage)) as temporary:
            self.model.save(temporary)

    def _finish(self, index: int, stage: Stage) -> None:
        """Go back to the stage's best weights, score them, and begin the next stage from them."""
        weights = self.model.get_weights()
        if hosts.is_chief():
            with hosts.alone():
                weights = load_model(self.work_dir, stage.name).get_weights()
        self.model.set_weights(hosts.broadcast(weights))
        best_epoch, scores = self._best_epoch(stage), self._evaluate(stage)
        validations, names = self.progress.validations(stage.name), self.dataset.classes.names
        confusion, section = np.array(scores["confusion"]), self.config.section(stage.name)
        self._warn(stage, symptoms_at_the_end(len(validations), confusion, names, section))
        config = self.config.stage(stage.name)
        trained = self.stage_models.up_to_head(stage).trainable_variables
        self.progress.results.append(
            {
                **scores,
                "name": stage.name,
                "seconds": self.progress.seconds,
                "steps": self.batches.steps_per_epoch(config) * self.progress.epoch,
                "epochs": self.progress.epoch,
                "best_epoch": best_epoch,
                "parameters_trained": int(sum(np.prod(v.shape) for v in trained)),
            }
        )
        self.progress.stage, self.progress.epoch = index + 1, 0
        self.progress.best_miou = None
        self._save(optimizer=None)

    def _best_epoch(self, stage: Stage) -> int:
        """Return the epoch whose weights are kept, 0 for those from before; log an earlier one."""
        scores = self.progress.validations(stage.name)
        best, last = max(scores, key=scores.__getitem__), self.progress.epoch
        if best != last:
            _LOGGER.info(
                "stage %s: kept the weights from %s, val_miou %.4g; after the last epoch %.4g",
                *(stage.name, f"epoch {best}" if best else "before the stage"),
                *(scores[best], scores[last]),
            )
        return best

    def _evaluate(self, stage: Stage) -> dict[str, Any]:
        split = self.config.data.val_split
        predictor = Predictor(hosts.local_copy(self.model), heads=(stage.head,))
        return hosts.from_chief(lambda: evaluate(predictor, self.dataset, split).head().to_json())

    def _save(self, optimizer: keras.optimizers.Optimizer | None) -> None:
        self.checkpoints.save(self.model, optimizer, vars(self.progress))
