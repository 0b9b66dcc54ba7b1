"""Scores a trained model on one split of a data set.

    python -m training.evaluate --work-dir runs/demo --split val --stages

prints a table and writes RUN/evaluation_<split>.json, and beside it what was counted in each image,
evaluation_<split>.npz, for `python -m training.compare`. `--crf RUN/crf.json` scores each stage
with a fully connected CRF as well, `--trimap` adds scores along the outlines of things, with a
plot. Networks for clips, and others with `--consistency`, are shown whole sequences, and the
temporal consistency of their labels is scored too.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from keras_dpn import inference, metrics, models, viz
from keras_dpn.crf import refine
from training.cli import run
from training.crf_settings import read_crf
from training.data import ClipDataset, Dataset, Example, load_dataset
from training.workdir import (
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

SCORES = {
    "miou": "mean IoU",
    "accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "frequency_weighted_iou": "frequency-weighted IoU",
}
TRIMAP_WIDTH = 40  # pixels, of the widest band: DeepLab v1's Fig. 5

Link = tuple[np.ndarray, np.ndarray]


def evaluate(
    model: keras.Model,
    dataset: Dataset,
    split: str,
    *,
    stages: Sequence[str] | None = None,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    crf: Mapping[str, Any] | None = None,
    trimap: Literal["void", "boundary"] | None = None,
    consistency: bool = False,
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
        crf: keyword arguments of `crf.refine`; a stage "final+crf" follows the stage "final" then.
        trimap: score bands of 1 to 40 pixels around the "void" or a "boundary" too, as
            `metrics.trimap_distance` draws them.
        consistency: score how far the labels of neighbouring frames agree along the optical flow
            too (`metrics.temporal_confusion`); networks for clips always do.
        progress: whether to show a progress bar.

    Returns:
        "dataset", "split", "images", "scales", "mirror", "crf", and in
        "stages" for each stage "name", the `metrics.scores`, the "confusion" matrix, truth in rows,
        and on request "trimap": "around", "widths", and for each width "miou" and "accuracy", and
        "consistency": "miou" and the number of "pixels" compared. All of this goes into the JSON
        file. "per_image" has the images' "names" and the "confusions" of each stage, an int array
        (images, L, L).

    Raises:
        ValueError: for a split that is unknown or empty, unknown stages, labels beyond the
            classes, a model with another number of classes; and where clips are needed, for a data
            set that has none, or scales and mirroring.
    """
    examples = dataset.examples(split)
    if not examples:
        raise ValueError(f"The split '{split}' of {dataset.name} has no images.")
    consistency = consistency or isinstance(model, models.SpatialTemporalDPN)
    scales = tuple(scales)
    if not consistency:
        predictions = _predict_pictures(model, dataset, examples, stages, scales, mirror, progress)
    elif scales == (1.0,) and not mirror:
        predictions = _predict_sequences(model, dataset, split, stages, progress)
    else:
        raise ValueError("Sequences are looked at as they are: leave out scales and mirroring.")
    tallies: dict[str, _Tally] = {}
    names = []
    for seen in predictions:
        if seen.labels is not None:
            names.append(seen.name)
        for name, probabilities in _with_crf(seen.found, seen.image, crf):
            if name not in tallies:
                tallies[name] = _Tally(dataset, trimap)
            tallies[name].add(seen, probabilities)
    return {
        "dataset": dataset.name,
        "split": split,
        "images": len(examples),
        "scales": list(scales),
        "mirror": mirror,
        "crf": crf,
        "stages": [{"name": name, **tally.result()} for name, tally in tallies.items()],
        "per_image": {
            "names": names,
            "confusions": {name: np.stack(tally.confusions) for name, tally in tallies.items()},
        },
    }


