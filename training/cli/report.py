"""Writes one self-contained page about a training run, about several side by side, or a sweep.

    python -m training.report runs/demo
    python -m training.report runs/static runs/linked --out compared.html
    python -m training.report DIR_OF_AN_ABLATION

writes tables, pictures, contexts and curves, in one file that needs no network. The pictures are
the best, the worst and the most changed ones where `python -m training.evaluate` has scored each,
which is also what it takes to say whether the difference between two runs is more than chance.
"""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional


def main(
    work_dirs: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN ...")],
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: str | None = None,
    examples: int = 6,
    block: int = 1,
    out: Path | None = None,
) -> None:
    """Writes one self-contained HTML page about a finished training run, several, or a sweep.

    Args:
        work_dirs: directories of the training runs, or the one that training.ablate has filled.
        dataset: one of `training.data.NAMES`; that of the (first) run by default.
        data_dir: directory of the data set; those that are generated need none.
        split: where the pictures are from: train, val or test; by default one on which
            training.evaluate has scored every picture, else val.
        examples: how many pictures; 0 for none, where those of the data set must not go round.
        block: to compare runs, draw so many successive images together, as training.compare.
        out: file to write; by default report.html in the run's directory, comparison.html in that
            of the first of several, or ablation.html.
    """
    import logging

    from ..rundir.dataset import run_dataset
    from ..reporting import ablation
    from ..reporting.page import _is_ablation, write_report

    if not work_dirs:
        raise ValueError("Expected a training run: name the directory of one or several.")
    # TensorFlow takes the stages' models for one function that is traced anew each time.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    first = work_dirs[0]
    if _is_ablation(work_dirs):
        first = ablation.read_ablation(first).rows[0].run
    data = run_dataset(first, dataset, data_dir)
    options = {"split": split, "examples": examples, "block": block, "out": out}
    print(write_report(work_dirs, data, **options))
