"""One self-contained page about a training run, several, or a sweep."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import keras
import numpy as np
from rich.progress import track

from keras_dpn import models, viz
from keras_dpn.classes import Classes

from ..data.dataset import Dataset
from ..rundir.paths import HISTORY, load_classes, load_model, read_json, write_atomically
from . import ablation, comparison, html
from .images import (
    RIGHT,
    WRONG,
    Picture,
    clip_length,
    own_strips,
    read_pictures,
    stage_labels,
    stage_strips,
    strip,
)
from .runs import Run, choose_pictures, evaluated_split, read_runs, stage_counts
from .sections import scores
from .sections.affinities import affinity_plots
from .sections.contexts import context_plots
from .sections.video import film_strip

_CHOSEN = (
    "Best, worst and most changed by the mean IoU of the single picture; most changed: between the "
    "first and the last of what is shown. "
)


def write_report(
    work_dirs: Sequence[Path],
    dataset: Dataset,
    *,
    split: str | None = None,
    examples: int = 6,
    block: int = 1,
    out: Path | None = None,
) -> Path:
    """Writes a page from results.json, history.json, evaluations and the models of runs.

    Args:
        work_dirs: directories of finished training runs, or one that `training.ablate` has filled.
        dataset: the data set they were trained on.
        split: where the pictures are from; by default the first of val, test and train on which
            `training.evaluate` has scored every picture in all runs, else val.
        examples: how many pictures; 0 shows none, of a data set whose pictures must not go round.
        block: as in `metrics.paired_bootstrap`, where runs are compared.
        out: the file; by default report.html in the run's directory, comparison.html in that of the
            first of several, or ablation.html.

    Returns:
        The page's path.

    Raises:
        ValueError: if a run has no results or other classes, or the split no pictures; if the
            network takes clips and the data set has none; and for a sweep with a split or block.
    """
    if examples < 0:
        raise ValueError(f"`examples`: expected 0 or more, received {examples}.")
    if _is_ablation(work_dirs):
        if split is not None or block != 1:
            raise ValueError(f"{work_dirs[0]}: the sweep has a split and a block of its own.")
        content, name = _ablation_page(work_dirs[0], dataset, examples), "ablation.html"
    else:
        runs = read_runs(work_dirs)
        _check_classes(work_dirs, dataset)
        if len(runs) == 1:
            content, name = _page(runs[0], dataset, split, examples), "report.html"
        else:
            content = _comparison_page(runs, dataset, split, examples, block)
            name = "comparison.html"
    out = out or work_dirs[0] / name
    write_atomically(out, lambda temporary: temporary.write_text(content, encoding="utf-8"))
    return out


def _is_ablation(work_dirs: Sequence[Path]) -> bool:
    return len(work_dirs) == 1 and (work_dirs[0] / ablation.ABLATION).is_file()


def _check_classes(work_dirs: Sequence[Path], dataset: Dataset) -> None:
    for other in work_dirs[1:]:
        if (names := load_classes(other).names) != dataset.classes.names:
            raise ValueError(
                f"{other}: expected a run with the classes {', '.join(dataset.classes.names)}, "
                f"received one with {', '.join(names)}."
            )


def _page(run: Run, dataset: Dataset, split: str | None, examples: int) -> str:
    """One run's page."""
    work_dir, results = run.work_dir, run.results
    stages, config = results["stages"], results["config"]
    classes, names = dataset.classes, dataset.classes.names
    split, titles = _choose([run], split, examples)
    model = load_model(work_dir)
    # One at least, for what was learned.
    pictures = read_pictures(dataset, split, max(examples, 1), clip_length(model), titles)
    shown = pictures[:examples]
    strips = stage_strips(work_dir, [stage["name"] for stage in stages], shown, classes)
    sections = [
        scores.facts(stages),
        _scores(run, names),
        _other_splits(run, names),
        _pictures(
            "What each stage changed",
            f"Each stage's best model on {escape(split)}. {_CHOSEN if titles else ''}Below its "
            "labels: its errors, then the pixels that the stage put right and those that it "
            "spoilt, in per cent of the picture.",
            classes,
            _gallery(shown, strips, titles),
        ),
        _own_stages(model, shown[:3], classes),
        _film(model, stages[-1]["name"], dataset, split) if shown else "",
        _learned(model, dataset, pictures),
        _trimaps(work_dir),
        _curves(work_dir),
        _confusion(run, names),
        _settings(run),
    ]
    return html.page(
        f"{config.get('network', 'DPN')} on {dataset.name}",
        f"{len(names)} classes, seed {results['seed']}; {scores.summary(config)}",
        sections,
    )


