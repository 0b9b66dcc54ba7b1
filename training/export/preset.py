"""Presets made of finished training runs, with their model cards."""

from pathlib import Path
from typing import Literal

import numpy as np

from keras_dpn.inference import Predictor
from keras_dpn.presets import Card, write_preset
from keras_dpn.presets.files import stored_values

from ..data.dataset import Dataset
from ..evaluation.evaluator import evaluate
from ..evaluation.results import Evaluation
from ..evaluation.scores import OTHER_SCORES, SCORES
from ..rundir.models import load_classes, load_model
from ..rundir.paths import load_config, load_results
from ..utils.counts import counted


def make_preset(
    work_dir: Path,
    dataset: Dataset,
    split: str,
    out: Path,
    *,
    description: str,
    size: int | None,
    notes: str,
    weights_dtype: Literal["float32", "float16", "int8"],
) -> None:
    """Score a run's network and write it as a preset, whole or not at all.

    Args:
        work_dir: directory of the run.
        dataset: with the split to score on.
        split: of the dataset; the scores are those of the network as it is stored.
        out: a new or empty directory.
        description: a line on what the network segments.
        size: shorter side of the images that it was trained on; None for any.
        notes: Markdown below the scores: what it is bad at, licence and terms of its data.
        weights_dtype: of the stored weights.

    Raises:
        ValueError: where the run isn't finished, and as `write_preset`.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):  # before the scores
        raise ValueError(f"{out}: expected a new or an empty directory.")
    model, classes = load_model(work_dir), load_classes(work_dir)
    for weight in model.weights:  # what is scored is what is stored
        weight.assign(stored_values(np.asarray(weight), weights_dtype, weight.path))
    evaluation = evaluate(Predictor(model, heads="all"), dataset, split, show_progress=True)
    final = evaluation.head()
    if final.miou is None:
        raise ValueError(f"The split '{split}' of {dataset.name} has no labels to score against.")
    card = Card(
        description=description,
        miou=round(100 * final.miou, 2),
        size=size,
        lowest_confidence=min(final.confidences),
        text=_text(out.name, description, work_dir, evaluation, classes.names, notes),
    )
    write_preset(model, out, classes=classes, card=card, weights_dtype=weights_dtype)


def _text(
    name: str,
    description: str,
    work_dir: Path,
    evaluation: Evaluation,
    classes: tuple[str, ...],
    notes: str,
) -> str:
    """Return the model card, Markdown."""
    results, config = load_results(work_dir), load_config(work_dir)
    heads = evaluation.heads
    header = " | ".join(head.name for head in heads)
    lines = [
        f"# {name}",
        "",
        description,
        "",
        "```python",
        "import keras_dpn",
        "",
        f'segmenter = keras_dpn.Segmenter.from_preset("{name}")',
        'segmenter("photo.jpg").save("labels.png")',
        "```",
        "",
        f"## Scores on {evaluation.dataset}, {counted(evaluation.num_images, 'image')} of "
        f"{evaluation.split}, %",
        "",
        f"| | {header} |",
        "|---|" + "---|" * len(heads),
    ]
    rows = [(title, [head.value(score) for head in heads]) for score, title in SCORES.items()]
    rows += [(f"IoU, {c}", [head.iou[i] for head in heads]) for i, c in enumerate(classes)]
    ece = "calibration.ece"
    rows += [(OTHER_SCORES[ece], [head.value(ece) for head in heads])]
    for title, values in rows:
        cells = ["–" if value is None else f"{100 * value:.1f}" for value in values]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    stages = [
        f"{s['name']}: {counted(s['epochs'], 'epoch')}, {counted(s['steps'], 'step')}"
        for s in results["stages"]
    ]
    versions = ", ".join(f"{key} {value}" for key, value in results["versions"].items())
    lines += [
        "",
        "The heads are the network's outputs after each of its parts; each is a prediction.",
        "",
        "## Training",
        "",
        f"Dataset {config['data']['dataset']}, seed {results['seed']}, {config['precision']}; "
        f"{'; '.join(stages)}. Versions: {versions}.",
        "",
        notes.strip(),
    ]
    return "\n".join(lines).rstrip() + "\n"
