"""Search the settings of a fully connected CRF that suit a trained network best.

    keras-dpn crf-search runs/demo --split val --num-images 100

Searches from coarse to fine over the weight w1 and the widths sigma_alpha and sigma_beta of the
bilateral kernel (DeepLab v1, section 5). Writes RUN/crf.json, which `keras-dpn evaluate --crf` and
`MeanFieldCRF(**settings)` read, all scores as RUN/crf_search.json, and a heat map next to it. Each
setting takes as long as the CRF on all images; the coarse grid has 27 settings, the paper's 288,
and each round adds up to 26. The network's predictions and the scores are kept, so that the same
command continues an interrupted search.
"""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from ..utils.counts import counted
from .options import Dataset, DatasetOptions


def main(
    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")],
    /,
    *,
    data: Dataset = DatasetOptions(),
    num_images: int = 100,
    stage: str | None = None,
    grid: Literal["coarse", "paper"] = "coarse",
    w1: tuple[float, ...] = (),
    sigma_alpha: tuple[float, ...] = (),
    sigma_beta: tuple[float, ...] = (),
    rounds: int = 2,
    w2: float = 3.0,
    sigma_gamma: float = 3.0,
    num_iterations: int = 10,
    force: bool = False,
) -> None:
    """Search the fully connected CRF that suits a trained network best and write crf.json.

    Args:
        run: directory of the training run; receives crf.json, crf_search.json, crf_search.png and,
            in crf_search/, the network's predictions.
        data: the dataset.
        num_images: number of images, evenly spaced over the split.
        stage: take the best model of this stage of training instead of the final one.
        grid: the values to start with: a few, or those of the DeepLab paper.
        w1: weights of the bilateral kernel, instead of the grid's.
        sigma_alpha: widths of the bilateral kernel in pixels, instead of the grid's.
        sigma_beta: widths of the bilateral kernel in intensity levels of 0 to 255, instead of the
            grid's.
        rounds: how often to search again around the best setting, with half the steps.
        w2: weight of the spatial kernel.
        sigma_gamma: width of the spatial kernel in pixels.
        num_iterations: mean-field iterations of the CRF.
        force: replace a crf.json that no search wrote.
    """
    import logging

    from ..analysis.crf_grid import starting_axes
    from ..analysis.crf_search import search_run
    from ..configs.crf import check_crf
    from ..rundir.dataset import run_dataset

    # TensorFlow takes the CRFs of all settings for one function that is traced again each time.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    axes = starting_axes(grid, w1, sigma_alpha, sigma_beta)
    fixed = {"num_iterations": num_iterations, "spatial": [w2, sigma_gamma]}
    check_crf(fixed)
    if rounds < 0:
        raise ValueError(f"Invalid value for argument `rounds`: expected 0 or more, not {rounds}.")
    result = search_run(
        run,
        run_dataset(run, data.dataset, data.data_dir),
        data.split,
        stage=stage,
        num_images=num_images,
        axes=axes,
        rounds=rounds,
        fixed=fixed,
        force=force,
    )
    record = result.record
    print(f"{counted(record.conditions.num_images, 'image')} of {data.split}: {record.baseline}")
    print(f"best setting: {record.best}")
    print(f"written: {', '.join(map(str, result.files))}")
