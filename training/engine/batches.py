"""The batches of a run's stages."""

from collections.abc import Sequence

import tensorflow as tf

from ..configs.schema import StageConfig, TrainConfig
from ..data.dataset import Dataset
from ..data.pipeline.batches import eval_dataset, steps_per_epoch, train_dataset
from ..data.pipeline.part import Part
from . import hosts
from .networks import clip_inputs


class Batches:
    """The batches that each stage of a run trains and validates on; a process's part of them.

    Args:
        config: the run's configuration.
        dataset: training and validation images.
        val_sizes: height and width of each validation image, needed by several processes.
    """

    def __init__(
        self, config: TrainConfig, dataset: Dataset, val_sizes: Sequence[tuple[int, int]] = ()
    ) -> None:
        self._config, self._data = config, config.data
        self._clips = clip_inputs(config)
        self._dataset = dataset
        self._val_sizes = val_sizes
        self._part = Part(hosts.index(), hosts.count())

    def steps_per_epoch(self, stage: StageConfig) -> int:
        """Return the number of steps per epoch, a multiple of the steps per update.

        Raises:
            ValueError: if there are fewer steps than an update averages.
        """
        batch_size = self._config.batch_size(stage)
        steps = steps_per_epoch(self._dataset, self._data.train_split, batch_size)
        if steps < stage.accumulate:
            raise ValueError(
                "Invalid value for argument `accumulate`: expected at most the steps of an epoch, "
                f"{steps} of {batch_size} images, received {stage.accumulate}."
            )
        return self._data.passes_per_epoch * (steps // stage.accumulate * stage.accumulate)

    def train(self, stage: StageConfig, seed: int, first_epoch: int) -> tf.data.Dataset:
        """Return the batches of a stage's steps from an epoch on; several make one update."""
        return train_dataset(
            self._dataset,
            self._data.train_split,
            batch_size=self._config.batch_size(stage),
            steps_per_update=stage.accumulate,
            augmentation=self._data.augmentation,
            seed=seed,
            first_epoch=first_epoch * self._data.passes_per_epoch,
            epochs=stage.epochs * self._data.passes_per_epoch,
            cache=self._data.cache,
            clips=self._clips,
            resize=self._data.resize,
            part=self._part,
        )

    def validation(self, stage: StageConfig) -> tf.data.Dataset:
        """Return the batches that a stage is validated on."""
        return eval_dataset(
            self._dataset,
            self._data.val_split,
            batch_size=self._config.batch_size(stage),
            pad_to_full_batch=True,
            cache=self._data.cache,
            clips=self._clips,
            resize=self._data.resize,
            part=self._part,
            sizes=self._val_sizes,
        )