def _comparison_page(
    runs: Sequence[Run], dataset: Dataset, split: str | None, examples: int, block: int
) -> str:
    """Several runs' page."""
    classes = dataset.classes
    evaluated = evaluated_split([run.work_dir for run in runs])
    split, titles = _choose(runs, split, examples)
    found: list[dict[str, np.ndarray]] = []
    panels = []
    for current in track(runs, "pictures of the runs"):  # one model in memory at a time
        model = load_model(current.work_dir)
        pictures = read_pictures(dataset, split, max(examples, 1), clip_length(model), titles)
        shown = pictures[:examples]
        found = found or [{} for _ in shown]
        for labels, picture in zip(found, shown, strict=True):
            stage = current.results["stages"][-1]["name"]
            labels[current.title] = stage_labels(model, stage, picture)
        panels.append((current.title, _panel(current, model, dataset, pictures)))
    pairs = zip(shown, found, strict=True)
    strips = [strip(picture, labels, classes, from_first=True) for picture, labels in pairs]
    sections = [
        comparison.score_tables(runs, classes.names),
        comparison.verdicts(runs, evaluated, block),
        _pictures(
            "Pictures",
            f"The last stage of each run on {escape(split)}. {_CHOSEN if titles else ''}Below the "
            "labels: the errors, then the pixels that are right other than in the first run, and "
            "those that are wrong, in per cent of the picture.",
            classes,
            _gallery(shown, strips, titles),
        ),
        html.section(
            "Settings that differ", "", scores.differences({r.title: r.results for r in runs})
        ),
        html.section("Run by run", "", html.tabs("Run", panels, "runs")),
    ]
    title = f"{len(runs)} runs on {dataset.name}"
    return html.page(title, ", ".join(run.title for run in runs), sections)


def _ablation_page(work_dir: Path, dataset: Dataset, examples: int) -> str:
    """The page of a sweep."""
    found = ablation.read_ablation(work_dir)
    gallery = ""
    if examples:
        titles = ablation.choose(found, examples)
        gallery = _gallery(*ablation.strips(found, dataset, titles), titles)
    sections = [
        ablation.score_tables(found),
        ablation.verdicts(found),
        _pictures(
            "Pictures",
            f"Of each row the first seed's network. {_CHOSEN}Below the labels: the errors, then "
            "the pixels that are right other than in the first row, and those that are wrong, in "
            "per cent of the picture.",
            dataset.classes,
            gallery,
        ),
        ablation.settings(found),
    ]
    titles = ", ".join(row.title for row in found.rows)
    return html.page(found.summary["title"], titles, sections)


def _panel(run: Run, model: keras.Model, dataset: Dataset, pictures: Sequence[Picture]) -> str:
    """What a page about several runs says about each."""
    names = dataset.classes.names
    sections = [
        f'<p class="quiet">{escape(scores.summary(run.results["config"]))}</p>',
        _scores(run, names),
        _learned(model, dataset, pictures),
        _curves(run.work_dir),
        _confusion(run, names),
        _settings(run),
    ]
    return "\n".join(sections)


def _choose(
    runs: Sequence[Run], split: str | None, count: int
) -> tuple[str, dict[str, str] | None]:
    """The split to show, and the names of its pictures with titles if their scores are known."""
    work_dirs = [run.work_dir for run in runs]
    split = split or evaluated_split(work_dirs) or "val"
    if evaluated_split(work_dirs, (split,)) is None or not count:
        return split, None
    if len(runs) == 1:
        counts = stage_counts(work_dirs[0], split)
    else:
        counts = [stage_counts(work_dir, split)[-1] for work_dir in work_dirs]
    return split, choose_pictures(counts[0], counts[-1], count) or None


