"""The networks of one run, or of several that are averaged, as scripts load them for inference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import keras
import tyro

from keras_dpn import inference, tiles
from keras_dpn.classes import Classes
from training.workdir import load_classes, load_model

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
WorkDirs = tyro.conf.UseAppendAction[tuple[Path, ...]]  # --work-dir RUN --work-dir RUN2


def load_ensemble(
    work_dirs: Sequence[Path], precision: Precision = "float32"
) -> tuple[list[keras.Model], Classes]:
    """The trained models of runs, and the classes that all of them know.

    Args:
        work_dirs: directories of finished training runs.
        precision: what the models compute in.

    Raises:
        ValueError: without a run, for one without a model, and if their classes differ.
    """
    if not work_dirs:
        raise ValueError("Expected a training run: give --work-dir, once or several times.")
    networks = [in_precision(load_model(work_dir), precision) for work_dir in work_dirs]
    classes, *others = (load_classes(work_dir) for work_dir in work_dirs)
    for work_dir, other in zip(work_dirs[1:], others, strict=True):
        if (other.names, other.ignore) != (classes.names, classes.ignore):
            raise ValueError(
                f"The run in {work_dirs[0]} knows the classes {', '.join(classes.names)} (ignored: "
                f"{classes.ignore}), that in {work_dir} {', '.join(other.names)} (ignored: "
                f"{other.ignore}): their answers can't be averaged."
            )
    return networks, classes


def in_precision(model: keras.Model, precision: Precision) -> keras.Model:
    """The model, which was loaded in float32, or a copy of it in another precision."""
    return model if precision == "float32" else inference.in_precision(model, precision)


def choose_tile(
    model: keras.Model | Sequence[keras.Model],
    scales: Sequence[float],
    tile: int | None,
    memory: float | None,
) -> int | None:
    """The side of the tiles: as given, or as a budget of memory allows; None: whole pictures.

    Args:
        model: as in `tiles.side_for_memory`.
        scales: factors at which each picture is looked at.
        tile: the side in pixels, if it is given.
        memory: the budget in GiB, if there is one.

    Raises:
        ValueError: if both are given; if the budget is too small.
    """
    if tile is not None and memory is not None:
        raise ValueError("Give either --tile or --memory, which chooses it.")
    return tile if memory is None else tiles.side_for_memory(model, memory * 2**30, scales)
