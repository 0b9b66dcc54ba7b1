"""Score trained networks on one split of a dataset.

    keras-dpn evaluate runs/demo --split val --heads
    keras-dpn evaluate runs/a runs/b --horizontal-flip --out both.json

Prints a table and writes RUN/evaluation_SPLIT.json and, with the counts of each image for
`keras-dpn compare`, evaluation_SPLIT.npz. Networks for clips, and others with --consistency, see
whole sequences; the temporal consistency of their labels is scored, too.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from .options import Dataset, DatasetOptions, Inference, InferenceOptions, Runs


def main(
    runs: Runs,
    /,
    *,
    data: Dataset = DatasetOptions(),
    inference: Inference = InferenceOptions(),
    heads: tuple[str, ...] | None = None,
    per_stage: bool = False,
    num_iterations: tuple[int, ...] = (),
    trimap: bool = False,
    trimap_boundary: Literal["void", "boundary"] = "void",
    consistency: bool = False,
    box_threshold: float = 0.5,
    boundary_tolerance: float = 0.0075,
    calibration_bins: int = 15,
    out: Path | None = None,
    force: bool = False,
) -> None:
    """Score trained networks on one split and print a table, classes by heads.

    Args:
        runs: directories of training runs, or presets; the probabilities of several are averaged.
            Images are scored at their own size.
        data: the dataset.
        inference: how images are labelled; with --crf each head is scored without and with it.
        heads: score every head of the network, not only the last; or only the heads that are named,
            for PiecewiseCRF also combinations such as unary+above.
        per_stage: score the best model of every stage of training instead.
        num_iterations: score the network with these numbers of mean-field updates instead, such as
            1 2 5 10, and draw the mean IoU over them as OUT_iterations.png.
        trimap: also score bands of 1 to 40 pixels along the outlines of objects, and draw the
            curves as OUT_trimap.png next to the JSON file.
        trimap_boundary: what the bands surround: void pixels, or class boundaries, for datasets
            with little void.
        consistency: also score how far the labels of neighbouring frames agree along the optical
            flow; networks for clips always do.
        box_threshold: smallest IoU at which the box of a class counts as localised, for the
            boundary accuracy (BA).
        boundary_tolerance: largest distance between boundaries that counts as a match, as a
            fraction of the image's diagonal.
        calibration_bins: intervals of confidence, for the expected calibration error (ECE).
        out: file to write, NAME.json; by default evaluation_SPLIT.json in the directory of a single
            run.
        force: replace files that are no evaluation of this command.
    """
    from keras_dpn import viz
    from keras_dpn.inference import Predictor
    from keras_dpn.inference.loading import load_trained

    from ..evaluation.evaluator import evaluate, evaluate_per_iteration, evaluate_per_stage
    from ..evaluation.metrics import MetricSettings
    from ..evaluation.results import is_evaluation_file
    from ..evaluation.tables import score_table
    from ..rundir.dataset import find_run, source_dataset
    from ..rundir.outputs import replacing
    from ..rundir.paths import evaluation_file
    from ..utils.console import console
    from ..utils.files import write_bytes

    is_one_run = find_run(runs) is not None and len(runs) == 1
    if out is None and not is_one_run:
        raise ValueError("A preset or several runs: name the file to write with --out.")
    if out is not None and out.suffix != ".json":
        raise ValueError(f"--out: expected a name that ends in .json, received {out}.")
    if per_stage and not is_one_run:
        raise ValueError("--per-stage: expected one training run, received a preset or several.")
    excluded = per_stage or heads is not None or len(runs) > 1
    if num_iterations and (excluded or min(num_iterations) < 1):
        raise ValueError(
            "--num-iterations: expected numbers from 1, with one network and without --per-stage "
            f"and --heads, received {num_iterations}."
        )
    crf = inference.crf_settings()
    dataset = source_dataset(runs, data.dataset, data.data_dir)
    settings = MetricSettings(
        trimap=trimap_boundary if trimap else None,
        consistency=consistency,
        box_threshold=box_threshold,
        boundary_tolerance=boundary_tolerance,
        calibration_bins=calibration_bins,
    )
    precision = inference.precision
    out = out or evaluation_file(Path(runs[0]), data.split)
    plot = out.with_name(f"{out.stem}_trimap.png")
    iterations_plot = out.with_name(f"{out.stem}_iterations.png")
    plots = [plot] * trimap + [iterations_plot] * bool(num_iterations)
    targets = [out, out.with_suffix(".npz"), *plots]
    with replacing(*targets, command="evaluate", force=force, recognizes=is_evaluation_file):
        if per_stage:
            evaluation = evaluate_per_stage(
                Path(runs[0]),
                dataset,
                data.split,
                inference.settings(),
                settings,
                crf=crf,
                precision=precision,
                show_progress=True,
            )
        elif num_iterations:
            evaluation = evaluate_per_iteration(
                runs[0],
                num_iterations,
                dataset,
                data.split,
                inference.settings(),
                settings,
                crf=crf,
                precision=precision,
                show_progress=True,
            )
        else:
            networks = load_trained(runs, precision).models
            chosen = None if heads is None else heads or "all"
            predictor = Predictor(networks, inference.settings(), heads=chosen, crf=crf)
            evaluation = evaluate(predictor, dataset, data.split, settings, show_progress=True)
            evaluation = replace(evaluation, precision=precision)
        evaluation.save(out)
        output = console()
        output.print(score_table(evaluation, dataset.classes.names))
        output.print(f"written: {out}", soft_wrap=True)
        if trimap:
            curves = {head.name: head.trimap.miou for head in evaluation.heads if head.trimap}
            content = viz.figure_png(viz.plot_trimap(curves, trimap_boundary))
            write_bytes(plot, content)
            output.print(f"written: {plot}", soft_wrap=True)
        if num_iterations:
            scores: dict[str, list[float | None]] = {}
            for head in evaluation.heads:
                curve = "and a dense CRF" if "+" in head.name else "the network"
                scores.setdefault(curve, []).append(head.miou)
            figure = viz.plot_iterations(num_iterations, scores)
            write_bytes(iterations_plot, viz.figure_png(figure))
            output.print(f"written: {iterations_plot}", soft_wrap=True)
