"""The plan of a run before it starts: epochs and steps of each stage, and their time."""

import dataclasses
import math
import time
from typing import Any

import keras
import numpy as np

from ..configs.schema import Stage, TrainConfig
from ..data.dataset import Dataset
from ..utils.counts import counted
from .batches import Batches

# An epoch of a small training split passes over it so often that it has about this many steps:
# each epoch ends with a checkpoint.
_EPOCH_STEPS = 50
# The time of shorter plans is not measured, which would take longer than a few of their steps.
_MEASURED_STEPS = 100


def resolve_steps(
    config: TrainConfig, dataset: Dataset, earlier: TrainConfig | None = None
) -> TrainConfig:
    """Return the configuration with the number of epochs in which each stage makes its `steps`.

    Args:
        config: the run's configuration; it is returned as it is if no stage has `steps`.
        dataset: the training images.
        earlier: the configuration of the run to resume. Its epochs are as many passes over the
            split as they were, and other epochs than it had count those.

    Raises:
        ValueError: as `Batches.steps_per_epoch`.
    """
    sections = {config.section(s.name): config.stage(s.name) for s in config.stages}
    with_steps = [stage for stage in sections.values() if stage.steps]
    passes = config.data.passes_per_epoch
    if earlier is not None:
        passes = max(passes, earlier.data.passes_per_epoch)
    elif with_steps:
        shortest = min(map(Batches(config, dataset).steps_per_epoch, with_steps))
        passes = max(passes, math.ceil(_EPOCH_STEPS / shortest))
    if not with_steps and passes == config.data.passes_per_epoch:
        return config
    changes: dict[str, Any] = {"data": dataclasses.replace(config.data, passes_per_epoch=passes)}
    batches = Batches(dataclasses.replace(config, **changes), dataset)
    for section, stage in sections.items():
        if not stage.is_trained:
            continue
        steps = batches.steps_per_epoch(stage)
        # Epochs count passes over the split, of which one of the run's may now be several.
        least = math.ceil(stage.epochs * config.data.passes_per_epoch / passes)
        if earlier is not None and not stage.steps and least != getattr(earlier, section).epochs:
            least = stage.epochs
        epochs = max(least, math.ceil(stage.steps * stage.accumulate / steps))
        changes[section] = dataclasses.replace(stage, epochs=epochs, steps=0)
    return dataclasses.replace(config, **changes)


def describe_plan(
    config: TrainConfig, batches: Batches, model: keras.Model, replicas: int, first: int, done: int
) -> str:
    """Return the epochs and steps of each stage that remains, and about how long they take.

    Args:
        config: the run's configuration.
        batches: the run's.
        model: the network; its speed is measured on one batch unless the plan is short.
        replicas: the number of devices.
        first: index of the stage to begin with.
        done: completed epochs of that stage.
    """
    parts, images = [], {}
    total = 0
    for stage, epochs in remaining_stages(config, first, done):
        settings = config.stage(stage.name)
        steps = epochs * batches.steps_per_epoch(settings)
        parts.append(f"{stage.name} {counted(epochs, 'epoch')}, {counted(steps, 'step')}")
        total += steps
        images[stage] = steps * config.batch_size(settings)
    plan = f"plan: {'; '.join(parts) or 'nothing left'}"
    if total < _MEASURED_STEPS:
        return plan
    size = max(1, config.data.batch_size // replicas)
    forwards = sum(_forwards_per_step(config, model, stage) * n for stage, n in images.items())
    seconds = _forward_seconds(model, config, size) / (size * replicas) * forwards
    return f"{plan}; about {duration(seconds)}, without validation"


def remaining_stages(config: TrainConfig, first: int, done: int) -> list[tuple[Stage, int]]:
    """Return the stages with epochs to train, and with how many.

    Args:
        config: the run's configuration.
        first: index of the stage to begin with.
        done: completed epochs of that stage.
    """
    epochs = [
        (stage, config.stage(stage.name).epochs - (done if index == first else 0))
        for index, stage in enumerate(config.stages)
        if index >= first
    ]
    return [(stage, left) for stage, left in epochs if left > 0]


def _forwards_per_step(config: TrainConfig, model: keras.Model, stage: Stage) -> float:
    """Return how many predictions take about as long as a stage's training step on one batch.

    The backward pass, two products per layer, takes twice as long as the forward pass. It reaches
    back to the first trained layer: about as much of it as is trained of the weights.
    """
    trained = [x.count_params() for x in model.layers if config.trains(stage, x.name)]
    return 1 + 2 * sum(trained) / model.count_params()


def _forward_seconds(model: keras.Model, config: TrainConfig, batch_size: int) -> float:
    """Return the seconds of a prediction of one batch of training images."""
    inputs = zeros(model, config, batch_size)
    for _ in range(2):  # the first one allocates memory and chooses algorithms
        start = time.perf_counter()
        keras.tree.map_structure(keras.ops.convert_to_numpy, model(inputs, training=False))
        seconds = time.perf_counter() - start
    return seconds


def zeros(model: keras.Model, config: TrainConfig, batch_size: int) -> Any:
    """Return inputs of the network of zeros, in the size of training images."""
    height, width = config.data.augmentation.crop
    frames = config.clip_frames or 1

    def zeros_of(spec: Any) -> np.ndarray:
        *time_axis, h, w, channels = spec.shape[1:]
        count = frames - 1 if channels == 2 else frames
        sizes = [batch_size, *(known or count for known in time_axis), h or height, w or width]
        return np.zeros((*sizes, channels), "float32")

    return keras.tree.map_structure(zeros_of, model.input)


def duration(seconds: float) -> str:
    """Return a duration as text.

    Example:
    >>> duration(40), duration(4000)
    ('1 min', '1 h 7 min')
    """
    hours, minutes = divmod(max(1, round(seconds / 60)), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
