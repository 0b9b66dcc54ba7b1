"""Writes one self-contained page about a training run: what each stage changed and learned.

    python -m training.report --work-dir runs/demo

writes RUN/report.html: tables, pictures, contexts and curves, in one file that needs no network.
"""

import logging
from pathlib import Path

import keras
import numpy as np

from keras_dpn import viz
from training.cli import run
from training.data import Classes, Dataset
from training.evaluate import run_dataset
from training.reporting import html, scores
from training.reporting.contexts import context_plots
from training.reporting.films import film_strip
from training.reporting.pictures import (
    RIGHT,
    WRONG,
    Picture,
    clip_length,
    own_strips,
    read_pictures,
    stage_strips,
)
from training.workdir import HISTORY, RESULTS, load_model, read_json, write_atomically


def write_report(
    work_dir: Path, dataset: Dataset, *, split: str = "val", examples: int = 6
) -> Path:
    """Writes RUN/report.html from results.json, history.json and the models of the stages.

    Args:
        work_dir: directory of a finished training run.
        dataset: the data set it was trained on.
        split: where the pictures are from.
        examples: how many pictures, evenly spaced over the split.

    Returns:
        The page's path.

    Raises:
        ValueError: if the run has no results, or the split no pictures; or if the network takes
            clips and the data set has none.
    """
    if not (work_dir / RESULTS).is_file():
        raise ValueError(f"{work_dir / RESULTS}: no such file; expected a finished training run.")
    results = read_json(work_dir / RESULTS)
    stages, config = results["stages"], results["config"]
    classes, names = dataset.classes, dataset.classes.names
    val = config["data"]["val_split"]
    model = load_model(work_dir)
    pictures = read_pictures(dataset, split, examples, clip_length(model))
    sections = [
        scores.facts(stages),
        html.section(
            f"Scores on {val} after each stage",
            "In per cent; beside it, in points, the change from the stage before.",
            scores.score_table(stages, names),
        ),
        _other_splits(work_dir, val, classes),
        html.section(
            "What each stage changed",
            "Each stage's best model. Below its labels: pixels that the stage put right and those "
            "that it spoilt, in per cent of the picture.",
            html.color_key([("put right", RIGHT), ("spoilt", WRONG)]),
            html.color_key(zip(names, classes.colors, strict=True)),
            stage_strips(work_dir, [stage["name"] for stage in stages], pictures, classes),
        ),
        _own_stages(model, pictures[:3], classes),
        _film(model, stages[-1]["name"], dataset, split),
        _contexts(model, dataset, pictures[0]),
        _curves(work_dir),
        html.section(
            "What is taken for what",
            f"The last stage on {val}.",
            html.plot(
                viz.plot_confusion(np.array(stages[-1]["confusion"]), names), "confusion matrix"
            ),
        ),
        html.section("Settings", "", scores.settings(results)),
    ]
    content = html.page(
        f"{config.get('network', 'DPN')} on {dataset.name}",
        f"{len(names)} classes, seed {results['seed']}; {scores.summary(config)}",
        sections,
    )
    path = work_dir / "report.html"
    write_atomically(path, lambda temporary: temporary.write_text(content, encoding="utf-8"))
    return path


def _other_splits(work_dir: Path, val: str, classes: Classes) -> str:
    """What `training.evaluate` has written about splits on which nothing was chosen."""
    sections = []
    for path in sorted(work_dir.glob("evaluation_*.json")):
        found = read_json(path)
        if found["split"] != val:
            title = f"Scores on {found['split']}, {found['images']} pictures"
            text = "The best model of each stage, or the trained model after each of its parts."
            table = scores.score_table(found["stages"], classes.names)
            sections.append(html.section(title, text if len(found["stages"]) > 1 else "", table))
    return "\n".join(sections)


def _own_stages(model: keras.Model, pictures: list[Picture], classes: Classes) -> str:
    if len(getattr(model, "stage_names", ())) < 2:
        return ""
    return html.section(
        "The trained model, step by step",
        "One set of weights, the last: what each part of the network answers. After joint tuning "
        "the unary term relies on the parts that follow it.",
        own_strips(model, pictures, classes),
    )


def _film(model: keras.Model, stage: str, dataset: Dataset, split: str) -> str:
    if not (strip := film_strip(model, stage, dataset, split)):
        return ""
    return html.section(
        "Frame after frame",
        "From top to bottom: the frames, the truth, the labels after the last stage, and where "
        "these differ from the frame before's along the optical flow; in per cent, how many of the "
        "pixels that the flow links kept their label.",
        html.color_key([("another label than the frame before", WRONG)]),
        strip,
    )


def _contexts(model: keras.Model, dataset: Dataset, picture: Picture) -> str:
    if not any(layer.name == "b13" for layer in model.layers):
        return ""
    text = (
        "What b13 has learned about which label stands where around which. “A : B” looks at "
        "a pixel of A, the cross: where it is blue, B makes A likely. The matrix sums each window: "
        "a column's label all around a row's."
    )
    if clip_length(model) is not None:
        text += (
            " A is in the frame t. In the frames before and after it, the cross is the pixel "
            "linked to A, and the matrices look at B in these frames alone."
        )
    return html.section("Label contexts", text, context_plots(model, dataset, picture))


def _curves(work_dir: Path) -> str:
    if not (work_dir / HISTORY).is_file() or not (history := read_json(work_dir / HISTORY)):
        return ""
    return html.section("Training", "", html.plot(viz.plot_curves(history), "training curves"))


def main(
    *,
    work_dir: Path,
    dataset: str | None = None,
    data_dir: Path | None = None,
    split: str = "val",
    examples: int = 6,
) -> None:
    """Writes report.html, one self-contained page about a finished training run.

    Args:
        work_dir: directory of the training run.
        dataset: one of `training.data.NAMES`; that of the run by default.
        data_dir: directory of the data set; those that are generated need none.
        split: where the pictures are from: train, val or test.
        examples: how many pictures.
    """
    # TensorFlow takes the stages' models for one function that is traced anew each time.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    data = run_dataset(work_dir, dataset, data_dir)
    print(write_report(work_dir, data, split=split, examples=examples))


if __name__ == "__main__":
    run(main)
