"""Search the settings of a fully connected CRF that suit a trained network best.

    keras-dpn crf-search runs/demo --split val --num-images 100

Searches from coarse to fine over the weight w1 and the widths sigma_alpha and sigma_beta of the
bilateral kernel (DeepLab v1, section 5). Writes RUN/crf.json, which `keras-dpn evaluate --crf` and
`MeanFieldCRF(**settings)` read, all scores as RUN/crf_search.json, and a heat map next to it. Each
setting takes as long as the CRF on all images; the coarse grid has 27 settings, the paper's 288,
and each round adds 26. The network's predictions and the scores are kept, so that an interrupted
search continues.
"""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

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
) -> None:
    """Search the fully connected CRF that suits a trained network best and write crf.json.

    Args:
        run: directory of the training run; receives crf.json, crf_search.json, crf_search.png and,
            in crf_search/, the network's predictions.
        data: the dataset.
        num_images: how many images, evenly spaced over the split.
        stage: take the best model of this stage of training instead of the final one.
        grid: the values to start with: a few, or those of the DeepLab paper.
        w1: weights of the bilateral kernel, instead of the grid's.
        sigma_alpha: its widths in pixels, instead of the grid's.
        sigma_beta: its widths in intensity levels of 0 to 255, instead of the grid's.
        rounds: how often to continue with half the steps around the best setting.
        w2: weight of the spatial kernel.
        sigma_gamma: its width in pixels.
        num_iterations: mean-field iterations.
    """
    import functools
    import logging

    from keras_dpn import viz

    from ..analysis.crf_search import keep_answers, predict_head, search, starting_axes
    from ..configs.crf import check_crf
    from ..rundir.dataset import run_dataset
    from ..rundir.paths import (
        MODEL,
        stage_dir,
        write_atomically,
        write_json,
    )

    # TensorFlow takes the CRFs of all settings for one function that is traced anew each time.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    axes = starting_axes(grid, w1, sigma_alpha, sigma_beta)
    fixed = {"num_iterations": num_iterations, "spatial": [w2, sigma_gamma]}
    check_crf(fixed)
    if rounds < 0:
        raise ValueError(f"Invalid value for argument `rounds`: expected 0 or more, not {rounds}.")
    dataset = run_dataset(run, data.dataset, data.data_dir)
    source = (run if stage is None else stage_dir(run, stage)) / MODEL
    load = functools.partial(predict_head, run, stage)
    folder = run / "crf_search" / (stage or "final")
    files = keep_answers(dataset, data.split, num_images, folder, source, load)
    path = run / "crf_search.json"
    about = {"dataset": dataset.name, "split": data.split, "stage": stage}
    record = search(
        files, dataset.classes, path, axes=axes, rounds=rounds, fixed=fixed, about=about
    )
    best, baseline = record["best"], record["baseline"]["miou"]
    write_json(run / "crf.json", {**fixed, "bilateral": best["bilateral"]})
    tried = [(row["bilateral"], row["miou"]) for row in record["settings"]]
    content = viz.figure_png(viz.plot_crf_search(tried, baseline))
    picture = path.with_suffix(".png")
    write_atomically(picture, lambda temporary: temporary.write_bytes(content))
    print(f"{len(files)} images of {data.split}: mean IoU {100 * baseline:.2f}% without a CRF")
    weight, alpha, beta = best["bilateral"]
    found = f"{100 * best['miou']:.2f}%"
    print(f"{found} at w1 {weight:g}, sigma_alpha {alpha:g}, sigma_beta {beta:g}")
    print(f"written: {run / 'crf.json'}, {path}, {picture}")
