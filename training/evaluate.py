"""Scores a trained model on one split of a data set.

    python -m training.evaluate --work-dir runs/demo --split val --stages

prints a table and writes RUN/evaluation_<split>.json.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from keras_dpn import inference, metrics
from training.cli import run
from training.configs.base import OUTPUTS
from training.data import Dataset, load_dataset
from training.workdir import CONFIG, RESULTS, load_classes, load_model, read_json, write_json

SCORES = {
    "miou": "mean IoU",
    "accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
}


def evaluate(
    model: keras.Model,
    dataset: Dataset,
    split: str,
    *,
    stages: Sequence[str] | None = None,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Scores every stage asked for in one pass over a split; images of any sizes.

    Args:
        model: logits (B, H, W, L) from RGB images.
        dataset: with the model's classes.
        split: one of the data set's.
        stages: names of the model's stages; by default its output alone, as "final".
        scales: as in `inference.predict_probabilities`.
        mirror: as in `inference.predict_probabilities`.
        progress: whether to show a progress bar.

    Returns:
        What the JSON file holds: "dataset", "split", "images", "scales", "mirror", and in "stages"
        for each stage "name", the `metrics.scores` and the "confusion" matrix, truth in rows.

    Raises:
        ValueError: for a split that is unknown or empty, unknown stages, labels beyond the
            classes, a model with another number of classes.
    """
    examples = dataset.examples(split)
    if not examples:
        raise ValueError(f"The split '{split}' of {dataset.name} has no images.")
    names = ("final",) if stages is None else inference.check_stages(model, stages)
    count = dataset.classes.num_classes
    confusions = {name: np.zeros((count, count), "int64") for name in names}
    for example in track(examples, f"evaluating {split}", disable=not progress):
        image, labels = dataset.read(example)
        if stages is None:
            found = {"final": inference.predict_probabilities(model, image, scales, mirror)}
        else:
            found = inference.stage_probabilities(model, image, names, scales, mirror)
        for name, probabilities in found.items():
            if probabilities.shape[-1] != count:
                received = probabilities.shape[-1]
                raise ValueError(
                    f"{dataset.name} has {count} classes, but the model answers with {received}."
                )
            predictions = inference.to_labels(probabilities)
            confusions[name] += metrics.confusion_matrix(
                labels, predictions, count, dataset.classes.ignore
            )
    return {
        "dataset": dataset.name,
        "split": split,
        "images": len(examples),
        "scales": list(scales),
        "mirror": mirror,
        "stages": [
            {"name": name, **metrics.scores(confusion), "confusion": confusion.tolist()}
            for name, confusion in confusions.items()
        ],
    }


def evaluate_each_stage(
    work_dir: Path,
    dataset: Dataset,
    split: str,
    *,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Scores the best model of every stage of a training run, each at its own stage's output.

    Args and Returns as in `evaluate`; "stages" has the names of the stages of training.

    Raises:
        ValueError: as `evaluate`, and if the run has no results yet.
    """
    found, stages = {}, []
    for stage in read_json(work_dir / RESULTS)["stages"]:
        name, model = stage["name"], load_model(work_dir, stage["name"])
        found = evaluate(
            model,
            dataset,
            split,
            stages=(OUTPUTS[name],),
            scales=scales,
            mirror=mirror,
            progress=progress,
        )
        stages.append({**found["stages"][0], "name": name})
    return {**found, "stages": stages}


def run_dataset(
    work_dir: Path, dataset: str | None = None, data_dir: Path | None = None
) -> Dataset:
    """The data set a run was trained on, or another one with the same classes.

    Args:
        work_dir: the run's directory.
        dataset: "scenes", "camvid" or "folder"; that of the run's config by default.
        data_dir: the data set's directory; that of the run's config for the run's own data set.

    Raises:
        ValueError: if the data set's classes are not the run's, and as `load_dataset`.
    """
    config = read_json(work_dir / CONFIG)
    trained = config["data"]
    name = dataset or trained["dataset"]
    if data_dir is None and name == trained["dataset"] and trained["data_dir"]:
        data_dir = Path(trained["data_dir"])
    found = load_dataset(name, data_dir, seed=config["seed"])  # the seed makes scenes
    expected = load_classes(work_dir).names
    if found.classes.names != expected:
        raise ValueError(
            f"The run in {work_dir} knows the classes {', '.join(expected)}; "
            f"{found.name} has {', '.join(found.classes.names)}."
        )
    return found


def score_table(evaluation: dict[str, Any], names: Sequence[str]) -> Table:
    """Per cent for each class (rows) and stage (columns), and the means."""
    images, split = evaluation["images"], evaluation["split"]
    table = Table(title=f"{evaluation['dataset']}, {images} images of {split}: IoU in %")
    table.add_column("class")
    stages = evaluation["stages"]
    for stage in stages:
        table.add_column(stage["name"], justify="right")
    for i, name in enumerate(names):
        table.add_row(name, *(_percent(stage["iou"][i]) for stage in stages))
    table.add_section()
    for key, title in SCORES.items():
        style = "bold" if key == "miou" else None
        table.add_row(title, *(_percent(stage[key]) for stage in stages), style=style)
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def main(
    *,
    work_dir: Path,
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: str = "val",
    stages: bool = False,
    each_stage: bool = False,
    scales: tuple[float, ...] = (1.0,),
    mirror: bool = False,
    out: Path | None = None,
) -> None:
    """Scores a trained model on one split and prints a table, classes by stages.

    Args:
        work_dir: directory of the training run.
        dataset: scenes, camvid or folder; that of the run by default.
        data_dir: directory of the data set; scenes needs none.
        split: train, val or test.
        stages: score the trained model after each of its parts, not only at the end.
        each_stage: score the best model of every stage of training instead.
        scales: factors at which each image is looked at; the probabilities are averaged.
        mirror: average with the mirrored image as well.
        out: JSON file to write; evaluation_SPLIT.json in the work directory by default.
    """
    data = run_dataset(work_dir, dataset, data_dir)
    options = {"scales": scales, "mirror": mirror, "progress": True}
    if each_stage:
        found = evaluate_each_stage(work_dir, data, split, **options)
    else:
        model = load_model(work_dir)
        chosen = inference.check_stages(model) if stages else None
        found = evaluate(model, data, split, stages=chosen, **options)
    out = out or work_dir / f"evaluation_{split}.json"
    write_json(out, found)
    console = Console()
    console.print(score_table(found, data.classes.names))
    console.print(f"written: {out}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
