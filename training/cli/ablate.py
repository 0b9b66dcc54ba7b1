"""Train the rows of a sweep and compare them in one table.

    keras-dpn ablate dpn_windows_scenes --work-dir DIR --seeds 0 1 2
    keras-dpn ablate networks_camvid --work-dir DIR --data-dir CAMVID --reuse joint=RUN2

What the rows have in common at their beginning is trained once; after an interruption the same
command continues. DIR receives the runs (runs/ROW_seedSEED), their evaluations, and after each of
them the table, ablation.md and ablation.json, of which `keras-dpn report DIR` makes a page.
"""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ..sweeps.definitions import SWEEPS


def main(
    sweep: Positional[Literal[*SWEEPS]],
    /,
    *,
    work_dir: Path,
    data_dir: Path | None = None,
    weights: str | None = None,
    seeds: tuple[int, ...] = (0,),
    split: str = "val",
    reuse: tuple[str, ...] = (),
    block_size: int = 1,
    devices: str = "all",
) -> None:
    """Train the rows of a sweep and compare them in one table.

    Args:
        sweep: which rows.
        work_dir: receives the runs, their evaluations and the table.
        data_dir: directory of the dataset; generated ones need none.
        weights: what fills the networks first, as for `keras-dpn train`.
        seeds: each row is trained with each of them.
        split: the rows are scored on.
        reuse: rows that have a run already, each for its own seed, as ROW=RUN or ROW=RUN:STAGE.
        block_size: resample blocks of N successive images, as `keras-dpn compare`.
        devices: all, or cpu:2, as for `keras-dpn train`.
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
        trained=read_trained(reuse, rows, seeds),
        block=block_size,
        devices=devices,
    )
