"""PiecewiseCRF: memory of a training step, time of prediction, and of a step by its objective.

    python -m benchmarks.piecewise_crf [--repeats 5]

The network has three scales, two relations with all neighbours, and a sixth block of 3x3x1024,
3x3x512, 3x3x512, on one image of 360x480. Memory is the largest resident size of a process that
makes two steps with Adam, less what it had before the network was built; next to it is the
estimate of `graph_size`. Prediction is compiled; the time of mean field is that of its layer on the
potentials. Steps are of plain SGD, with five mean-field iterations in the network; what is compared
runs alternately in one process.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import multiprocessing
import random
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
import tyro
from rich.console import Console
from rich.table import Table

from keras_dpn.models import PiecewiseCRF
from keras_dpn.models.piecewise_learner import OBJECTIVES
from keras_dpn.models.piecewise_size import GraphSize

BLOCK6 = ((3, 1024), (3, 512), (3, 512))


@dataclass(frozen=True)
class Settings:
    height: int = 360
    width: int = 480
    num_classes: int = 21
    channels: float = 1.0
    """Factor on all numbers of channels."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    repeats: int = 5


def network(settings: Settings, **arguments) -> PiecewiseCRF:
    keras.config.set_dtype_policy(settings.precision)
    return PiecewiseCRF(settings.num_classes, width=settings.channels, block6=BLOCK6, **arguments)


def batch(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    numbers, size = np.random.default_rng(0), (1, settings.height, settings.width)
    image = numbers.uniform(0, 255, (*size, 3)).astype("float32")
    return image, numbers.integers(0, settings.num_classes, size)


def seconds(functions: dict, repeats: int) -> dict[str, float]:
    """Median seconds by name; the order changes from round to round."""
    taken = {name: [] for name in functions}
    for i in range(repeats + 1):
        for name in random.sample(list(functions), len(functions)):
            started = time.perf_counter()
            functions[name]()
            if i:  # the first call compiles
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


# === Memory ===


def _train(settings: Settings, checkpointing: bool) -> tuple[float, float, GraphSize]:
    before = _peak()
    model = network(settings, checkpointing=checkpointing)
    learner = model.learner()
    learner.compile("adam", jit_compile=False)
    for _ in range(2):
        learner.train_on_batch(*batch(settings))
    size = model.graph_size(settings.height, settings.width)
    return before, _peak() - before, size


def _peak() -> float:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def memory_table(settings: Settings) -> Table:
    table = Table("recomputed", "before, GB", "step, GB", "foretold, GB", title="training, batch 1")
    context = multiprocessing.get_context("spawn")
    for checkpointing in (False, True):
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            before, step, size = executor.submit(_train, settings, checkpointing).result()
        foretold = f"{size.training_bytes / 1e9:.2f}"
        table.add_row(str(checkpointing), f"{before:.2f}", f"{step:.2f}", foretold)
    Console().print(str(size))
    return table


# === Time ===


def prediction_table(settings: Settings) -> Table:
    model = network(settings)
    image = tf.constant(batch(settings)[0])
    potentials = model.learner()(image)
    edges, _, pairwise = map(list, zip(*potentials["relations"].values(), strict=True))
    whole, mean_field = tf.function(model), tf.function(model.get_layer("mean_field"))
    found = seconds(
        {
            "whole": lambda: whole(image),
            "mean field, 2 iterations": lambda: mean_field((potentials["unary"], edges, pairwise)),
        },
        settings.repeats,
    )
    table = Table("prediction", "median, s", "of the whole, %")
    for name, value in found.items():
        table.add_row(name, f"{value:.3f}", f"{100 * value / found['whole']:.1f}")
    return table


def step_table(settings: Settings) -> Table:
    model, data = network(settings, num_iterations=5), batch(settings)
    learners = {objective: model.learner(objective=objective) for objective in OBJECTIVES}
    for learner in learners.values():
        learner.compile(keras.optimizers.SGD(1e-9), jit_compile=False)
    steps = {name: lambda x=x: x.train_on_batch(*data) for name, x in learners.items()}
    found = seconds(steps, settings.repeats)
    table = Table("objective", "median, s a step", "to piecewise")
    for name, value in found.items():
        table.add_row(name, f"{value:.3f}", f"{value / found['piecewise']:.2f}")
    return table


def main(settings: Settings) -> None:
    console = Console()
    console.print(memory_table(settings))
    console.print(prediction_table(settings))
    console.print(step_table(settings))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