class _Seen(NamedTuple):
    """A picture, its labels if it has any, and probabilities (H, W, L) by the stage's name.

    Of a frame that follows another `link` has the flow from the other to this one, and back.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray | None
    found: dict[str, np.ndarray]
    link: Link | None = None


def _predict_pictures(
    model: keras.Model,
    dataset: Dataset,
    examples: Sequence[Example],
    stages: Sequence[str] | None,
    scales: Sequence[float],
    mirror: bool,
    progress: bool,
) -> Iterator[_Seen]:
    for example in track(examples, "evaluating", disable=not progress):
        image, labels = dataset.read(example)
        if stages is None:
            found = {"final": inference.predict_probabilities(model, image, scales, mirror)}
        else:
            found = inference.stage_probabilities(model, image, stages, scales, mirror)
        yield _Seen(example.name, image, labels, found)


def _predict_sequences(
    model: keras.Model,
    dataset: Dataset,
    split: str,
    stages: Sequence[str] | None,
    progress: bool,
) -> Iterator[_Seen]:
    """The frames of all sequences of a split that has labels, in order of time."""
    if not isinstance(dataset, ClipDataset):
        raise ValueError(f"Expected a data set of clips, which {dataset.name} is not.")
    sequences = dataset.sequences[split]
    total = sum(map(len, sequences))
    with Progress(*Progress.get_default_columns(), disable=not progress) as bar:
        task = bar.add_task(f"evaluating {split}", total=total)
        for sequence in sequences:
            for seen in _predict_sequence(model, dataset, split, sequence, stages):
                yield seen
                bar.advance(task)


def _predict_sequence(
    model: keras.Model,
    dataset: ClipDataset,
    split: str,
    sequence: Sequence[Example],
    stages: Sequence[str] | None,
) -> Iterator[_Seen]:
    shown, kept = itertools.tee(map(dataset.read_frame, sequence))
    links = dataset.links(sequence)
    used = None
    if getattr(model, "linking", None) == "flow":
        used, links = itertools.tee(links)
    if stages is None:
        found = ({"final": p} for p in inference.predict_video(model, shown, used))
    else:
        found = inference.stage_video_probabilities(model, shown, used, stages)
    labelled = set(dataset.examples(split))
    link = None
    for example, image, maps in zip(sequence, kept, found, strict=True):
        labels = dataset.read(example)[1] if example in labelled else None
        yield _Seen(example.name, image, labels, maps, link)
        link = next(links, None)


class _Tally:
    """What is counted of one stage's answers."""

    def __init__(self, dataset: Dataset, trimap: str | None):
        self._name, self._classes, self._trimap = dataset.name, dataset.classes, trimap
        self.confusions: list[np.ndarray] = []
        """Of each image that has labels."""
        self._bands, self._agreement = 0, 0
        self._before: np.ndarray | None = None

    def add(self, seen: _Seen, probabilities: np.ndarray) -> None:
        """Count one picture."""
        count, ignore = self._classes.num_classes, self._classes.ignore
        if probabilities.shape[-1] != count:
            raise ValueError(
                f"{self._name} has {count} classes, but the model answers with "
                f"{probabilities.shape[-1]}."
            )
        predicted = inference.to_labels(probabilities)
        if seen.labels is not None:
            pixels = seen.labels, predicted, count, ignore
            self.confusions.append(metrics.confusion_matrix(*pixels))
            if self._trimap:
                in_bands = metrics.trimap_confusions(*pixels, self._trimap, TRIMAP_WIDTH)
                self._bands = self._bands + in_bands
        if seen.link is not None:
            pair = self._before, predicted, *seen.link, count
            self._agreement = self._agreement + metrics.temporal_confusion(*pair)
        self._before = predicted

    def result(self) -> dict[str, Any]:
        """The stage's part of the evaluation."""
        confusion = np.sum(self.confusions, axis=0)
        result = {**metrics.scores(confusion), "confusion": confusion.tolist()}
        if self._trimap:
            result["trimap"] = _trimap_curve(self._bands, self._trimap)
        if np.ndim(self._agreement):
            agreement = metrics.scores(self._agreement)["miou"]
            result["consistency"] = {"miou": agreement, "pixels": int(self._agreement.sum())}
        return result


