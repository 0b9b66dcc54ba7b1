"""Train a network through its stages.

    keras-dpn train dpn/scenes --work-dir runs/demo
    keras-dpn train runs/demo/config.json --work-dir runs/again --seed 1
    keras-dpn train dpn/scenes --work-dir runs/demo --dry-run

RECIPE is a name that `keras-dpn recipes` lists, or the config.json of a run. The options are the
fields of its configuration.
"""

import json
import logging
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..configs.recipes import ALIASES, RECIPES, find_recipe
from ..configs.schema import TrainConfig
from ..configs.serialization import from_json, renamed_fields, to_json, with_crf
from ..configs.trackers import TrackerName
from . import PROGRAM, guarded
from .deprecated import replace_fields
from .help_text import joined_lines


@dataclass(frozen=True)
class Arguments:
    """Train a network through its stages."""

    work_dir: Path
    """Receives the configuration, checkpoints, logs, results and models."""
    config: Annotated[TrainConfig, tyro.conf.arg(name=""), tyro.conf.AvoidSubcommands]
    data_dir: Path | None = None
    """Short for --data.data-dir."""
    crf: Path | None = None
    """Settings of a DeepLab's or PiecewiseCRF's CRF, as `keras-dpn crf-search` writes them."""
    resume: bool = False
    """Continue from the last completed epoch of the work directory.

    Learning rates, schedules, epochs and validation_epochs may differ from before, and apply from
    there on. Other epochs than before are those of the run's log. A stage ends at once if it has
    completed as many epochs as are given. Everything else must be as it was.
    """
    epochs: int | None = None
    """Epochs of every stage that the recipe trains, instead of the recipe's; those of a stage whose
    --STAGE.epochs or --STAGE.steps is given are its own."""
    steps: int | None = None
    """Smallest number of updates of every stage that the recipe trains, instead of the recipe's
    epochs; with --epochs, in addition to them."""
    devices: str = "all"
    """all: every GPU, or the CPU without one; gpu: every GPU; gpu:0,2: these two; cpu: no GPU;
    cpu:2: two logical devices on the CPU. Each of several processes uses these."""
    callbacks: tuple[TrackerName, ...] = ()
    """Experiment trackers that receive the scores of each epoch; environment variables such as
    WANDB_MODE and MLFLOW_TRACKING_URI configure them."""
    dry_run: bool = False
    """Check everything, measure a few steps, show the plan, memory and time, and write nothing."""
    print_config: bool = False
    """Print the configuration as JSON, and end; saved to a file, it can be given as RECIPE."""
    coordinator: str | None = None
    """HOST:PORT of process 0 if several processes train together, under KERAS_BACKEND=jax; auto:
    JAX finds them on SLURM, Open MPI, Cloud TPU and Kubernetes. All have the same options."""
    num_processes: int | None = None
    """How many processes train together; with --coordinator HOST:PORT."""
    process_id: int | None = None
    """Which of them this is, from 0; with --coordinator HOST:PORT. Process 0 writes all files."""


def parse(args: Sequence[str]) -> None:
    """Read the recipe and the fields that override it, and train."""
    if not args or args[0] in ("-h", "--help"):
        print(f"usage: {PROGRAM} train RECIPE --work-dir RUN [OPTIONS]\n\n{__doc__}")
        print(f"{PROGRAM} train RECIPE --help lists the options. Recipes:")
        print("\n".join(f"  {name}" for name in RECIPES))
        return
    name, *rest = args
    config = load_recipe(name)
    rest = replace_fields(rest, renamed_fields(type(config)))
    default = Arguments(
        work_dir=Path() if "--print-config" in rest else tyro.MISSING,
        config=_with_given_epochs(config, rest),
    )
    with joined_lines():
        arguments = tyro.cli(Arguments, default=default, args=rest, prog=f"{PROGRAM} train {name}")
    own = _given(config, rest, "epochs") | _given(config, rest, "steps")
    length = with_length(arguments.config, arguments.epochs, arguments.steps, own)
    main(replace(arguments, config=length))


