"""Temporal consistency and mIoU of labels on videos with known flow, made of single images.

    python -m benchmarks.known_flow runs/frames runs/static runs/linked --out videos

A camera pans, zooms and rotates over every tenth validation image of the first run's dataset; each
run's network labels the same clips. Prints mIoU and temporal consistency of the final head, and
writes each run's evaluation to OUT, for `keras-dpn compare`, and OUT/strip.png: consecutive frames,
their true labels, and each network's.
"""

from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from benchmarks.camera import CameraClips
from keras_dpn import viz
from keras_dpn.inference import Predictor, to_labels
from training.evaluation.evaluator import evaluate
from training.evaluation.metrics import MetricSettings
from training.rundir.dataset import run_dataset
from training.rundir.models import load_model
from training.utils.files import write_bytes

SHOWN = 5  # consecutive frames in strip.png


def main(
    work_dirs: Positional[tuple[Path, ...]], out: Path, frames: int = 12, every: int = 10
) -> None:
    """Score networks on clips with known flow.

    Args:
        work_dirs: finished runs on one dataset, in directories of different names.
        out: directory for the scores and strip.png; those of the same names are replaced.
        frames: frames of each clip.
        every: take every N-th validation image.
    """
    if len({work_dir.name for work_dir in work_dirs}) < len(work_dirs):
        raise ValueError(
            "Expected runs in directories of different names, which their files in --out get, "
            f"received {', '.join(map(str, work_dirs))}."
        )
    clips = CameraClips(run_dataset(work_dirs[0]), "val", frames, every)
    table = Table("run", "network", "mIoU, %", "temporal consistency, %", title=clips.name)
    rows = {}
    for work_dir in work_dirs:
        model = load_model(work_dir)
        predictor = Predictor(model)
        settings = MetricSettings(consistency=True)
        evaluation = evaluate(predictor, clips, "val", settings, show_progress=True)
        evaluation.save(out / f"{work_dir.name}.json")
        numbers = (evaluation.head().value(score) for score in ("miou", "consistency.miou"))
        table.add_row(work_dir.name, model.name, *(f"{100 * x:.2f}" for x in numbers))
        rows[work_dir.name] = label_frames(predictor, clips)
    Console().print(table)
    image = viz.image_png(draw_strip(clips, rows))
    write_bytes(out / "strip.png", image)


def label_frames(predictor: Predictor, clips: CameraClips) -> list[np.ndarray]:
    """Return the labels of the first frames of the first clip."""
    sequence = clips.sequences["val"][0][: SHOWN + 1]
    frames, links = map(clips.read_frame, sequence), clips.links(sequence)
    return [to_labels(maps["final"]) for maps in predictor.video(frames, links)][:SHOWN]


def draw_strip(clips: CameraClips, rows: dict[str, list[np.ndarray]]) -> np.ndarray:
    """Return frames side by side; below them the truth and each network's labels."""
    sequence = clips.sequences["val"][0][:SHOWN]
    images, truth = zip(*map(clips.read, sequence), strict=True)
    strips = [viz.side_by_side(list(images), [f"frame {t}" for t in range(SHOWN)])]
    for name, labels in {"truth": truth, **rows}.items():
        colorized = [viz.colorize(x, clips.classes.colors, clips.classes.ignore) for x in labels]
        strips.append(viz.side_by_side(colorized, [name] * SHOWN))
    return viz.stack(strips)


if __name__ == "__main__":
    tyro.cli(main)
