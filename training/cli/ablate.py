"""Train the rows of a sweep and compare them in one table.

    keras-dpn ablate dpn_windows_scenes --work-dir DIR --seeds 0 1 2
    keras-dpn ablate networks_camvid --work-dir DIR --data-dir CAMVID --reuse joint=RUN2
    keras-dpn ablate my_sweep.json --work-dir DIR --override unary.epochs=2 data.batch-size=8

SWEEP is one of those listed, or a file of your own:

    {"recipe": "dpn/scenes", "set": {"joint.epochs": 0}, "rows": [
        {"name": "small", "stage": "triple", "set": {"model.local_conv.window": 3}},
        {"name": "large", "stage": "triple", "set": {"model.local_conv.window": 25}}]}

"set" takes any field of the recipe's configuration, as `keras-dpn train` does; rows may also have
"recipe", "title", "output", "crf", "start" and "paper". --override replaces fields of all rows.
First stages that rows have in common are trained once; after an interruption the same command
continues. DIR receives the runs (runs/ROW_seedSEED), their evaluations, and after each of
them the table, ablation.md and ablation.json, of which `keras-dpn report DIR` makes a page.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from ..sweeps.definitions import SWEEPS, Sweep, read_sweep
from ..sweeps.definitions import override as with_overrides

# This process scores on the GPU on which the runs' own processes train: none takes all its memory.
_MEMORY_ON_DEMAND = {
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}

if TYPE_CHECKING:
    SweepName = str
else:
    SweepName = Literal[*SWEEPS]  # which mypy can't follow


def main(
    sweep: Positional[SweepName | Path],
    /,
    *,
    work_dir: Path,
    data_dir: Path | None = None,
    weights: str | None = None,
    seeds: tuple[int, ...] = (0,),
    split: str = "val",
    reuse: tuple[str, ...] = (),
    block_size: int = 1,
    override: tuple[str, ...] = (),
    devices: str = "all",
) -> None:
    """Train the rows of a sweep and compare them in one table.

    Args:
        sweep: a sweep by its name, or the JSON file of one.
        work_dir: receives the runs, their evaluations and the table.
        data_dir: directory of the dataset; generated ones need none.
        weights: initial weights, as for `keras-dpn train`.
        seeds: every row is trained once with each of these distinct seeds.
        split: split on which the rows are scored.
        reuse: rows that need no training, as ROW=RUN or ROW=RUN:STAGE; a run counts for its seed.
        block_size: resample blocks of N successive images, as `keras-dpn compare` does.
        override: fields to replace in all rows, each as FIELD=VALUE.
        devices: all, gpu:0,2 or cpu:2, as for `keras-dpn train`.
    """
    for name, value in _MEMORY_ON_DEMAND.items():
        os.environ.setdefault(name, value)
    from ..rundir.lock import lock_directory
    from ..sweeps.runner import SubprocessExecutor, read_reused, run
    from ..sweeps.table import table
    from ..utils.console import console

    rows = with_overrides(_find(str(sweep)), override)
    with lock_directory(work_dir):
        outcome = run(
            rows,
            work_dir,
            SubprocessExecutor(devices),
            seeds=seeds,
            split=split,
            data_dir=data_dir,
            weights=weights,
            reuse=read_reused(reuse, rows, seeds),
            block_size=block_size,
        )
    console().print(table(outcome.summary))
    print(f"written: {work_dir / 'ablation.md'}")
    outcome.raise_failures()


def _find(name: str) -> Sweep:
    """Return a sweep by its name, or read it from a file."""
    if name in SWEEPS:
        return SWEEPS[name]
    if not name.endswith(".json"):
        raise ValueError(
            f"{name}: expected a file *.json, or one of the sweeps {', '.join(SWEEPS)}."
        )
    return read_sweep(Path(name))
