"""Train a network through its stages.

    keras-dpn train scenes --work-dir runs/demo
    keras-dpn train runs/demo/config.json --work-dir runs/again --seed 1

RECIPE is a name that `keras-dpn recipes` lists, or the config.json of a run. The options are the
fields of its configuration.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..configs.recipes import RECIPES
from ..configs.schema import TrainConfig
from ..configs.serialization import from_json


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

    Learning rates, schedules, epochs and validation_epochs may differ from before and hold from
    there on; as many epochs as a stage has completed end it. Everything else must be as it was.
    """
    devices: str = "all"
    """all: every GPU, or the CPU; cpu:2: two logical devices on the CPU."""


def main(args: Sequence[str] | None = None) -> int:
    """Read the recipe and the fields that override it, then train."""
    args = list(sys.argv[1:] if args is None else args)
    if args[:1] in (["-h"], ["--help"]):
        print(__doc__, f"Recipes: {', '.join(RECIPES)}. RECIPE --help lists the fields.")
        return 0
    recipe = RECIPES[args[0]] if args and args[0] in RECIPES else None
    if recipe is None:
        if not args or not args[0].endswith(".json"):
            raise ValueError(
                f"expected a recipe ({', '.join(RECIPES)}) or the config.json of a run as first "
                f"argument, received {args[0] if args else 'none'}."
            )
        from ..rundir import paths

        recipe = from_json(paths.read_json(Path(args[0])), args[0])
    arguments = tyro.cli(
        Arguments,
        default=Arguments(work_dir=tyro.MISSING, config=recipe),
        args=args[1:],
        prog=f"keras-dpn train {args[0]}",
    )
    from ..engine.setup import train

    train(
        arguments.config,
        arguments.work_dir,
        data_dir=arguments.data_dir,
        crf=arguments.crf,
        resume=arguments.resume,
        devices=arguments.devices,
    )
    return 0