def _pictures(title: str, text: str, classes: Classes, gallery: str) -> str:
    return html.section(title, text, _color_keys(classes), gallery) if gallery else ""


def _gallery(
    pictures: Sequence[Picture], strips: Sequence[str], titles: dict[str, str] | None
) -> str:
    if not pictures:
        return ""
    shown = [titles[p.name] if titles else p.name for p in pictures]
    return html.tabs("Picture", list(zip(shown, strips, strict=True)), "gallery")


def _color_keys(classes: Classes) -> str:
    meanings = html.color_key([("put right", RIGHT), ("spoilt, or an error", WRONG)])
    return meanings + html.color_key(zip(classes.names, classes.colors, strict=True))


def _scores(run: Run, names: Sequence[str]) -> str:
    stages, val = run.results["stages"], run.results["config"]["data"]["val_split"]
    return html.section(
        f"Scores on {val} after each stage",
        "In per cent; beside it, in points, the change from the stage before.",
        scores.score_table(stages, names),
        scores.object_table(stages[-1], names),
    )


def _other_splits(run: Run, names: Sequence[str]) -> str:
    """What `training.evaluate` has written about splits on which nothing was chosen."""
    sections = []
    for path in sorted(run.work_dir.glob("evaluation_*.json")):
        found = read_json(path)
        if found["split"] != run.results["config"]["data"]["val_split"]:
            stages = found["stages"]
            title = f"Scores on {found['split']}, {found['images']} pictures"
            text = "The best model of each stage, or the trained model after each of its parts."
            tables = scores.score_table(stages, names), scores.object_table(stages[-1], names)
            sections.append(html.section(title, text if len(stages) > 1 else "", *tables))
    return "\n".join(sections)


def _own_stages(model: keras.Model, pictures: Sequence[Picture], classes: Classes) -> str:
    if len(models.traits(model).heads) < 2 or not pictures:
        return ""
    strips = own_strips(model, pictures, classes)
    panels = [(p.name, shown) for p, shown in zip(pictures, strips, strict=True)]
    return html.section(
        "The trained model, step by step",
        "One set of weights, the last: what each part of the network answers. Parts that were "
        "tuned together rely on each other: alone, an early one may answer worse than before.",
        html.tabs("Picture", panels, "steps"),
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


def _learned(model: keras.Model, dataset: Dataset, pictures: Sequence[Picture]) -> str:
    """What the pairwise terms have learned about labels."""
    if isinstance(model, models.PiecewiseCRF):
        text = (
            "What the pairwise potentials have learned: which label each likes beside which, on "
            "average over the edges of a few pictures, frequent labels taken out. Blue: likely."
        )
        plots = affinity_plots(model, pictures, dataset.classes.names)
        return html.section("Label affinity", text, plots) if plots else ""
    return _contexts(model, dataset, pictures[0])


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


def _trimaps(work_dir: Path) -> str:
    """The curves that `training.evaluate --trimap` has written."""
    sections = []
    for path in sorted(work_dir.glob("evaluation_*.json")):
        found = read_json(path)
        trimaps = {s["name"]: s["trimap"] for s in found["stages"] if "trimap" in s}
        if trimaps:
            around = next(iter(trimaps.values()))["around"]
            figure = viz.plot_trimap({name: t["miou"] for name, t in trimaps.items()}, around)
            title = f"Along the outlines of things, on {found['split']}"
            sections.append(html.section(title, "", html.plot(figure, "trimap")))
    return "\n".join(sections)


def _curves(work_dir: Path) -> str:
    if not (work_dir / HISTORY).is_file() or not (history := read_json(work_dir / HISTORY)):
        return ""
    return html.section("Training", "", html.plot(viz.plot_curves(history), "training curves"))


def _confusion(run: Run, names: Sequence[str]) -> str:
    figure = viz.plot_confusion(np.array(run.results["stages"][-1]["confusion"]), names)
    text = f"The last stage on {run.results['config']['data']['val_split']}."
    return html.section("What is taken for what", text, html.plot(figure, "confusion matrix"))


def _settings(run: Run) -> str:
    command = f"python -m training.train {run.work_dir}/config.json --work-dir NEW"
    text = f"Once more: <code>{escape(command)}</code>"
    return html.section("Settings", text, scores.settings(run.results))
