"""The formats of an export side by side: size, time, agreement with Keras, and mean IoU.

    python -m benchmarks.export_formats --run runs/scenes [--networks scenes deeplab] [--count 40]

`scenes` is the network of a training run on the built-in scenes; the others have random weights,
are small, and have no mean IoU. The files are made for the scenes' size, the SavedModel for any.
Formats and Keras alternate on the same images; networks for clips see each image move. LiteRT
computes on one core, the others on all. A line is printed when it is known, a format that can't
hold a network with the reason.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import keras
import numpy as np
import tyro

from keras_dpn import metrics, models
from keras_dpn.export import export
from training.data.generated.scenes import ScenesDataset
from training.export import Format
from training.export.exporter import export_file
from training.export.verification import (
    Inputs,
    file_inputs,
    load_litert,
    load_onnx,
    load_saved_model,
)
from training.rundir.models import load_model

Network = Literal[
    "scenes",
    "deeplab",
    "deeplab_msc",
    "deeplab_window_crf",
    "deeplab_crf",
    "parsenet",
    "fcn",
    "clips_static",
    "clips_flow",
    "piecewise_crf",
]
SMALL = {"width": 0.125}
CLIPS = {"backbone": "large_fov", "local_conv": {"window": 7}, "pairwise_stride": 2, **SMALL}
WINDOW_CRF = {"num_iterations": 3, "filter": "window", "window": 7, "bilateral": (4.0, 12.0, 5.0)}
NETWORKS: dict[str, Callable[[int], keras.Model]] = {
    "deeplab": lambda labels: models.DeepLab("largefov", num_classes=labels, **SMALL),
    "deeplab_msc": lambda labels: models.DeepLab(num_classes=labels, multiscale=True, **SMALL),
    "deeplab_window_crf": lambda labels: models.DeepLab(
        num_classes=labels, crf=WINDOW_CRF, **SMALL
    ),
    "deeplab_crf": lambda labels: models.DeepLab(
        num_classes=labels, crf={"num_iterations": 3}, **SMALL
    ),
    "parsenet": lambda labels: models.ParseNet(labels, **SMALL),
    "fcn": lambda labels: models.FCN(labels, **SMALL),
    "clips_static": lambda labels: models.SpatialTemporalDPN(labels, linking="static", **CLIPS),
    "clips_flow": lambda labels: models.SpatialTemporalDPN(labels, **CLIPS),
    "piecewise_crf": lambda labels: models.PiecewiseCRF(
        labels, num_blocks=3, block6=((3, 512),), **SMALL
    ),
}
REPRESENTATIVE = 10
# A function from inputs to labels.
Answer = Callable[[Inputs], np.ndarray]


def main(
    run: Path | None = None,
    networks: tuple[Network, ...] = get_args(Network),
    formats: tuple[Format, ...] = get_args(Format),
    count: int = 40,
) -> None:
    """Exports networks to all formats, and prints a table.

    Args:
        run: directory of a training run on the built-in scenes, for `scenes`.
        networks: which ones.
        formats: which ones, next to Keras.
        count: number of images of the trained network; the others get a tenth.
    """
    if "scenes" in networks and run is None:
        raise SystemExit("--run: expected the directory of a training run on the built-in scenes.")
    dataset = ScenesDataset({"test": count, "train": REPRESENTATIVE})
    examples = [dataset.read(example) for example in dataset.splits["test"]]
    representative = [dataset.read(example)[0] for example in dataset.splits["train"]]
    print("| network | format | kB | ms per image | labels as Keras's | mean IoU |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in networks:
        keras.utils.set_random_seed(0)
        if name == "scenes":
            model, seen = load_model(run), examples
        else:
            model, seen = NETWORKS[name](dataset.classes.num_classes), examples[: -(-count // 10)]
        with tempfile.TemporaryDirectory() as scratch:
            made = exported(model, formats, representative, Path(scratch))
            for row in rows(model, made, seen, truth_counts=name == "scenes"):
                print(f"| {name} | {' | '.join(row)} |", flush=True)


def exported(
    model: keras.Model, formats: Sequence[Format], images: Sequence[np.ndarray], out: Path
) -> dict[str, tuple[Path, Answer] | ValueError]:
    """The paths and the functions of a network's exports, or why there is none, by format."""
    found: dict[str, tuple[Path, Answer] | ValueError] = {}
    for name in formats:
        try:
            path = written(model, name, images, out)
        except ValueError as error:
            found[name] = error
            continue
        is_model = name == "saved_model"
        load = load_saved_model if is_model else load_onnx if name == "onnx" else load_litert
        signature = saved_signature(model) if is_model else "model"
        answer = load(path)
        found[name] = (
            path,
            lambda inputs, answer=answer, signature=signature: answer(signature, inputs),
        )
    return found


