"""The cost of a run, measured by a few steps, without writing anything."""

import sys
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..configs.schema import Stage
from .plan import duration, remaining_stages, zeros
from .trainer import Trainer

_STEPS = 3  # the first one traces the graph


@dataclass(frozen=True)
class StageCost:
    """What a stage of training costs.

    Args:
        name: of the stage.
        epochs: that remain.
        steps: of these epochs.
        batch_size: images per step.
        step_seconds: time of a step.
    """

    name: str
    epochs: int
    steps: int
    batch_size: int
    step_seconds: float

    @property
    def seconds(self) -> float:
        """The time of all steps."""
        return self.steps * self.step_seconds


def dry_run(trainer: Trainer) -> str:
    """Return the plan of a run, its memory and its time; the network is of no use afterwards.

    Args:
        trainer: of the run, at its last completed epoch.
    """
    progress = trainer.progress
    remaining = remaining_stages(trainer.config, progress.stage, progress.epoch)
    progress.epoch = 0  # with a new optimizer for each stage
    costs = [_measure(trainer, stage, epochs) for stage, epochs in remaining]
    return describe(costs, trainer.model.count_params(), peak_memory(), _cached_bytes(trainer))


def describe(
    costs: list[StageCost], parameters: int, memory: tuple[str, int] | None, cached: int
) -> str:
    """Return the costs of a run as text.

    Args:
        costs: of its remaining stages.
        parameters: of the network.
        memory: whose memory was measured, and the most that was used, in bytes.
        cached: bytes of the decoded training images that stay in memory.
    """
    if not costs:
        return "nothing left to train"
    rows = [("stage", "epochs", "steps", "batch", "per step", "time")]
    for cost in costs:
        step, total = f"{cost.step_seconds:.2g} s", duration(cost.seconds)
        numbers = (f"{cost.epochs}", f"{cost.steps}", f"{cost.batch_size}")
        rows.append((cost.name, *numbers, step, total))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    lines += ["", f"network  {parameters:,} parameters"]
    if memory:
        lines.append(f"memory   {_gib(memory[1])} of the {memory[0]} in a step")
    if cached:
        lines.append(f"         {_gib(cached)} more for the decoded training images")
    total = duration(sum(cost.seconds for cost in costs))
    lines.append(f"time     about {total}, without validation")
    return "\n".join(lines)


def peak_memory() -> tuple[str, int] | None:
    """Return whose memory is measured, and the most bytes that it used; None if that is unknown.

    On several GPUs it is that of the fullest one.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        names = [gpu.name.rpartition("device:")[2] for gpu in gpus]
        peaks = [tf.config.experimental.get_memory_info(name)["peak"] for name in names]
        return "GPU", max(peaks)
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return "process", unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class _StepTimes(keras.callbacks.Callback):
    """The seconds of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def _measure(trainer: Trainer, stage: Stage, epochs: int) -> StageCost:
    """Return the cost of a stage, measured on images of one colour."""
    settings = trainer.config.stage(stage.name)
    batch_size = trainer.config.batch_size(settings)
    crop = trainer.config.data.augmentation.crop
    images: Any = zeros(trainer.model, trainer.config, batch_size)
    labels = np.zeros((batch_size, *crop), "int32")
    times = _StepTimes()
    model = trainer.ready(stage)
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
    model.fit(batches, steps_per_epoch=_STEPS, verbose=0, callbacks=[times])
    steps = epochs * trainer.batches.steps_per_epoch(settings)
    return StageCost(stage.name, epochs, steps, batch_size, min(times.seconds))


def _cached_bytes(trainer: Trainer) -> int:
    """Return the bytes of decoded training images, 4 for each pixel with a label."""
    return 4 * int(trainer.pixel_counts[0].sum()) if trainer.config.data.cache else 0


def _gib(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"
