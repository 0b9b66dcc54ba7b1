"""Trains the rows of a sweep and compares them in one table.

    python -m training.ablate dpn_windows_scenes --work-dir DIR --seeds 0 1 2

What rows begin with alike is trained once; stopped, the same command carries on. DIR receives the
runs (runs/ROW_seedSEED), their evaluations, and after each of them the table, ablation.md and
ablation.json, of which `python -m training.report DIR` makes a page. Runs that are there already
stand for rows, each for its own seed:

    keras-dpn ablate networks_camvid --work-dir DIR --data-dir CAMVID --reuse joint=RUN2

Sweeps: training/configs/sweeps.
"""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ..sweeps.definitions import SWEEPS


def main(
    sweep: Positional[Literal[*SWEEPS]],
    *,
    work_dir: Path,
    data_dir: Path | None = None,
    weights: str | None = None,
    seeds: tuple[int, ...] = (0,),
    split: str = "val",
    trained: tuple[str, ...] = (),
    block: int = 1,
    devices: str = "all",
) -> None:
    """Trains the rows of a sweep and compares them in one table.

    Args:
        sweep: one of training/configs/sweeps.
        work_dir: receives the runs, their evaluations and the table.
        data_dir: directory of the data set; those that are generated need none.
        weights: what fills the networks first, as for training.train.
        seeds: each row is trained with each of them.
        split: the rows are scored on.
        trained: rows that have a run already, as ROW=RUN or ROW=RUN:STAGE.
        block: of the bootstrap: draw so many successive images together.
        devices: all, or cpu:2, as for training.train.
    """
    from ..sweeps.runner import ablate, read_trained

    rows = SWEEPS[sweep]
    ablate(
        rows,
        work_dir,
        seeds=seeds,
        split=split,
        data_dir=data_dir,
        weights=weights,
        trained=read_trained(trained, rows, seeds),
        block=block,
        devices=devices,
    )
