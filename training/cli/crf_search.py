"""Searches the settings of a fully connected CRF that suit a trained model best.

    python -m training.crf_search --work-dir runs/demo --split val --images 100

goes from coarse to fine over the weight w1 and the widths sigma_alpha and sigma_beta of the
bilateral kernel (DeepLab v1, section 5). It writes RUN/crf.json, which `training.evaluate --crf`
and `MeanFieldCRF(**settings)` read, all scores as RUN/crf_search.json, and a heat map beside it.
What the network answers and how each setting scores is kept: a stopped search goes on.
"""

from pathlib import Path
from typing import Literal


def main(
    *,
    work_dir: Path,
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: str = "val",
    images: int = 100,
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
    """Searches the fully connected CRF that suits a trained model best and writes crf.json.

    Each setting takes as long as the CRF on all images; the coarse grid has 27 settings, the
    paper's 288, and each round adds 26. A search that was stopped goes on where it was.

    Args:
        work_dir: directory of the training run; receives crf.json, crf_search.json, crf_search.png
            and, in crf_search/, the network's answers.
        dataset: one of `training.data.NAMES`; that of the run by default.
        data_dir: directory of the data set; scenes needs none.
        split: train or val.
        images: how many images, evenly spaced over the split.
        stage: take the best model of this stage of training, at its output, not the final model.
        grid: the values to start with: few and far between, or those of the DeepLab paper.
        w1: weights of the bilateral kernel, instead of the grid's.
        sigma_alpha: its widths in pixels, instead of the grid's.
        sigma_beta: its widths in steps of 0 to 255, instead of the grid's.
        rounds: how often to go on with half the steps around the best setting.
        w2: weight of the spatial kernel.
        sigma_gamma: its width in pixels.
        num_iterations: mean-field iterations.
    """
    import functools
    import logging

    from keras_dpn import viz

    from ..analysis.crf_search import keep_answers, predict_head, search, starting_axes
    from ..configs.crf import check_crf
    from ..evaluation.results import run_dataset
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
    data = run_dataset(work_dir, dataset, data_dir)
    source = (work_dir if stage is None else stage_dir(work_dir, stage)) / MODEL
    load = functools.partial(predict_head, work_dir, stage)
    folder = work_dir / "crf_search" / (stage or "final")
    files = keep_answers(data, split, images, folder, source, load)
    path = work_dir / "crf_search.json"
    about = {"dataset": data.name, "split": split, "stage": stage}
    record = search(files, data.classes, path, axes=axes, rounds=rounds, fixed=fixed, about=about)
    best, baseline = record["best"], record["baseline"]["miou"]
    write_json(work_dir / "crf.json", {**fixed, "bilateral": best["bilateral"]})
    tried = [(row["bilateral"], row["miou"]) for row in record["settings"]]
    content = viz.figure_png(viz.plot_crf_search(tried, baseline))
    picture = path.with_suffix(".png")
    write_atomically(picture, lambda temporary: temporary.write_bytes(content))
    print(f"mean IoU on {len(files)} images of {split}: {100 * baseline:.2f}% without a CRF")
    weight, alpha, beta = best["bilateral"]
    print(f"{100 * best['miou']:.2f}% at w1 {weight:g}, sigma_alpha {alpha:g}, sigma_beta {beta:g}")
    print(f"written: {work_dir / 'crf.json'}, {path}, {picture}")
