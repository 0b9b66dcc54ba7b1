"""How far labels flicker, and how true they are, on films with known flow made of photographs.

    python -m benchmarks.known_flow runs/frames runs/static runs/linked --out films

A camera pans, zooms and turns over every tenth validation picture of the first run's data; each
run's network labels the same films. Prints mIoU and temporal consistency at the network's end, and
writes each run's evaluation to OUT, for `keras-dpn compare`, and OUT/strip.png:
consecutive frames, their truth, and each network's labels.
"""

from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from benchmarks.camera import FilmedPhotographs
from keras_dpn import viz
from keras_dpn.inference import Predictor, to_labels
from training.evaluation.evaluator import evaluate
from training.evaluation.metrics import MetricSettings
from training.rundir.dataset import run_dataset
from training.rundir.models import load_model
from training.utils.files import write_bytes

SHOWN = 5  # consecutive frames in the picture


def main(
    work_dirs: Positional[tuple[Path, ...]], out: Path, frames: int = 12, every: int = 10
) -> None:
    """Scores networks on films with known flow.

    Args:
        work_dirs: finished runs on one data set.
        out: directory for the scores and the picture.
        frames: of each film.
        every: film every so many validation pictures.
    """
    films = FilmedPhotographs(run_dataset(work_dirs[0]), "val", frames, every)
    table = Table("run", "network", "mIoU, %", "temporal consistency, %", title=films.name)
    rows = {}
    for work_dir in work_dirs:
        model = load_model(work_dir)
        predictor = Predictor(model)
        settings = MetricSettings(consistency=True)
        evaluation = evaluate(predictor, films, "val", settings, show_progress=True)
        evaluation.save(out / f"{work_dir.name}.json")
        numbers = (evaluation.head().value(score) for score in ("miou", "consistency.miou"))
        table.add_row(work_dir.name, model.name, *(f"{100 * x:.2f}" for x in numbers))
        rows[work_dir.name] = label_frames(predictor, films)
    Console().print(table)
    picture = viz.image_png(draw_strip(films, rows))
    write_bytes(out / "strip.png", picture)


def label_frames(predictor: Predictor, films: FilmedPhotographs) -> list[np.ndarray]:
    """Labels of the first frames of the first film."""
    sequence = films.sequences["val"][0][: SHOWN + 1]
    frames, links = map(films.read_frame, sequence), films.links(sequence)
    return [to_labels(maps["final"]) for maps in predictor.video(frames, links)][:SHOWN]


def draw_strip(films: FilmedPhotographs, rows: dict[str, list[np.ndarray]]) -> np.ndarray:
    """Frames beside each other; below them the truth and each network's labels."""
    sequence = films.sequences["val"][0][:SHOWN]
    images, truth = zip(*map(films.read, sequence), strict=True)
    strips = [viz.side_by_side(list(images), [f"frame {t}" for t in range(SHOWN)])]
    for name, labels in {"truth": truth, **rows}.items():
        painted = [viz.colorize(x, films.classes.colors, films.classes.ignore) for x in labels]
        strips.append(viz.side_by_side(painted, [name] * SHOWN))
    return viz.stack(strips)


if __name__ == "__main__":
    tyro.cli(main)
