"""Scores a trained model on one split of a data set.

    python -m training.evaluate --work-dir runs/demo --split val --stages

prints a table and writes RUN/evaluation_<split>.json, and beside it what was counted in each image,
evaluation_<split>.npz, for `python -m training.compare`. `--crf RUN/crf.json` scores each stage
with a fully connected CRF as well, `--trimap` adds scores along the outlines of things, with a
plot. Networks for clips, and others with `--consistency`, are shown whole sequences, and the
temporal consistency of their labels is scored too. Several runs are averaged:

    python -m training.evaluate --work-dir RUN --work-dir RUN2 --mirror --out both.json
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from .options import Precision, Sources


def main(
    *,
    work_dir: Sources,
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: str = "val",
    stages: tuple[str, ...] | None = None,
    each_stage: bool = False,
    scales: tuple[float, ...] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    memory: float | None = None,
    precision: Precision = "float32",
    crf: Path | None = None,
    trimap: bool = False,
    trimap_around: Literal["void", "boundary"] = "void",
    consistency: bool = False,
    box_threshold: float = 0.5,
    boundary_tolerance: float = 0.0075,
    calibration_bins: int = 15,
    out: Path | None = None,
) -> None:
    """Scores a trained model on one split and prints a table, classes by stages.

    Args:
        work_dir: directory of the training run, or a preset; given several times, the
            probabilities are averaged. Images are scored in their own size.
        dataset: one of `training.data.NAMES`; that of the (first) run by default.
        data_dir: directory of the data set; scenes needs none.
        split: train, val or test.
        stages: score the trained model after each of its parts, not only at the end; or after those
            that are named, of PiecewiseCRF also unary+above and the like.
        each_stage: score the best model of every stage of training instead.
        scales: factors at which each image is looked at; the probabilities are averaged.
        mirror: average with the mirrored image as well.
        tile: look at larger images in overlapping tiles of this side in pixels, a multiple of 32
            from 512 up; by default all images are looked at as a whole.
        memory: choose the tile so that a pass takes no more than so many GiB.
        precision: what the network computes in.
        crf: JSON file with a fully connected CRF's settings, as training.crf_search writes it; each
            stage is then scored without and with it.
        trimap: also score bands of 1 to 40 pixels along the outlines of things, and draw the
            curves as OUT_trimap.png beside the JSON file.
        trimap_around: what the bands lie around: void, or boundary, for data with little void.
        consistency: also score how far the labels of neighbouring frames agree along the optical
            flow; networks for clips always do.
        box_threshold: IoU from which on the box of a class counts as localised, for BA.
        boundary_tolerance: how far a boundary may be off, as a share of the image's diagonal.
        calibration_bins: intervals of confidence, for ECE.
        out: JSON file to write, with an .npz file beside it; evaluation_SPLIT.json in the work
            directory by default.
    """
    from rich.console import Console

    from keras_dpn import viz
    from keras_dpn.inference import InferenceSettings, Predictor
    from keras_dpn.inference.loading import load_trained

    from ..configs.crf import read_crf
    from ..evaluation.evaluator import evaluate, evaluate_per_stage
    from ..evaluation.metrics import MetricSettings
    from ..evaluation.tables import score_table
    from ..rundir.dataset import find_run, source_dataset
    from ..rundir.paths import evaluation_file, write_atomically

    is_one_run = find_run(work_dir) is not None and len(work_dir) == 1
    if out is None and not is_one_run:
        raise ValueError("A preset or several runs: name the file to write with --out.")
    if each_stage and not is_one_run:
        raise ValueError("--each-stage: expected one training run, received a preset or several.")
    crf_settings = read_crf(crf) if crf else None
    data = source_dataset(work_dir, dataset, data_dir)
    settings = MetricSettings(
        trimap=trimap_around if trimap else None,
        consistency=consistency,
        box_threshold=box_threshold,
        boundary_tolerance=boundary_tolerance,
        calibration_bins=calibration_bins,
    )
    inference = InferenceSettings(
        scales=scales, horizontal_flip=mirror, tile=tile, memory_gib=memory
    )
    if each_stage:
        evaluation = evaluate_per_stage(
            Path(work_dir[0]),
            data,
            split,
            inference,
            settings,
            crf=crf_settings,
            precision=precision,
            show_progress=True,
        )
    else:
        networks = load_trained(work_dir, precision).models
        heads = None if stages is None else stages or "all"
        predictor = Predictor(networks, inference, heads=heads, crf=crf_settings)
        evaluation = evaluate(predictor, data, split, settings, show_progress=True)
        evaluation = replace(evaluation, precision=precision)
    out = out or evaluation_file(Path(work_dir[0]), split)
    evaluation.save(out)
    console = Console()
    console.print(score_table(evaluation, data.classes.names))
    console.print(f"written: {out}", soft_wrap=True)
    if trimap:
        image = out.with_name(f"{out.stem}_trimap.png")
        curves = {head.name: head.trimap.miou for head in evaluation.heads if head.trimap}
        content = viz.figure_png(viz.plot_trimap(curves, trimap_around))
        write_atomically(image, lambda temporary: temporary.write_bytes(content))
        console.print(f"written: {image}", soft_wrap=True)