def _with_crf(
    found: dict[str, np.ndarray], image: np.ndarray, crf: Mapping[str, Any] | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and probabilities of the stages, each followed by what the CRF makes of it."""
    for name, probabilities in found.items():
        yield name, probabilities
        if crf is not None:
            yield f"{name}+crf", refine(image, probabilities, **crf)


def _trimap_curve(confusions: np.ndarray, around: str) -> dict[str, Any]:
    rows = [metrics.scores(confusion) for confusion in confusions]
    widths = list(range(1, len(rows) + 1))
    scores = {key: [row[key] for row in rows] for key in ("miou", "accuracy")}
    return {"around": around, "widths": widths, **scores}


def evaluate_each_stage(
    work_dir: Path,
    dataset: Dataset,
    split: str,
    **options: Any,
) -> dict[str, Any]:
    """Scores the best model of every stage of a training run, each at its own stage's output.

    Args and Returns as in `evaluate`, but for `stages`; "stages" has the names of the stages of
    training.

    Raises:
        ValueError: as `evaluate`, and if the run has no results yet.
    """
    found, stages, confusions = {}, [], {}
    for stage in read_json(work_dir / RESULTS)["stages"]:
        name, model = stage["name"], load_model(work_dir, stage["name"])
        output = load_stages(work_dir)[name].output
        found = evaluate(model, dataset, split, stages=(output,), **options)
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
    if any("consistency" in stage for stage in stages):
        found = (stage.get("consistency", {}).get("miou") for stage in stages)
        table.add_row("temporal consistency", *map(_percent, found))
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
    crf: Path | None = None,
    trimap: bool = False,
    trimap_around: Literal["void", "boundary"] = "void",
    consistency: bool = False,
    out: Path | None = None,
) -> None:
    """Scores a trained model on one split and prints a table, classes by stages.

    Args:
        work_dir: directory of the training run.
        dataset: one of `training.data.NAMES`; that of the run by default.
        data_dir: directory of the data set; scenes needs none.
        split: train, val or test.
        stages: score the trained model after each of its parts, not only at the end.
        each_stage: score the best model of every stage of training instead.
        scales: factors at which each image is looked at; the probabilities are averaged.
        mirror: average with the mirrored image as well.
        crf: JSON file with a fully connected CRF's settings, as training.crf_search writes it; each
            stage is then scored without and with it.
        trimap: also score bands of 1 to 40 pixels along the outlines of things, and draw the
            curves as OUT_trimap.png beside the JSON file.
        trimap_around: what the bands lie around: void, or boundary, for data with little void.
        consistency: also score how far the labels of neighbouring frames agree along the optical
            flow; networks for clips always do.
        out: JSON file to write, with an .npz file beside it; evaluation_SPLIT.json in the work
            directory by default.
    """
    settings = read_crf(crf) if crf else None
    data = run_dataset(work_dir, dataset, data_dir)
    options = {"scales": scales, "mirror": mirror, "crf": settings, "progress": True}
    options |= {"trimap": trimap_around if trimap else None, "consistency": consistency}
    if each_stage:
        found = evaluate_each_stage(work_dir, data, split, **options)
    else:
        model = load_model(work_dir)
        chosen = inference.check_stages(model) if stages else None
        found = evaluate(model, data, split, stages=chosen, **options)
    out = out or evaluation_file(work_dir, split)
    write_evaluation(out, found)
    console = Console()
    console.print(score_table(found, data.classes.names))
    console.print(f"written: {out}", soft_wrap=True)
    if trimap:
        picture = out.with_name(f"{out.stem}_trimap.png")
        curves = {stage["name"]: stage["trimap"]["miou"] for stage in found["stages"]}
        content = viz.figure_png(viz.plot_trimap(curves, trimap_around))
        write_atomically(picture, lambda temporary: temporary.write_bytes(content))
        console.print(f"written: {picture}", soft_wrap=True)


if __name__ == "__main__":
    run(main)
