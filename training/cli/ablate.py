"""Train the rows of a sweep and compare them in one table.

    keras-dpn ablate dpn_windows_scenes --work-dir DIR --seeds 0 1 2
    keras-dpn ablate networks_camvid --work-dir DIR --data-dir CAMVID --reuse joint=RUN2

What the rows have in common at their beginning is trained once; after an interruption the same
command continues. DIR receives the runs (runs/ROW_seedSEED), their evaluations, and after each of
them the table, ablation.md and ablation.json, of which `keras-dpn report DIR` makes a page.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from ..sweeps.definitions import SWEEPS

if TYPE_CHECKING:
    SweepName = str
else:
    SweepName = Literal[*SWEEPS]  # which mypy can't follow


def main(
    sweep: Positional[SweepName],
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
        devices: all, gpu:0,2 or cpu:2, as for `keras-dpn train`.
    """
    from ..sweeps.runner import SubprocessExecutor, read_reused, run
    from ..sweeps.table import table
    from ..utils.console import console

    rows = SWEEPS[sweep]
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
