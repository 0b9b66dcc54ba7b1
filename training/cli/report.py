"""Write one self-contained HTML page about a training run, several runs, or a sweep.

    keras-dpn report runs/demo
    keras-dpn report runs/static runs/linked --out compared.html
    keras-dpn report DIRECTORY_OF_AN_ABLATION

The page has tables, images, label contexts and curves, and needs no network connection. Where
`keras-dpn evaluate` has scored every image, it shows the best, the worst and the most changed ones
and says whether the difference between two runs is more than chance.
"""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional


def main(
    runs: Annotated[
        Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="RUN ...", help_behavior_hint="(required)"),
    ],
    /,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: str | None = None,
    num_images: int = 6,
    block_size: int = 1,
    out: Path | None = None,
    force: bool = False,
) -> None:
    """Write one self-contained HTML page about a finished training run, several, or a sweep.

    Args:
        runs: directories of training runs, or the directory of `keras-dpn ablate`.
        dataset: name of the dataset; by default that of the (first) run.
        data_dir: directory of the dataset; by default that of the (first) run.
        split: split of the images: train, val or test; by default one on which `keras-dpn
            evaluate` has scored every image, else the one that the (first) run was validated on.
        num_images: how many images; 0 for none, where the dataset's must not be passed on.
        block_size: resample blocks of N successive images, as `keras-dpn compare` does.
        out: file to write; by default report.html in the directory of the run, comparison.html in
            that of the first of several, or ablation.html.
        force: replace a file that is no report of this command.
    """
    import logging

    from ..reporting.page import first_run, write_report
    from ..rundir.dataset import run_dataset

    # TensorFlow takes the heads' models for one function that is traced again each time.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    data = run_dataset(first_run(runs), dataset, data_dir)
    page = write_report(
        runs,
        data,
        split=split,
        num_images=num_images,
        block_size=block_size,
        out=out,
        force=force,
    )
    print(page)