def _given(config: TrainConfig, args: Sequence[str], field: str) -> set[str]:
    """Return the sections of stages with an option for a field, such as `--unary.epochs`."""
    given = {arg.partition("=")[0].replace("_", "-") for arg in args}
    sections = {config.section(stage.name) for stage in config.stages}
    return {s for s in sections if f"--{s.replace('_', '-')}.{field}" in given}


def _with_given_epochs(config: TrainConfig, args: Sequence[str]) -> TrainConfig:
    """Return the configuration without the recipe's steps of stages whose epochs are given."""
    changes: dict[str, Any] = {
        section: replace(getattr(config, section), steps=0)
        for section in _given(config, args, "epochs")
    }
    return replace(config, **changes)


def with_length(
    config: TrainConfig, epochs: int | None, steps: int | None, own: Collection[str] = ()
) -> TrainConfig:
    """Return the configuration with other epochs or steps in every stage that is trained.

    Args:
        config: a configuration.
        epochs: of each stage; None as 0.
        steps: of each stage; None as 0, and neither leaves the configuration as it is.
        own: the sections of stages that keep the length that they have.

    Raises:
        ValueError: for a negative number, and zeros.
    """
    if epochs is None and steps is None:
        return config
    if (epochs or 0) < 0 or (steps or 0) < 0 or not (epochs or steps):
        raise ValueError(f"Expected --epochs or --steps from 1 up, received {epochs} and {steps}.")
    changes: dict[str, Any] = {
        section: replace(getattr(config, section), epochs=epochs or 0, steps=steps or 0)
        for section in {config.section(stage.name) for stage in config.stages}.difference(own)
        if getattr(config, section).is_trained
    }
    return replace(config, **changes)


def load_recipe(name: str) -> TrainConfig:
    """Return a recipe, or the configuration in the config.json of a run.

    Raises:
        ValueError: for another name, with the nearest one, or a file that is no configuration.
    """
    if name in ALIASES:
        logging.getLogger("keras_dpn").warning("%s is deprecated: use %s", name, ALIASES[name])
    if name.endswith(".json"):
        from ..utils.files import read_json

        return from_json(read_json(Path(name)), name)
    return RECIPES[find_recipe(name)]


def main(arguments: Arguments) -> None:
    """Train a network through its stages and print what each of them scores."""
    config = arguments.config
    if arguments.print_config:
        print(json.dumps(to_json(_with_files(config, arguments)), indent=2))
        return
    from ..engine import hosts
    from ..engine.setup import describe_dry_run, train

    options: dict[str, Any] = {
        "data_dir": arguments.data_dir,
        "crf": arguments.crf,
        "resume": arguments.resume,
        "devices": arguments.devices,
        "callbacks": arguments.callbacks,
    }
    if arguments.dry_run:
        print(describe_dry_run(config, arguments.work_dir, **options))
        return
    with hosts.connected(
        arguments.coordinator, arguments.num_processes, arguments.process_id, _report
    ):
        stages = train(config, arguments.work_dir, **options)
        if hosts.is_chief():
            for stage in stages:
                scores = f"mIoU {stage['miou']:.4f}, accuracy {stage['accuracy']:.4f}"
                print(f"{stage['name']}: {scores}")


def _with_files(config: TrainConfig, arguments: Arguments) -> TrainConfig:
    """Return the configuration with the directory and the CRF that have options of their own."""
    if arguments.crf:
        config = with_crf(config, arguments.crf)
    if not arguments.data_dir:
        return config
    return replace(config, data=replace(config.data, data_dir=str(arguments.data_dir)))


def _report(error: BaseException) -> int:
    """Print the error of one of several processes; return its exit code."""

    def fail() -> None:
        raise error

    try:
        return guarded(fail, "train")
    except Exception:
        traceback.print_exception(error)
        return 1