def written(model: keras.Model, name: Format, images: Sequence[np.ndarray], out: Path) -> Path:
    """The path of an export."""
    if name == "saved_model":
        return export(model, out, warmup=None)
    return export_file(model, out, name, images[0].shape[:2], images)


def saved_signature(model: keras.Model) -> str:
    """Return the signature that takes what files take."""
    traits = models.traits(model)
    if traits.clip_frames is None:
        return "image"
    return "clip_with_flow" if traits.needs_flow else "clip"


def rows(
    model: keras.Model,
    made: Mapping[str, tuple[Path, Answer] | ValueError],
    examples: Sequence[tuple[np.ndarray, np.ndarray]],
    truth_counts: bool,
) -> Iterator[tuple[str, ...]]:
    """The table's lines of a network, Keras's first."""
    works = {name: found for name, found in made.items() if isinstance(found, tuple)}
    answers = {"Keras": lambda inputs: predicted(model, inputs)}
    answers |= {name: answer for name, (_, answer) in works.items()}
    inputs = [file_inputs(model, image) for image, _ in examples]
    seconds: dict[str, list[float]] = {name: [] for name in answers}
    labels: dict[str, list[np.ndarray]] = {name: [] for name in answers}
    for answer in answers.values():
        answer(inputs[0])  # the first call compiles
    for each in inputs:
        for name, answer in answers.items():
            started = time.perf_counter()
            labels[name].append(answer(each))
            seconds[name].append(time.perf_counter() - started)
    for name in ("Keras", *made):
        if name in made and name not in works:
            yield name, "", "", f"no: {reason(made[name])}", ""
            continue
        size = f"{kilobytes(works[name][0]):.0f}" if name in works else ""
        equal = np.mean([a == b for a, b in zip(labels[name], labels["Keras"], strict=True)])
        time_taken = f"{1000 * statistics.median(seconds[name]):.1f}"
        iou = f"{mean_iou(labels[name], examples):.4f}" if truth_counts else ""
        yield name, size, time_taken, f"{equal:.2%}", iou


def predicted(model: keras.Model, inputs: Inputs) -> np.ndarray:
    """What the network itself says."""
    given = dict(inputs) if len(inputs) > 1 else next(iter(inputs.values()))
    return model.predict_on_batch(given).argmax(-1)


def mean_iou(
    labels: Sequence[np.ndarray], examples: Sequence[tuple[np.ndarray, np.ndarray]]
) -> float:
    """Against the true labels."""
    truth = np.stack([truth for _, truth in examples])
    counts = metrics.confusion_matrix(
        truth, np.concatenate(labels), ScenesDataset.classes.num_classes
    )
    return metrics.mean_iou(counts)


def reason(error: ValueError) -> str:
    """The operations that an exporter's message ends with."""
    return str(error).rsplit(": ", 1)[-1]


def kilobytes(path: Path) -> float:
    """Size of a file, or of all in a directory."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) / 1000


if __name__ == "__main__":
    tyro.cli(main)
