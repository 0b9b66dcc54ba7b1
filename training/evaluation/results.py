"""Evaluations of training runs: their files, tables and datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from keras_dpn.classes import Classes
from keras_dpn.inference import InferenceSettings, Predictor, in_precision
from keras_dpn.presets.files import METADATA
from keras_dpn.presets.source import find, read_classes

from ..cli.options import Precision
from ..data.dataset import Dataset
from ..data.registry import load_dataset
from ..rundir.paths import (
    CONFIG,
    FLOW,
    RESULTS,
    load_classes,
    load_model,
    load_stages,
    read_json,
    write_atomically,
    write_json,
)
from .evaluator import evaluate

SCORES = {
    "miou": "mean IoU",
    "accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
}
OTHER_SCORES = {
    "tagging accuracy (TA)": ("objects", "ta"),
    "localisation accuracy (LA)": ("objects", "la"),
    "boundary accuracy (BA)": ("objects", "ba"),
    "calibration error (ECE)": ("calibration", "ece"),
    "temporal consistency": ("consistency", "miou"),
}


def evaluate_each_stage(
    work_dir: Path,
    dataset: Dataset,
    split: str,
    settings: InferenceSettings,
    *,
    crf: Mapping[str, Any] | None = None,
    precision: Precision = "float32",
    **options: Any,
) -> dict[str, Any]:
    """Score the best model of every stage of a training run, each at its own stage's output.

    Returns as `evaluate`, options as its; "stages" has the names of the stages of training.

    Raises:
        ValueError: as `evaluate`, and if the run has no results yet.
    """
    found, stages, confusions = {}, [], {}
    for stage in read_json(work_dir / RESULTS)["stages"]:
        name = stage["name"]
        model = load_model(work_dir, name)
        if precision != "float32":
            model = in_precision(model, precision)
        output = load_stages(work_dir)[name].output
        predictor = Predictor(model, settings, heads=(output,), crf=crf)
        found = evaluate(predictor, dataset, split, **options)
        for row in found["stages"]:
            title = name + row["name"].removeprefix(output)
            stages.append({**row, "name": title})
            confusions[title] = found["per_image"]["confusions"][row["name"]]
    per_image = {**found["per_image"], "confusions": confusions}
    return {**found, "stages": stages, "per_image": per_image}


def evaluation_file(work_dir: Path, split: str) -> Path:
    """Where a run's evaluation on a split lies."""
    return work_dir / f"evaluation_{split}.json"


def write_evaluation(path: Path, evaluation: Mapping[str, Any]) -> None:
    """Write an evaluation as JSON, and what was counted in each image beside it, as .npz."""
    per_image = evaluation["per_image"]
    arrays = {"names": np.array(per_image["names"]), **per_image["confusions"]}
    write_atomically(
        path.with_suffix(".npz"), lambda temporary: np.savez_compressed(temporary, **arrays)
    )
    write_json(path, {key: value for key, value in evaluation.items() if key != "per_image"})


def run_dataset(
    work_dir: Path, dataset: str | None = None, data_dir: Path | None = None
) -> Dataset:
    """The data set a run was trained on, or another one with the same classes.

    Args:
        work_dir: the run's directory.
        dataset: one of `training.data.NAMES`; that of the run's config by default.
        data_dir: the data set's directory; that of the run's config for the run's own data set.

    Raises:
        ValueError: if the data set's classes are not the run's, and as `load_dataset`.
    """
    config = read_json(work_dir / CONFIG)
    trained = config["data"]
    name = dataset or trained["dataset"]
    if data_dir is None and name == trained["dataset"] and trained["data_dir"]:
        data_dir = Path(trained["data_dir"])
    flow_dir = Path(trained.get("flow_dir") or work_dir / FLOW)
    # The seed makes scenes.
    found = load_dataset(name, data_dir, seed=config["seed"], flow_dir=flow_dir)
    _check_classes(work_dir, load_classes(work_dir), found)
    return found


def find_run(sources: Sequence[str]) -> Path | None:
    """The directory of the first source, if that is a training run; None if it is a preset.

    Args:
        sources: training runs and presets, as `Segmenter.from_preset` takes them.

    Raises:
        ValueError: without a source, and for one that is neither.
    """
    if not sources:
        raise ValueError("Expected a training run or a preset: give --work-dir, once or more.")
    directory = Path(sources[0])
    if (directory / CONFIG).is_file() and not (directory / METADATA).is_file():
        return directory
    find(sources[0])
    return None


def source_dataset(
    sources: Sequence[str], dataset: str | None = None, data_dir: Path | None = None
) -> Dataset:
    """The dataset to apply the first of some training runs or presets to.

    Args:
        sources: as in `find_run`.
        dataset: as in `run_dataset`; a preset names none, so that it needs one.
        data_dir: as in `run_dataset`.

    Raises:
        ValueError: as `find_run` and `run_dataset`, and for a preset without a dataset.
    """
    work_dir = find_run(sources)
    if work_dir is not None:
        return run_dataset(work_dir, dataset, data_dir)
    preset = sources[0]
    if dataset is None:
        raise ValueError(f"{preset}: a preset names no dataset; give --dataset and --data-dir.")
    found = load_dataset(dataset, data_dir)
    _check_classes(preset, read_classes(find(preset)), found)
    return found


def _check_classes(source: str | Path, classes: Classes | None, dataset: Dataset) -> None:
    if classes is not None and classes.names != dataset.classes.names:
        raise ValueError(
            f"{source} knows the classes {', '.join(classes.names)}; "
            f"{dataset.name} has {', '.join(dataset.classes.names)}."
        )


def score_table(evaluation: dict[str, Any], names: Sequence[str]) -> Table:
    """Per cent for each class (rows) and stage (columns), and the means."""
    images, split, official = (evaluation[key] for key in ("images", "split", "official"))
    of_how_many = f" of {official}" if official not in (None, images) else ""
    title = f"{evaluation['dataset']}, {images}{of_how_many} images of {split}: IoU in %"
    stages = evaluation["stages"]
    table = Table(title=title, caption=score_definitions(stages[0]))
    table.add_column("class")
    for stage in stages:
        table.add_column(stage["name"], justify="right")
    for i, name in enumerate(names):
        table.add_row(name, *(_percent(stage["iou"][i]) for stage in stages))
    table.add_section()
    for key, title in SCORES.items():
        style = "bold" if key == "miou" else None
        table.add_row(title, *(_percent(stage[key]) for stage in stages), style=style)
    table.add_section()
    for title, (group, key) in OTHER_SCORES.items():
        if any(group in stage for stage in stages):
            table.add_row(title, *(_percent(stage.get(group, {}).get(key)) for stage in stages))
    return table


def score_definitions(stage: Mapping[str, Any]) -> str:
    """What TA, LA, BA and ECE of a stage are, with the parameters that they were counted with."""
    objects, bins = stage["objects"], len(stage["calibration"]["pixels"])
    return (
        "TA, LA, BA: a class in an image is one object; LA: IoU of boxes; BA: boundaries within "
        f"{objects['boundary_tolerance']:.2%} of the diagonal, where that IoU is "
        f"{objects['box_threshold']:g} or more; ECE: {bins} bins"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
