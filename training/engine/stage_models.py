"""The models that the stages fit: the network up to a head, compiled to train a stage's layers."""

import keras
import numpy as np

from keras_dpn.metrics import SegmentationScores

from ..configs.schema import Stage, StageConfig, TrainConfig
from ..data.statistics import median_frequency_weights
from .losses import LossWithUnary, ScoresWithoutUnary, build_loss, with_unary
from .networks import adapter
from .optimizers import build_optimizer


class StageModels:
    """The models that the stages of a run fit; they share the weights of its network.

    Args:
        config: the run's configuration.
        network: the config's network.
        ignore_label: label of pixels that don't count.
        pixel_counts: of the training split, for class weights; see `checks.check_data`.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: keras.Model,
        ignore_label: int,
        pixel_counts: tuple[np.ndarray, np.ndarray],
    ) -> None:
        self._config, self._network = config, network
        self._ignore_label, self._pixel_counts = ignore_label, pixel_counts

    def compiled(self, stage: Stage, settings: StageConfig, steps: int) -> keras.Model:
        """Return the model of a stage, with its optimizer built.

        Args:
            stage: the stage.
            settings: its settings, with the learning rate to begin with.
            steps: per epoch.

        Raises:
            ValueError: if all of the stage's layers are frozen.
        """
        network, config = self._network, self._config
        model = self.up_to_head(stage)
        metric = SegmentationScores(network.num_classes, self._ignore_label)
        learner = adapter(config).learner(config, network, stage, self._ignore_label)
        model, loss = (learner, None) if learner else (model, self.loss(stage, settings))
        if settings.loss.unary:
            model = with_unary(network, model.output)
            loss = LossWithUnary(loss, settings.loss.unary)
            metric = ScoresWithoutUnary(network.num_classes, self._ignore_label)
        if not model.trainable_variables:
            raise ValueError(
                f"Stage {stage.name} has nothing to train: expected "
                f"--{config.section(stage.name)}.freeze to leave it a layer, received "
                f"{settings.freeze!r}."
            )
        optimizer = build_optimizer(settings, steps, model.trainable_variables)
        # TensorFlow without XLA, as Keras itself decides for deterministic operations and several
        # devices. It would also compile each size of validation images anew.
        jit_compile = keras.backend.backend() == "jax"
        model.compile(optimizer, loss, metrics=[metric], jit_compile=jit_compile)
        model.optimizer.build(model.trainable_variables)
        return model

    def up_to_head(self, stage: Stage) -> keras.Model:
        """Return the network up to the stage's head; only the stage's layers are trainable."""
        for layer in self._network.layers:
            layer.trainable = self._config.trains(stage, layer.name)
        return self._network.head_model(stage.head)

    def loss(self, stage: Stage, settings: StageConfig) -> keras.losses.Loss:
        """Return the loss of a stage's logits, without a second one on the unary term."""
        weights, losses = None, settings.loss
        if losses.class_weight_power:
            weights = median_frequency_weights(
                *self._pixel_counts,
                cap=losses.class_weight_cap,
                power=losses.class_weight_power,
            )
        stride = adapter(self._config).loss_stride(self._config, stage.head)
        return build_loss(losses, self._ignore_label, weights, stride)
